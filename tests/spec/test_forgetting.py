"""`mostwatched forget USER`: afterwards no byte under home holds the id, and nothing else is different.

Every byte is looked at by a search of the tests' own (person.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from person import DEVICE, USER, holding, one_byte, other_formats, platform, sessions
from world import AS_OF, World

from pipelines.core.errors import Damaged, UsageError
from pipelines.jobs import status
from pipelines.jobs.erase_user import ForgetReport, forget
from pipelines.jobs.rejects import all_rejected
from pipelines.raw import erasure_register
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest, inspect
from pipelines.snapshots import manifest

pytestmark = pytest.mark.xdist_group("forgetting")  # what is to be forgotten is made once, whichever worker has it

NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)


def pair_keys(world: World) -> set[Any]:
    """Who watched whom, as the lake names it."""
    files = world.settings.lake.glob("viewer_days/**/*.parquet")
    return {key for path in files for key in pq.read_table(path, columns=["pair_key"])["pair_key"].to_pylist()}


def forgotten_in(world: World, **asked: Any) -> ForgetReport:
    return forget(world.settings, USER, NOW, **{"landing_too": True} | asked)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A home after two nights, to be copied."""
    world = World(tmp_path_factory.mktemp("made"))
    platform(world)
    world.run()
    other_formats(world)
    world.run(compare=False, night={"accept_rejects": True})
    return world.settings.home


@pytest.fixture
def full(world: World, made: Path) -> World:
    shutil.copytree(made, world.settings.home)
    return world


@pytest.fixture(scope="module")
def done(made: Path, tmp_path_factory) -> tuple[Path, ForgetReport]:
    """Such a home after USER was forgotten, landed files too, and what was said of it."""
    world = World(tmp_path_factory.mktemp("done"))
    shutil.copytree(made, world.settings.home)
    return world.settings.home, forgotten_in(world)


@pytest.fixture
def after(world: World, done: tuple[Path, ForgetReport]) -> World:
    shutil.copytree(done[0], world.settings.home)
    return world


def test_no_byte_under_home_holds_the_id(full, tmp_path):
    """Raw, rejected records, the lake, private tables of kept snapshots, landed files: none of them does any more."""
    home, keys = full.settings.home, pair_keys(full)
    held = holding(home, USER, DEVICE)
    for place in ("landing/", "lake/raw/", "lake/follows/", "snapshots/", "lake/session_versions/"):
        assert any(path.startswith(place) for path in held), f"the test should begin with the id in {place}"
    done = forgotten_in(full)
    assert done.remaining == []
    assert done.is_forgotten
    assert holding(home, USER, DEVICE) == []

    strangers = World(tmp_path / "strangers")  # whose pairs are those that stay
    shutil.copytree(full.settings.landing, strangers.settings.landing)
    strangers.run(compare=False, night={"accept_rejects": True})
    assert keys - pair_keys(strangers), "the test should begin with pairs of theirs"
    assert pair_keys(full) <= pair_keys(strangers)


@pytest.mark.slow
def test_what_is_published_is_what_a_landed_erasure_gives(full, tmp_path):
    """The id is gone, and every published row is the one that the platform's own erasure would have left."""
    other = World(tmp_path / "other")
    shutil.copytree(full.settings.home, other.settings.home)
    other.land("erasures", [{"userId": USER}])
    erased = other.run(compare=False, night={"accept_rejects": True})
    done = forgotten_in(full)
    assert done.snapshot_after == erased.snapshot_id
    assert full.current() == erased.snapshot_id
    again = full.run(compare=False)
    assert again.snapshot_id == erased.snapshot_id
    assert again.funnel() == erased.funnel(), "the books are what they were"
    assert manifest.damage(full.settings.snapshots) == {erased.snapshot_id: []}


