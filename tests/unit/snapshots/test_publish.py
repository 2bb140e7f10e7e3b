"""Publishing: what a snapshot's id depends on, what it says of itself, and what refuses it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from noise import land_noise
from world import AS_OF, World

from pipelines.core import durable_files
from pipelines.core.errors import Damaged, RefusedToPublish
from pipelines.core.row_digest import row_digest
from pipelines.jobs import erase_user, nightly, prune
from pipelines.snapshots import manifest, publish

ACCEPT = {"accept_rejects": True, "allow_incomplete": True}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A platform of random records over a few days, and a night over it. Do not land anything more."""
    world = World(tmp_path_factory.mktemp("noisy"))
    land_noise(world, seed=5, sessions=40, days=5)
    world.run(compare=False, night=ACCEPT)
    return world


def another(world: World, folder: Path) -> World:
    """Another home, with the same files landed."""
    other = World(folder)
    shutil.copytree(world.settings.landing, other.settings.landing)
    return other


# --- the id --------------------------------------------------------------------------------------------------------


def test_the_id_does_not_depend_on_how(tmp_path, noisy, monkeypatch):
    """Names of landed files, how records are spread over them, threads, memory and code version leave the id alone."""
    other = World(tmp_path)
    for entity in noisy.landed:
        for number, path in enumerate(sorted(noisy.settings.landing.glob(f"{entity}/*"))):
            lines = path.read_text().splitlines(keepends=True)
            other.land_text(entity, "".join(lines[1::2]), f"z/{number}-a.ndjson")
            other.land_text(entity, "".join(reversed(lines[::2])), f"{number}-b.jsonl")
    monkeypatch.setattr(publish, "__version__", "another version")
    night = other.run(compare=False, night=ACCEPT, threads=2, memory_limit="300MB", keep_snapshots=7)
    assert night.snapshot_id == noisy.current()
    assert night.manifest["code_version"] == "another version"


def test_what_was_written_is_read_back_before_it_is_current(tmp_path, noisy, monkeypatch):
    """A disk that damages what it is given gives no snapshot, and the run after it does."""
    other = another(noisy, tmp_path)
    write = publish._write

    def write_and_damage(settings, built, files, snapshot_id, *given):
        write(settings, built, files, snapshot_id, *given)
        path = settings.snapshots / snapshot_id / "creators.parquet"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_write", write_and_damage)
        with pytest.raises(Damaged, match="does not read back as it was written"):
            other.run(compare=False, night=ACCEPT)
    assert not (other.settings.snapshots / "current.json").exists()
    assert other.run(compare=False, night=ACCEPT).snapshot_id == noisy.current()


def test_the_id_depends_on_the_policy(world):
    """Another policy is another snapshot, even where every number is the same."""
    policies = [{}, {"min_watched_seconds": 1}, {"max_session_hours": 23}, {"day_timezone": "Africa/Abidjan"}]
    assert len({world.run(**policy).snapshot_id for policy in policies}) == len(policies)


def test_the_id_depends_on_every_table(noisy):
    """Other rows in any file, private ones and every day of the cube included, are another snapshot."""
    snapshot = manifest.open_current(noisy.settings.snapshots)
    policy = snapshot.manifest["policy"]
    digests = {name: facts["rows_sha256"] for name, facts in snapshot.files.items() if facts["rows_sha256"]}
    assert {name.split("/")[0] for name in digests} == {
        *(f"{name}.parquet" for name in publish.PUBLIC_TABLES),
        *("creator_reach", "private"),
    }
    ids = {manifest.snapshot_id_of(snapshot.as_of, policy, digests | {name: "other"}) for name in digests}
    assert len(ids | {snapshot.id}) == len(digests) + 1
    in_another_order = dict(reversed(digests.items()))
    assert manifest.snapshot_id_of(snapshot.as_of, policy, in_another_order) == snapshot.id


def test_a_record_that_changes_no_row_changes_no_id(world):
    """The id is of the published rows: a record that is not ranked leaves it alone, and the books still count it."""
    world.sessions("creator | viewer | started_at\nada | v1 | 2026-01-05 10:00")
    first = world.run()
    world.sessions("creator | viewer | started_at\nada | v1 | 2020-01-05 10:00")
    second = world.run()
    assert (second.snapshot_id, second.report.published.is_new) == (first.snapshot_id, False)
    assert second.report.funnel["outside_window"] == 1


