"""The list of landed files beside the snapshots: written, shared, verified, pruned; and manifests that hold it."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import World

from pipelines.core import durable_files
from pipelines.core.calendar_days import rolling
from pipelines.core.errors import RefusedToPublish
from pipelines.jobs import nightly, status
from pipelines.jobs.explain import explain
from pipelines.snapshots import inputs, landed_list
from pipelines.snapshots import manifest as snapshots
from pipelines.snapshots.audit import audit
from pipelines.snapshots.diff import compare

LAST = date(2026, 1, 31)
FILE = """
    session   | creator | viewer | started_at
    {day}-{n} | ada     | v{n}   | 2026-01-{day:02} 10:00
    {day}-0-{n} | ada   | v1     | 2026-01-{day:02} 11:00
"""


@pytest.fixture
def outside(monkeypatch):
    """No manifest lists landed files itself, however few."""
    monkeypatch.setattr(inputs, "LISTED_INSIDE", 0)


def land(world: World, day: int, n: int = 2) -> Path:
    """One landed file of a day."""
    return world.sessions(FILE.format(day=day, n=n), f"2026-01-{day:02}-{n}.ndjson")


def night(world: World, as_of: date = LAST, **options: Any) -> nightly.NightReport:
    return nightly.run(world.settings, as_of, allow_incomplete=True, **options)


def files(world: World) -> set[str]:
    """The names of the files of all lists."""
    return {path.name for path in (world.settings.snapshots / landed_list.FOLDER).iterdir()}


def plain(snapshot: snapshots.Snapshot) -> list[dict[str, Any]]:
    """The landed files that a snapshot rests on, read without the code that wrote them: by hashlib, Polars and json."""
    folder = snapshot.path.parent / "inputs"
    said = json.loads((snapshot.path / "manifest.json").read_bytes())["landed"]
    content = (folder / f"{said['sha256']}.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == said["sha256"]
    found: list[dict[str, Any]] = []
    for part in json.loads(content):
        packed = (folder / f"{part['sha256']}.json.zst").read_bytes()
        assert hashlib.sha256(packed).hexdigest() == part["sha256"]
        listed = pl.read_json(io.BytesIO(landed_list.unpacked(packed))).to_dicts()
        assert {file["entity"] for file in listed} == {part["entity"]}
        assert len(listed) == part["files"]
        found += listed
    keys = "".join(sorted(file["key"] for file in found))
    assert (said["files"], said["keys_sha256"]) == (len(found), hashlib.sha256(keys.encode()).hexdigest())
    return found


def as_before(world: World) -> None:
    """Write every manifest and the pointer as earlier versions did: with the landed files in them."""
    folder = world.settings.snapshots
    pointer = durable_files.verify_checksum((folder / "current.json").read_bytes())
    keys = sorted(snapshots.accepted_keys(folder, snapshots.current(folder)))
    for one in snapshots.listed(folder):
        manifest = {name: value for name, value in one.manifest.items() if name != "landed"}
        manifest |= {"schema_version": 1, "landed": list(one.landed)}
        durable_files.write_json(one.path / "manifest.json", durable_files.with_checksum(manifest))
        if one.id == pointer["snapshot_id"]:
            pointer["manifest_sha256"] = durable_files.sha256_of(one.path / "manifest.json")
    durable_files.write_json(folder / "current.json", durable_files.with_checksum(pointer | {"landed": keys}))
    shutil.rmtree(folder / landed_list.FOLDER, ignore_errors=True)


# --- what is written -------------------------------------------------------------------------------------------------


def test_the_list_says_of_each_landed_file_what_a_manifest_says(world, monkeypatch):
    """The same objects, and the same snapshot: where they are listed decides nothing."""
    for day in (5, 6, 29):
        land(world, day)
    inside = night(world).published.snapshot
    other = World(world.settings.home.parent / "other")
    for day in (29, 5, 6):
        land(other, day)
    monkeypatch.setattr(inputs, "LISTED_INSIDE", 0)
    outside = night(other).published.snapshot
    assert outside.id == inside.id
    assert (inside.manifest["schema_version"], outside.manifest["schema_version"]) == (1, 2)
    by_key = sorted(plain(outside), key=lambda file: file["key"])
    assert by_key == sorted(inside.manifest["landed"], key=lambda file: file["key"]) == list(outside.landed)
    assert outside.listed_files.keys_sha256 == inside.listed_files.keys_sha256


def test_current_json_does_not_grow_with_the_landed_files(world):
    """Nor does a manifest, once there are more files than it lists itself. Neither holds the name of any."""
    sizes: dict[int, tuple[int, int]] = {}
    for n in range(2, 1_202):
        land(world, 5, n)
        if n in (11, 1_011, 1_201):
            snapshot = night(world).published.snapshot
            pointer = world.settings.snapshots / "current.json"
            sizes[n] = pointer.stat().st_size, len(json.dumps(snapshot.manifest["landed"]))
            assert b".ndjson" not in pointer.read_bytes()
    assert max(size for size, _ in sizes.values()) - min(size for size, _ in sizes.values()) < 100
    assert sizes[11][1] < 10 * 400
    assert sizes[1_011][1] < 300
    assert abs(sizes[1_201][1] - sizes[1_011][1]) < 5


def test_a_night_writes_the_list_of_its_month_alone(world, outside):
    """The other months are shared, byte for byte, by the snapshots before."""
    world.sessions(FILE.format(day=5, n=9).replace("2026-01", "2025-12"), "2025-12-05.ndjson")
    night(world)
    land(world, 5)
    night(world)
    snapshots.prune(world.settings.snapshots, 1)
    before = files(world)
    land(world, 6)
    after = night(world).published.snapshot
    assert len(before) == 3  # two months, and what names them
    assert len(files(world) - before) == 2
    assert len(plain(after)) == 3


def test_a_night_without_news_writes_nothing(world, outside):
    """Nor does one over what an earlier version has published."""
    land(world, 5)
    night(world)
    for _ in range(2):
        before = {path: path.stat().st_mtime_ns for path in world.settings.snapshots.rglob("*")}
        assert not night(world).published.is_new
        assert {path: path.stat().st_mtime_ns for path in world.settings.snapshots.rglob("*")} == before
        as_before(world)


def test_what_lands_and_changes_no_row_is_accepted(world, outside):
    """The pointer names a list of its own, which stays for as long as it does; the snapshot keeps the list it had."""
    land(world, 5)
    first = night(world).published.snapshot
    again = world.sessions(FILE.format(day=5, n=2) + "\n", "again.ndjson")
    again.write_bytes((world.settings.landing / "viewing_sessions/2026-01-05-2.ndjson").read_bytes() + b"\n")
    assert night(world).published.snapshot.id == first.id
    pointer = snapshots.current(world.settings.snapshots)
    assert pointer.landed.sha256 != first.listed_files.sha256
    assert pointer.landed.files == 2
    assert len(snapshots.accepted_keys(world.settings.snapshots, pointer)) == 2
    snapshots.prune(world.settings.snapshots, 1)
    assert snapshots.damage(world.settings.snapshots) == {first.id: []}
    assert snapshots.pointer_damage(world.settings.snapshots) == []
    (world.settings.snapshots / "inputs" / f"{pointer.landed.sha256}.json").unlink()
    assert "cannot be read" in snapshots.pointer_damage(world.settings.snapshots)[0]
    night(world)
    assert snapshots.pointer_damage(world.settings.snapshots) == []


# --- what is checked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".zst"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_list_that_is_not_what_was_written_is_named_and_made_again(world, outside, suffix, how):
    """`snapshots verify` names it, and the next run lists all of it again, whatever landed meanwhile."""
    land(world, 5)
    snapshot = night(world).published.snapshot
    (path,) = [path for path in (world.settings.snapshots / "inputs").iterdir() if path.suffix == suffix]
    content = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for lands in (False, True):
        ((found,),) = snapshots.damage(world.settings.snapshots).values()
        assert str(path) in found
        assert ("damaged" if how == "changed" else "cannot be read") in found
        shutil.copytree(world.settings.snapshots, world.settings.home / "kept", dirs_exist_ok=True)
        if lands:
            land(world, 6)
        done = night(world).published
        assert done.is_new
        assert snapshots.open_snapshot(world.settings.snapshots, done.snapshot.id).damage() == []
        assert len(plain(done.snapshot)) == 1 + lands
        if lands:
            assert any(str(path) in warning for warning in done.warnings)
        else:
            assert done.snapshot.id == snapshot.id
            shutil.rmtree(world.settings.snapshots)
            shutil.copytree(world.settings.home / "kept", world.settings.snapshots)


def test_a_damaged_list_keeps_no_reader_from_a_snapshot(world, outside):
    """Snapshots share it: one is rolled back to, released and takes another's place all the same.

    The next run mends the current one.
    """
    first, second, third = three_nights(world)
    for path in (world.settings.snapshots / "inputs").iterdir():
        path.write_bytes(b"torn")
    assert all(snapshots.damage(world.settings.snapshots).values())
    assert snapshots.roll_back(world.settings.snapshots, first.id).id == first.id
    assert snapshots.release(world.settings.snapshots).id == third.id
    assert snapshots.remove_one(world.settings.snapshots, third.id).id == second.id
    night(world)
    assert snapshots.damage(world.settings.snapshots, third.id) == {third.id: []}
    assert len(plain(third)) == 4


def test_a_landed_file_that_is_gone_refuses(world, outside):
    """It is named, by a run and by `status`; the months that are as they were are not read for it."""
    land(world, 5)
    land(world, 6)
    night(world)
    shutil.rmtree(world.settings.lake)
    (world.settings.landing / "viewing_sessions/2026-01-05-2.ndjson").unlink()
    with pytest.raises(
        RefusedToPublish, match=r"1 landed files that the last snapshot rests on .*2026-01-05-2\.ndjson"
    ):
        night(world)
    said = status.status(world.settings, LAST, None, datetime.now(UTC))["next_run"]["refused_because"]
    assert "2026-01-05-2.ndjson" in said[0]


@pytest.mark.parametrize("is_outside", [True, False])
def test_what_had_been_accepted_is_not_judged_again(world, monkeypatch, is_outside):
    """A file of rejected lines that was accepted once refuses no later night; a new one does."""
    monkeypatch.setattr(inputs, "LISTED_INSIDE", 0 if is_outside else 1_000)
    land(world, 5)
    world.land_text("viewing_sessions", '{"sessionId":"s","creatorId":"ada","startedAt":"yesterday"}\n', "bad.ndjson")
    night(world, accept_rejects=True)
    land(world, 6)
    assert night(world).published.is_new
    world.land_text("viewing_sessions", '{"sessionId":"t","creatorId":"ada","startedAt":"today"}\n', "worse.ndjson")
    with pytest.raises(RefusedToPublish, match=r"worse\.ndjson"):
        night(world)


# --- what goes, and what stays ---------------------------------------------------------------------------------------


def three_nights(world: World) -> list[snapshots.Snapshot]:
    """Three snapshots: each has a list of its own, and December is in all of them."""
    world.sessions(FILE.format(day=5, n=9).replace("2026-01", "2025-12"), "2025-12-05.ndjson")
    nightly.ingest(world.settings)  # by itself: what is read together is listed together
    found = []
    for day in (5, 6, 7):
        land(world, day)
        found.append(night(world).published.snapshot)
    return found


def test_a_list_goes_with_the_last_snapshot_that_names_it(world, outside):
    """A month that a kept snapshot shares stays."""
    first, second, third = three_nights(world)
    assert len(files(world)) == 7  # three of what names them, three Januaries, one December
    snapshots.prune(world.settings.snapshots, 2)
    assert len(files(world)) == 5
    snapshots.remove_one(world.settings.snapshots, second.id)
    assert len(files(world)) == 3
    assert first.path.exists() is False
    assert snapshots.damage(world.settings.snapshots) == {third.id: []}
    assert len(plain(third)) == 4


def test_a_roll_back_names_the_list_of_its_snapshot(world, outside):
    """It stays, though newer snapshots are kept and older ones go."""
    first, _, third = three_nights(world)
    snapshots.roll_back(world.settings.snapshots, first.id)
    snapshots.prune(world.settings.snapshots, 1)
    assert snapshots.damage(world.settings.snapshots) == {first.id: [], third.id: []}
    assert snapshots.current(world.settings.snapshots).landed == first.listed_files
    assert len(files(world)) == 5


def test_a_prune_that_is_killed_leaves_nothing_that_is_missed(world, outside, monkeypatch):
    """Wherever it is cut short, what stays is whole, and the next one removes what is left."""
    *_, third = three_nights(world)
    kept, unlink = world.settings.home / "kept", Path.unlink
    shutil.copytree(world.settings.snapshots, kept)
    for operation in itertools.count(1):
        shutil.rmtree(world.settings.snapshots)
        shutil.copytree(kept, world.settings.snapshots)
        left = itertools.count(1)

        def killed(path: Path, missing_ok: bool = False, left: Any = left, last: int = operation) -> None:
            if path.parent.name == "inputs" and next(left) == last:
                raise KeyboardInterrupt
            unlink(path, missing_ok=missing_ok)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", killed)
            try:
                snapshots.prune(world.settings.snapshots, 1)
                break
            except KeyboardInterrupt:
                pass
        assert snapshots.damage(world.settings.snapshots) == {third.id: []}
        snapshots.prune(world.settings.snapshots, 1)
        assert len(files(world)) == 3
    assert operation == 5  # four files went, one by one


def test_while_a_manifest_cannot_be_read_every_list_stays(world, outside):
    """Nobody knows which it names."""
    *_, third = three_nights(world)
    (third.path / "manifest.json").write_bytes(b"{}")
    snapshots.prune(world.settings.snapshots, 1)
    assert len(files(world)) == 7
    night(world)
    snapshots.prune(world.settings.snapshots, 1)
    assert len(files(world)) == 3


def test_a_run_that_dies_before_its_snapshot_stands_leaves_a_list_that_prune_removes(world, outside, monkeypatch):
    """Nothing names it; and the next run, which makes the same list, finds it there."""
    land(world, 5)
    night(world)
    land(world, 6)
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "new_folder", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            night(world)
    assert len(files(world)) == 4
    snapshots.prune(world.settings.snapshots, 5)
    assert len(files(world)) == 2
    assert len(plain(night(world).published.snapshot)) == 2


# --- of earlier versions ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_snapshots_of_earlier_versions_are_read_as_before(world, outside):
    """Verified, listed, compared, explained, audited, rolled back to and pruned; the next night lists beside them."""
    three_nights(world)
    as_before(world)
    first, second, third = snapshots.listed(world.settings.snapshots)
    assert [len(one.landed) for one in (first, second, third)] == [2, 3, 4]
    assert set(map(len, snapshots.damage(world.settings.snapshots).values())) == {0}
    assert snapshots.pointer_damage(world.settings.snapshots) == []
    assert compare(world.settings, first, third).landed_since == 2
    assert audit(world.settings, third).differing == 0
    assert explain(world.settings, third, "ada", rolling(LAST, 30)).landed_files == 4
    assert not night(world).published.is_new
    land(world, 8)
    after = night(world).published.snapshot
    assert len(plain(after)) == 5
    assert compare(world.settings, third, after).landed_since == 1
    assert inputs.new_keys(third, after) == {file["key"] for file in plain(after)} - {
        file["key"] for file in third.landed
    }
    assert inputs.new_keys(after, third) == set()
    assert isinstance(snapshots.current(world.settings.snapshots).landed, landed_list.ListedFiles)
    snapshots.roll_back(world.settings.snapshots, third.id)
    assert snapshots.current(world.settings.snapshots).landed.sha256 is None
    assert len(snapshots.accepted_keys(world.settings.snapshots, snapshots.current(world.settings.snapshots))) == 4
    snapshots.release(world.settings.snapshots)
    snapshots.prune(world.settings.snapshots, 1)
    assert snapshots.damage(world.settings.snapshots) == {after.id: []}


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "day", "month"),
    [
        ("2026-03-05.ndjson", 5, "2026-03"),
        ("day=2026-03-05/part-1.ndjson", 5, "2026-03"),
        ("late.ndjson", 5, "2026-01"),
    ],
)
def test_a_landed_file_is_listed_under_its_month(world, outside, name, day, month):
    """That of the day in its name, else of the first day that it has sessions of."""
    world.sessions(FILE.format(day=day, n=2), name)
    snapshot = night(world).published.snapshot
    (part,) = landed_list.parts(world.settings.snapshots, snapshot.listed_files.sha256)
    assert (part.entity, part.month, part.files) == ("viewing_sessions", month, 1)


def test_a_name_that_is_no_utf_8_is_listed(world, outside):
    """As it is in a manifest."""
    path = land(world, 5)
    path.rename(path.with_name("2026-01-05-\udcff.ndjson"))
    snapshot = night(world).published.snapshot
    (listed,) = snapshot.landed
    assert listed["name"].startswith("viewing_sessions/2026-01-05-")
    assert snapshot.damage() == []