@pytest.mark.slow
def test_the_oracle_agrees(world):
    """An independent judge, told of an erasure, says the same of what is published next."""
    platform(world)
    world.run()
    forgotten_in(world)
    world.landed["erasures"].append({"userId": USER})
    world.run()
    world.sessions("creator | viewer | started_at | minutes\nada | new | 2026-01-30 10:00 | 5")
    world.run()


@pytest.mark.slow
def test_it_says_which_published_counts_changed_by_how_much(world):
    """Every count that differs between the snapshots, and no other."""
    platform(world)
    before = world.run()
    done = forgotten_in(world)
    after = manifest.open_snapshot(world.settings.snapshots, done.snapshot_after)
    assert done.snapshot_before == before.snapshot_id
    said = {
        (each["table"], *each["key"].values(), each["column"]): (each["before"], each["after"]) for each in done.changes
    }
    assert said["creator_rankings", 30, "bob", "viewers"] == (1, None)
    assert said["live_stream_funding", "s1", "backers"] == (2, 1)
    assert [int(count) for count in said["live_stream_funding", "s1", "collected_funding"]] == [33, 11]
    assert said["private/follows", "rows"] == (2, 1)
    rows = {
        row["creator_id"]: row
        for row in after.table("creator_rankings.parquet").to_pylist()
        if row["window_days"] == 30
    }
    assert rows["ada"]["viewers"] == 4  # a version of a session that is not theirs counts in the place of theirs
    assert "bob" not in rows


@pytest.mark.slow
def test_what_lands_later_does_not_bring_the_id_back(after, made, done):
    """A redelivery, a late session, a rejected line: they are read as if the id was not in them."""
    landing = after.settings.landing
    shutil.rmtree(landing)
    shutil.copytree(made / "landing", landing)
    late = sessions(USER, 22, sessionId="late", deviceId=DEVICE)
    (landing / "viewing_sessions" / "late.ndjson").write_text(json.dumps(late) + "\n" + json.dumps(late)[:-9] + "\n")
    after.run(compare=False, night={"accept_rejects": True})
    assert after.current() == done[1].snapshot_after
    held = holding(after.settings.home, USER, DEVICE)
    assert held, "the platform's files hold it"
    assert [path for path in held if not path.startswith("landing/")] == []
    assert any(record.text == erasure_register.FORGOTTEN_TEXT for record in all_rejected(after.settings))


@pytest.mark.slow
def test_the_lake_can_be_made_again(full):
    """From landed files that still hold the id, without it."""
    done = forgotten_in(full, landing_too=False)
    assert not done.is_forgotten
    shutil.rmtree(full.settings.lake)
    full.run(compare=False, night={"accept_rejects": True})
    assert full.current() == done.snapshot_after
    assert [path for path in holding(full.settings.home, USER) if not path.startswith("landing/")] == []


@pytest.mark.slow
def test_landed_files_are_named_and_left_alone(full):
    """They are the platform's: without --landing-too not one byte of them changes, and it is not said to be done."""
    landing = full.settings.landing
    before = {path: path.read_bytes() for path in landing.rglob("*") if path.is_file()}
    done = forgotten_in(full, landing_too=False)
    assert {path: path.read_bytes() for path in landing.rglob("*") if path.is_file()} == before
    assert not done.is_forgotten
    held = holding(full.settings.home, USER)
    assert sorted(Path(left["path"]).relative_to(full.settings.home).as_posix() for left in done.remaining) == held
    assert all(path.startswith("landing/") for path in held)
    for path in held:
        (full.settings.home / path).unlink()  # the platform removes them
    assert forgotten_in(full, landing_too=False).is_forgotten


def test_emptied_landed_files_are_not_read_again(after, made, done):
    """Their other records keep their lines, and count once."""
    assert done[1].landed_files
    assert all(landed.is_emptied for landed in done[1].landed_files)
    again = after.run(compare=False)
    assert (again.report.ingested.new_files, again.snapshot_id) == (0, done[1].snapshot_after)
    indexes = (json.loads(path.read_bytes()) for path in made.glob("lake/raw/*/*/index.json"))
    before = sum(landed["records"] for index in indexes for landed in index.get("landed", [index]))
    assert again.report.as_json()["records"] == before + 1  # our erasure