# --- the manifest and the pointer ----------------------------------------------------------------------------------


def test_the_manifest_describes_every_file(noisy):
    """Rows, size, sha256 of the bytes and of the rows; warehouse and report have no rows of their own."""
    snapshot = manifest.open_current(noisy.settings.snapshots)
    for name, facts in snapshot.files.items():
        path = snapshot.path / name
        assert facts["bytes"] == path.stat().st_size
        assert facts["sha256"] == durable_files.sha256_of(path)
        if name in ("warehouse.duckdb", "report.html"):
            assert facts["rows"] is facts["rows_sha256"] is None
        else:
            table = pq.read_table(path)
            assert (facts["rows"], facts["rows_sha256"]) == (table.num_rows, row_digest(table))
    assert {path.parent.name for path in snapshot.path.rglob("*.parquet")} == {snapshot.id, "creator_reach", "private"}


def test_the_manifest_accounts_for_every_record(world):
    """Landed files with their counts, the funnel, rejected records by reason, and the checks that were run."""
    world.land_text("viewing_sessions", '{"sessionId":"s","creatorId":"ada","startedAt":"yesterday"}\n', "bad.ndjson")
    good = world.sessions("creator | viewer | started_at\nada | v1 | 2026-01-05 10:00", "good.ndjson")
    manifest = world.run(night=ACCEPT, compare=False).manifest
    landed = {file["name"]: file for file in manifest["landed"]}
    assert landed["viewing_sessions/good.ndjson"] == {
        "entity": "viewing_sessions",
        "name": "viewing_sessions/good.ndjson",
        "sha256": durable_files.sha256_of(good),
        "key": landed["viewing_sessions/good.ndjson"]["key"],
        "records": 1,
        "accepted": 1,
        "rejected": 0,
    }
    assert landed["viewing_sessions/bad.ndjson"]["rejected"] == 1
    assert {entity: sum(counts.values()) for entity, counts in manifest["rejected_by_reason"].items()} == {
        "viewing_sessions": 1
    }
    assert manifest["funnel"] == {
        "accepted": 1,
        "ranked": 1,
        **dict.fromkeys((*publish.FUNNEL[1:], "conflicts"), 0),
    }
    assert all(check["offenders"] == 0 for check in manifest["checks"])
    assert {check["severity"] for check in manifest["checks"]} == {"fail", "warn"}
    assert manifest["freshness"] == {"newest_session_at": "2026-01-05T10:00:00.000Z"}
    assert datetime.fromisoformat(manifest["created_at"]).utcoffset() is not None


def test_the_pointer_says_what_readers_see(noisy):
    """The id, the manifest's sha256, when, whether pinned, and what the run had landed."""
    content = json.loads((noisy.settings.snapshots / "current.json").read_bytes())
    snapshot = manifest.open_current(noisy.settings.snapshots)
    assert content == {
        "snapshot_id": snapshot.id,
        "published_at": content["published_at"],
        "manifest_sha256": durable_files.sha256_of(snapshot.path / "manifest.json"),
        "pinned": False,
        "landed": {
            "files": len(snapshot.manifest["landed"]),
            "keys_sha256": hashlib.sha256(
                "".join(sorted(file["key"] for file in snapshot.landed)).encode()
            ).hexdigest(),
            "sha256": None,  # the manifest lists so few itself
        },
        "lost": snapshot.manifest["lost"],
        "completeness": snapshot.manifest["completeness"],
        "seal": durable_files.checksum_of(content),
    }
    assert content["published_at"].endswith("Z")


def test_nothing_is_touched_when_nothing_changed(world):
    """A rerun does not even write the pointer."""
    world.sessions("creator | viewer | started_at\nada | v1 | 2026-01-05 10:00")
    world.run()
    before = {path: path.stat().st_mtime_ns for path in world.settings.snapshots.rglob("*")}
    world.run()
    assert {path: path.stat().st_mtime_ns for path in world.settings.snapshots.rglob("*")} == before