def test_an_emptied_file_that_is_given_its_right_name_is_read_once(world):
    """What became of a file says what it is only for who reads it as it was read."""
    records = (json.dumps({"userId": user, "creatorId": "ada"}) + "\n" for user in ("ben", USER, "cy"))
    misnamed = world.land_text("follows", "".join(records), "all.csv")
    world.sessions("creator | viewer | started_at | minutes\nada | ben | 2026-01-05 10:00 | 5")
    world.run(compare=False, night={"accept_rejects": True})
    assert forgotten_in(world).is_forgotten
    misnamed.rename(misnamed.with_suffix(".ndjson"))
    assert ingest(world.settings).new_accepted == 2
    assert ingest(world.settings).new_files == 0
    found, _ = inspect(world.settings, [world.settings.landing], raw_files(world.settings))
    assert [file.landed.name for file in found if file.sha256 is None] == []


def test_other_peoples_records_of_a_creator_stay(world):
    """Somebody who is a creator as well is forgotten as a viewer; what others watched of them is the others'."""
    world.sessions(f"""
        creator | viewer | device | started_at       | minutes
        {USER}  | ben    |        | 2026-01-05 10:00 | 5
        ada     | {USER} |        | 2026-01-05 10:00 | 5
        ada     |        | {USER} | 2026-01-05 10:00 | 5
    """)
    world.run()
    done = forgotten_in(world)
    assert done.is_forgotten
    assert done.public_files
    world.landed["erasures"].append({"userId": USER})
    night = world.run()
    assert night.viewers() == [(USER, 1), ("ada", 0)]


@pytest.mark.slow
def test_other_snapshots_that_hold_the_id_are_removed(world):
    """The current one is published again; older ones that hold the id go, and those that never held it stay."""
    world.busy_days("2026-01-01", 28)
    first = world.run("2026-01-28").snapshot_id
    platform(world)
    second = world.run("2026-01-30", night={"allow_incomplete": True}).snapshot_id
    third = world.run(night={"allow_incomplete": True}).snapshot_id
    done = forgotten_in(world)
    assert sorted(done.snapshots) == sorted([second, third])
    assert manifest.snapshot_ids(world.settings.snapshots) == [first, done.snapshot_after]


@pytest.mark.slow
def test_a_pinned_snapshot_is_replaced_and_stays_pinned(world):
    """Readers who were rolled back stay where they are, without the person."""
    platform(world)
    pinned = world.run("2026-01-30")
    world.run()
    manifest.roll_back(world.settings.snapshots, pinned.snapshot_id)
    done = forgotten_in(world)
    pointer = manifest.current(world.settings.snapshots)
    assert pointer is not None
    assert (pointer.snapshot_id, pointer.pinned, str(pointer.as_of)) == (done.snapshot_after, True, "2026-01-30")
    assert holding(world.settings.home, USER) == []


@pytest.mark.slow
def test_the_command_can_be_given_again(after, done):
    """A second time there is nothing to do, and nothing changes; somebody else can be forgotten as well."""
    files = {path: path.stat().st_ino for path in after.settings.home.rglob("*") if path.parent.name != ".lock"}
    again = forgotten_in(after)
    assert (again.is_forgotten, again.was_forgotten, again.raw_folders, again.changes) == (True, True, 0, [])
    assert again.snapshot_after == done[1].snapshot_after
    assert {path: path.stat().st_ino for path in after.settings.home.rglob("*") if path.parent.name != ".lock"} == files
    forget(after.settings, "ben", NOW, landing_too=True)
    assert holding(after.settings.home, USER, DEVICE, "ben") == []