def test_tables_are_hard_links_into_the_lake(noisy):
    """A snapshot costs no second copy of the cube."""
    folder = manifest.open_current(noisy.settings.snapshots).path
    inodes = {path.stat().st_ino for path in noisy.settings.lake.rglob("*.parquet")}
    assert all(path.stat().st_ino in inodes for path in folder.rglob("*.parquet"))


# --- damage --------------------------------------------------------------------------------------------------------


def spoil(path: Path, content: bytes) -> None:
    """Other content in a file of its own: what is hard-linked elsewhere stays."""
    path.unlink()
    path.write_bytes(content)


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_snapshot_is_written_again_by_the_next_run(tmp_path, noisy, how):
    """A rerun finds out, puts the same snapshot there once more, and readers follow the pointer to it."""
    world = World(tmp_path)
    shutil.copytree(noisy.settings.home, world.settings.home)
    current = manifest.open_current(world.settings.snapshots)
    for name in ("creators.parquet", "manifest.json", "warehouse.duckdb"):
        content = (current.path / name).read_bytes()
        if how == "missing":
            (current.path / name).unlink()
        else:
            spoil(current.path / name, flipped(content) if how == "flipped" else content[:-1])
        night = world.run(compare=False, night=ACCEPT)
        assert (night.snapshot_id, night.report.published.is_new) == (current.id, True)
        assert manifest.open_current(world.settings.snapshots).damage() == []
    assert night.report.published.is_current
    prune.prune(world.settings)
    assert [path.name for path in world.settings.snapshots.iterdir() if path.is_dir()] == [current.id]


def test_a_snapshot_that_a_killed_repair_took_away_is_written_again(tmp_path, noisy):
    """The pointer names a folder that is gone; nothing of it is known any more but its name."""
    world = World(tmp_path)
    shutil.copytree(noisy.settings.home, world.settings.home)
    current = manifest.open_current(world.settings.snapshots)
    shutil.rmtree(current.path)
    for command in (
        partial(prune.prune, replace(world.settings, keep_days=500)),
        partial(erase_user.forget, world.settings, "ann", datetime(2026, 2, 1, tzinfo=UTC)),
    ):
        with pytest.raises(Damaged, match=r"manifest\.json is missing\. .*run"):  # and nothing that was wrongly asked
            command()
    assert world.run(compare=False, night=ACCEPT).snapshot_id == current.id
    assert manifest.open_current(world.settings.snapshots).damage() == []


def test_a_pinned_snapshot_that_was_damaged_stays_pinned(tmp_path, noisy):
    """Writing it again does not release it."""
    world = World(tmp_path)
    shutil.copytree(noisy.settings.home, world.settings.home)
    current = manifest.roll_back(world.settings.snapshots, noisy.current())
    spoil(current.path / "creators.parquet", b"")
    night = world.run(compare=False, night=ACCEPT)
    pointer = manifest.current(world.settings.snapshots)
    assert pointer
    assert (pointer.snapshot_id, pointer.pinned, night.report.published.is_current) == (current.id, True, True)
    assert manifest.open_current(world.settings.snapshots).damage() == []


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"\xff", b"another time", b"another order", None])
def test_a_damaged_pointer_is_an_error_and_the_next_run_writes_a_new_one(tmp_path, noisy, content):
    """Readers are told what to do; a run does it, and says that a pin is gone."""
    world = World(tmp_path)
    shutil.copytree(noisy.settings.home, world.settings.home)
    path = world.settings.snapshots / "current.json"
    pointer = json.loads(path.read_bytes())
    if content == b"another time":
        content = path.read_bytes().replace(pointer["published_at"].encode(), b"2031-01-01T00:00:00.000Z")
    elif content == b"another order":
        content = durable_files.json_bytes(dict(reversed(pointer.items())))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Damaged, match=r"current.json is (damaged: |missing).*Run again, or choose"):
        manifest.current(world.settings.snapshots)
    assert "current.json" in manifest.pointer_damage(world.settings.snapshots)[0]
    night = world.run(compare=False, night=ACCEPT)
    assert night.snapshot_id == world.current() == noisy.current()
    assert "pin it again" in night.report.published.warnings[-1]
    assert manifest.pointer_damage(world.settings.snapshots) == []