def test_the_record_does_not_hold_the_id(after):
    """What is kept says that and when, in numbers; only who has its key can ask it about an id they know."""
    register = erasure_register.read(after.settings)
    (entry,) = register.entries.values()
    assert entry["done_at"] == "2026-02-01T04:00:00.000Z"
    assert entry["records"] > 10
    assert register.holds(USER)
    assert not register.holds("ben")
    folder = after.settings.home / "forgotten"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "register.json").stat().st_mode & 0o777 == 0o600


def test_without_its_register_a_home_is_not_run(after):
    """It says who must not come back: a run without it would bring them back in silence. `status` foretells no run."""
    register = after.settings.home / "forgotten" / "register.json"
    for spoil in (register.unlink, lambda: register.write_text("{}")):
        spoil()
        with pytest.raises(Damaged, match="put it back") as damaged:
            after.run(compare=False)
        answer = status.status(after.settings, AS_OF, None, datetime.now(UTC))
        assert (answer["next_run"]["outcome"], answer["problems"]) == ("unknown", [str(damaged.value)])


def test_a_key_outside_of_the_home_locks_the_register(after, made, tmp_path):
    """Of a register from before as well: what the home holds finds nobody any more, and ids still do not come back."""
    register = after.settings.home / "forgotten" / "register.json"
    before = json.loads(register.read_text())
    [entry] = before["forgotten"]
    assert tried(before, USER) == entry["digest"], "the test should begin with a register that can be searched"

    after.settings = dataclasses.replace(after.settings, forgotten_key=tmp_path / "keys" / "forgotten.key")
    shutil.copytree(made / "landing", after.settings.landing, dirs_exist_ok=True)
    shutil.rmtree(after.settings.lake / "raw" / "viewing_sessions")
    after.run(compare=False, night={"accept_rejects": True, "allow_incomplete": True})
    locked = json.loads(register.read_text())
    assert entry["digest"] not in register.read_text()
    assert tried(locked, USER) != locked["forgotten"][0]["digest"]
    assert after.settings.forgotten_key.stat().st_mode & 0o777 == 0o600
    assert holding(after.settings.lake, USER) == []
    assert erasure_register.read(after.settings).holds(USER)
    assert not erasure_register.read(after.settings).holds("ben")
    assert forgotten_in(after).was_forgotten


def test_without_its_key_a_home_is_not_run(after, tmp_path):
    """Nor with another one: ids would come back. What asks about nobody needs none."""
    key = tmp_path / "forgotten.key"
    keyed = dataclasses.replace(after.settings, forgotten_key=key)
    erasure_register.lock(keyed)
    content = (after.settings.home / "forgotten" / "register.json").read_bytes()
    with pytest.raises(Damaged, match="no MOSTWATCHED_FORGOTTEN_KEY is set"):
        ingest(after.settings)
    key.rename(tmp_path / "away")
    with pytest.raises(Damaged, match=r"forgotten\.key does not hold it"):
        ingest(keyed)
    key.write_text("ab" * 32)
    with pytest.raises(Damaged, match=r"forgotten\.key does not hold it"):
        forget(keyed, "ben", NOW)
    key.write_text("no key")
    with pytest.raises(Damaged, match="holds no key"):
        ingest(keyed)
    assert (after.settings.home / "forgotten" / "register.json").read_bytes() == content
    assert erasure_register.read(after.settings).emptied
    (tmp_path / "away").rename(key)
    ingest(keyed)


def tried(register: dict[str, Any], user: str) -> str:
    """The digest of an id as whoever has nothing but the register would work it out."""
    return hashlib.blake2b(bytes.fromhex(register["key"]) + user.encode(), digest_size=16).hexdigest()


def test_a_dry_run_says_what_holds_the_id_and_writes_nothing(full, done):
    """The same folders, records, snapshots and landed files that are then redacted."""
    home = full.settings.home
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in home.rglob("*")}
    said = forgotten_in(full, dry_run=True)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in home.rglob("*")} == before
    _, did = done
    assert said.records | {"erasures": 1} == did.records, "but for the one that is landed on the way"
    assert said.raw_folders + 1 == did.raw_folders
    assert (said.rejected_records, said.snapshots) == (did.rejected_records, did.snapshots)
    landed = [[(Path(each.file).name, each.records) for each in one.landed_files] for one in (said, did)]
    assert landed[0] == landed[1]