def test_a_lost_pointer_comes_back_to_the_newest(tmp_path, noisy):
    """A backfill of an earlier day does not become what readers see because the pointer was damaged."""
    world = World(tmp_path)
    shutil.copytree(noisy.settings.home, world.settings.home)
    (world.settings.snapshots / "current.json").write_bytes(b"{")
    earlier = world.run("2026-01-30", compare=False, night=ACCEPT)
    assert world.current() == noisy.current() != earlier.snapshot_id
    assert not earlier.report.published.is_current


# --- grounds for refusing --------------------------------------------------------------------------------------------


TOO_MUCH = ["999999999999.99"] * 10_001  # the sum of these has no place in a DECIMAL(18,2)


def captured(world: World, *amounts: str) -> None:
    """Land a stream and captured pledges for it."""
    world.land("live_streams", [{"id": "s1", "creatorId": "ada", "status": "scheduled"}])
    pledges = "".join(
        f'{{"pledgeId":"{number}","userId":"ann","streamId":"s1","amount":"{amount}","status":"captured",'
        '"capturedAt":"2026-01-05T10:00:00Z"}\n'
        for number, amount in enumerate(amounts)
    )
    world.land_text("pledges", pledges)


def test_a_table_that_fails_its_check_refuses(world):
    """A sum too large for its column is not published as something smaller, whatever is overridden."""
    captured(world, *TOO_MUCH)
    for night in ({}, ACCEPT):
        with pytest.raises(
            RefusedToPublish, match=r"live_stream_funding: .*does not hold for 1 row, such as stream_id s1.*Land newer"
        ):
            world.run(compare=False, night=night)
    assert world.current() is None
    assert manifest.snapshot_ids(world.settings.snapshots) == []


def test_a_check_that_only_warns_does_not_refuse(world):
    """The warning is in the report and in the manifest."""
    captured(world, "0")
    night = world.run(compare=False)
    (warning,) = night.report.as_json()["warnings"]
    assert "nobody backs a stream for which nothing was collected" in warning
    assert [check["offenders"] for check in night.manifest["checks"] if check["severity"] == "warn"] == [0, 0, 1, 0, 0]


def test_every_ground_is_named_at_once(world):
    """Whoever reads the refusal learns all that is wrong."""
    captured(world, *TOO_MUCH)
    world.busy_days("2026-01-23", 7)
    world.land_text("follows", "no record\n")
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    for ground in ("--accept-rejects", "--allow-incomplete", "does not hold", "the last snapshot stays"):
        assert ground in str(refusal.value)


def test_a_refused_night_leaves_no_trace_for_readers(world):
    """Before a first snapshot there is none after a refusal either."""
    world.land_text("viewing_sessions", "no record\n")
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    assert not [path for path in world.settings.snapshots.rglob("*") if path.is_file()]


def test_books_that_do_not_balance_are_never_published(world):
    """Should a count go wrong somewhere, the night fails instead of publishing it."""
    world.sessions("creator | viewer | started_at\nada | v1 | 2026-01-05 10:00")
    nightly.ingest(world.settings)
    (index,) = world.settings.lake.glob("raw/viewing_sessions/*/index.json")
    wrong = json.loads(index.read_text()) | {"accepted": 2}
    del wrong["seal"]
    index.write_bytes(durable_files.json_bytes(durable_files.with_checksum(wrong)))
    with pytest.raises(Damaged, match="books do not balance: 2 accepted"):
        world.run(compare=False)
    assert world.current() is None


def test_backfill_publishes_what_it_can(world):
    """A refused day does not stop the days after it; the pointer ends on the newest."""
    world.busy_days("2026-01-05", 9, sessions=4)
    found: list[Any] = list(nightly.backfill(world.settings, date(2026, 1, 13), date(2026, 1, 19)))
    refused = [isinstance(night, RefusedToPublish) for night in found]
    assert refused == [False, False, True, True, True, True, False]
    assert world.current() == found[-1].snapshot_id
    assert AS_OF not in [night.as_of for night, no in zip(found, refused, strict=True) if not no]