def test_before_anything_was_published(world):
    """Landed, read or not: there is no snapshot to publish again, and the id goes all the same."""
    platform(world)
    done = forgotten_in(world)
    assert done.is_forgotten
    assert done.snapshot_after is None
    assert holding(world.settings.home, USER) == []
    world.run(AS_OF, compare=False)


def test_what_is_no_id_is_refused(world):
    """An empty one."""
    with pytest.raises(UsageError):
        forget(world.settings, "", NOW)


@pytest.mark.slow
@pytest.mark.parametrize(("entity", "spoil"), [("viewing_sessions", one_byte), ("pledges", Path.unlink)])
def test_damaged_raw_is_said_to_be(full, entity, spoil):
    """Whom it names cannot be told: nothing is said to be done. As soon as it is parsed again, the command goes on."""
    path = min(full.settings.lake.glob(f"raw/{entity}/*/*[0-9l].parquet"))
    spoil(path)
    for dry_run in (True, False):
        with pytest.raises(Damaged, match=f"{path} .*Move {path.parent} out of .*`mostwatched run`"):
            forgotten_in(full, dry_run=dry_run)
    shutil.rmtree(path.parent)
    full.run(compare=False, night={"accept_rejects": True})
    assert forgotten_in(full).is_forgotten
    assert holding(full.settings.home, USER, DEVICE) == []


def test_what_cannot_be_read_is_not_said_to_be_clean(full):
    """A file under home that holds the id and is not ours to remove is named, and so is one that cannot be read."""
    stranger = full.settings.home / "notes.txt"
    stranger.write_text(f"complaint of {USER}")
    (full.settings.home / "copy.parquet").write_bytes(b"PAR1 no more")
    done = forgotten_in(full)
    assert not done.is_forgotten
    assert sorted(Path(left["path"]).name for left in done.remaining) == ["copy.parquet", "notes.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("is_listed_beside", [True, False])
def test_a_snapshot_whose_list_of_landed_files_names_somebody_is_removed(world, monkeypatch, is_listed_beside):
    """File names may hold ids: the list goes with the snapshots that name it, wherever it stands."""
    monkeypatch.setattr("pipelines.snapshots.inputs.LISTED_INSIDE", 0 if is_listed_beside else 1_000)
    world.busy_days("2026-01-01", 28)
    first = world.run("2026-01-28").snapshot_id
    path = world.sessions("creator | viewer | started_at\ncora | dora | 2026-01-29 10:00", f"of {USER}.ndjson")
    second = world.run("2026-01-30", night={"allow_incomplete": True}).snapshot_id
    place = "snapshots/inputs/" if is_listed_beside else f"snapshots/{second}/manifest.json"
    assert any(path.startswith(place) for path in listing(world.settings.home, USER))
    path.rename(path.with_name("of somebody.ndjson"))
    shutil.rmtree(world.settings.lake)  # else raw says that it landed by that name
    shutil.rmtree(world.settings.home / "reports")
    third = world.run(night={"allow_incomplete": True}).snapshot_id
    done = forgotten_in(world)
    assert done.snapshots == [second]
    assert manifest.snapshot_ids(world.settings.snapshots) == [first, third]
    assert listing(world.settings.home, USER) == []
    assert done.is_forgotten


def listing(home: Path, text: str) -> list[str]:
    """The files under a home with a text in them, packed or not."""
    found = holding(home, text)
    for path in home.rglob("*.json.zst"):
        with pa.input_stream(path, compression="zstd") as content:
            found += [str(path.relative_to(home))] * (text.encode() in content.read())
    return sorted(found)
