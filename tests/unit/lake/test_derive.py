"""The one rule of the lake: a file is a pure function of its inputs, and is named by them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise import land_noise, land_sessions
from world import AS_OF, World

from pipelines.core import durable_files
from pipelines.core.errors import Damaged, RefusedToPublish
from pipelines.core.row_digest import row_digest
from pipelines.jobs import nightly
from pipelines.jobs.rejects import all_rejected
from pipelines.lake import derive as lake_module
from pipelines.lake import models, plan_sessions
from pipelines.lake.derive import Lake, RawDamaged, Step, Stored
from pipelines.lake.engines.duckdb import DuckDBEngine
from pipelines.landing.schema import RAW_SCHEMAS
from pipelines.snapshots import manifest

AS_OF_INSTANT = {"as_of_instant": datetime(2026, 1, 31, tzinfo=UTC)}
FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"


def flip_a_bit(path: Path) -> None:
    """Change a file's content in the middle, under the same name."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def no_engine() -> Any:
    raise AssertionError("something would be built")


# --- one file ------------------------------------------------------------------------------------------------------


class Follows:
    """A lake of one model, `follows`, over raw files that we write ourselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = iter(range(1000))

    def lake(self) -> Lake:
        """A run of its own on the same folder."""
        return Lake(self.folder / "lake", lambda: DuckDBEngine("500MB", 1, self.folder / "spill"))

    def raw(self, *pairs: tuple[str, str]) -> Stored:
        """A raw file of follows: (user, creator)."""
        rows = [
            dict.fromkeys(RAW_SCHEMAS["follows"].names)
            | {"user_id": user, "creator_id": creator, "deleted": False, "line": line}
            for line, (user, creator) in enumerate(pairs, 1)
        ]
        table = pa.Table.from_pylist(rows, schema=RAW_SCHEMAS["follows"])
        number = next(self.numbers)
        path = self.folder / f"raw-{number}.parquet"
        pq.write_table(table, path)
        digest = row_digest(table, leave_out=("line",))
        return Stored("raw_follows", None, str(number), str(path), len(rows), durable_files.sha256_of(path), digest)

    def derive(self, lake: Lake, *raw: Stored, params: dict[str, Any] = AS_OF_INSTANT) -> Stored:
        return lake.derive_one("base_follows", {"follow_versions": raw}, params=params)

    def pairs(self, *raw: Stored) -> list[tuple[Any, ...]]:
        """What the model makes of raw files, in a run of its own."""
        lake = self.lake()
        try:
            return [tuple(row.values()) for row in lake.table(self.derive(lake, *raw)).to_pylist()]
        finally:
            lake.close()


@pytest.fixture
def follows(tmp_path: Path) -> Follows:
    return Follows(tmp_path)


@pytest.fixture
def lake(follows: Follows) -> Iterator[Lake]:
    lake = follows.lake()
    yield lake
    lake.close()


def test_a_file_is_built_once_and_found_afterwards(follows, lake):
    """The second time, in this run or another, the file is there: no engine is even started."""
    raw = follows.raw(("ann", "ada"))
    first = follows.derive(lake, raw)
    assert follows.derive(lake, raw) == first
    assert lake.built == {"base_follows": 1}
    later = Lake(lake.folder, no_engine)
    assert follows.derive(later, raw) == first
    assert later.built == {}


def test_a_file_that_has_other_rows_when_it_is_built_again_is_told(follows, lake):
    """Then it is no function of its inputs, and what rests on it would be wrong: nobody may go on with it."""
    stored = follows.derive(lake, follows.raw(("ann", "ada")))
    flip_a_bit(stored.path)
    later = follows.lake()
    try:
        with pytest.raises(Damaged, match="Built again it has other rows"):
            later.checked([dataclasses.replace(stored, digest="0" * 64)])
    finally:
        later.close()


def test_a_file_says_what_it_is(follows, lake):
    """Its sidecar holds rows, the sha256 of the file, and the digest of the rows."""
    stored = follows.derive(lake, follows.raw(("ann", "ada"), ("ann", "bob")))
    assert stored.path == lake.folder / "base_follows" / f"{stored.key}.parquet"
    facts = json.loads(stored.path.with_suffix(".json").read_bytes())
    assert facts == {
        "key": stored.key,
        "rows": 2,
        "sha256": durable_files.sha256_of(stored.path),
        "digest": row_digest(pq.read_table(stored.path)),
        "seal": durable_files.checksum_of(facts),
    }
    assert sorted(path.name for path in stored.path.parent.iterdir()) == [f"{stored.key}.json", f"{stored.key}.parquet"]


def test_an_input_counts_by_its_rows(follows, lake):
    """A rebuilt input with the same rows, under whatever key and path, stops the rebuild."""
    first = follows.derive(lake, follows.raw(("ann", "ada")), follows.raw(("bea", "ada")))
    again = follows.derive(lake, follows.raw(("bea", "ada")), follows.raw(("ann", "ada")))
    assert again == first
    assert follows.derive(lake, follows.raw(("ann", "bob"))) != first
    assert lake.built == {"base_follows": 2}


def test_an_input_without_rows_does_not_count(follows, lake):
    """Landed files with nothing accepted in them change no key."""
    raw = follows.raw(("ann", "ada"))
    assert follows.derive(lake, raw, follows.raw()) == follows.derive(lake, raw)


def test_a_file_over_nothing_is_shared(follows, lake):
    """A model over nothing has no rows: one file serves every day and every as_of."""
    first = follows.derive(lake)
    assert first.rows == 0
    assert follows.derive(lake, follows.raw(), params={"as_of_instant": datetime(2027, 1, 1, tzinfo=UTC)}) == first
    assert len(list(lake.folder.glob("base_follows/*.parquet"))) == 1
    assert lake.built == {}  # it stands in where nothing landed: nobody waits for it


def test_a_parameter_that_the_model_declares_counts(follows, lake):
    """Another as_of is another file; what the model does not declare is not part of its name."""
    raw = follows.raw(("ann", "ada"))
    first = follows.derive(lake, raw)
    other = follows.derive(lake, raw, params={"as_of_instant": datetime(2027, 1, 1, tzinfo=UTC)})
    assert (other.key != first.key, other.digest) == (True, first.digest)
    assert follows.derive(lake, raw, params=AS_OF_INSTANT | {"max_window_days": 90}) == first


@pytest.fixture
def edit_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Work on a copy of sql/, and give a function that replaces text in one model."""
    copy = tmp_path / "sql"
    shutil.copytree(models.sql_folder(), copy)
    monkeypatch.setattr(models, "sql_folder", lambda: copy)
    models.model.cache_clear()

    def edit(name: str, before: str, after: str) -> None:
        (path,) = copy.glob(f"*/{name}.sql")
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))
        models.model.cache_clear()

    yield edit
    models.model.cache_clear()


def test_a_changed_comment_builds_nothing(follows, lake, edit_sql):
    """Comments and spacing can be improved at no cost."""
    raw = follows.raw(("ann", "ada"))
    first = follows.derive(lake, raw)
    edit_sql("base_follows", "-- who follows", "-- the follower")
    edit_sql("base_follows", "where age = 1 and", "where\n        age = 1 and -- newest\n")
    assert follows.derive(lake, raw) == first


def test_a_changed_query_is_built_again(follows, lake, edit_sql):
    """Another query is another file, beside the old one."""
    raw = follows.raw(("ann", "ada"))
    first = follows.derive(lake, raw)
    edit_sql("base_follows", "where age = 1 and not deleted", "where age = 1 and deleted")
    other = follows.derive(lake, raw)
    assert (other.key != first.key, first.rows, other.rows) == (True, 1, 0)
    assert first.path.exists()


def test_changed_keys_are_another_order_of_rows(follows, lake, edit_sql):
    """The header's keys are the order in which rows are stored, so they are part of the name too."""
    raw = follows.raw(("ann", "bob"), ("bea", "ada"))
    first = follows.derive(lake, raw)
    edit_sql("base_follows", "-- keys:    user_id, creator_id", "-- keys:    creator_id, user_id")
    other = follows.derive(lake, raw)
    assert lake.table(first)["user_id"].to_pylist() == ["ann", "bea"]
    assert lake.table(other)["user_id"].to_pylist() == ["bea", "ann"]


@pytest.mark.parametrize("missing", [".parquet", ".json"])
def test_half_a_file_does_not_exist(follows, missing):
    """A file without its sidecar, or a sidecar without its file, is built again."""
    raw = follows.raw(("ann", "ada"))
    lake = follows.lake()
    stored = follows.derive(lake, raw)
    lake.close()
    stored.path.with_suffix(missing).unlink()
    assert follows.pairs(raw) == [("ann", "ada")]
    durable_files.verify(stored.path, json.loads(stored.path.with_suffix(".json").read_bytes())["sha256"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"rows": 1}', b"\xff"])
def test_a_sidecar_that_cannot_be_read_does_not_exist(follows, content):
    """A torn sidecar is written again with its file."""
    raw = follows.raw(("ann", "ada"))
    lake = follows.lake()
    stored = follows.derive(lake, raw)
    lake.close()
    stored.path.with_suffix(".json").write_bytes(content)
    assert follows.pairs(raw) == [("ann", "ada")]


@pytest.mark.parametrize("fact", ["key", "rows", "sha256", "digest", "seal"])
def test_a_sidecar_that_says_otherwise_does_not_exist(follows, fact):
    """What other files are named by is not taken from a sidecar that was changed."""
    raw = follows.raw(("ann", "ada"))
    lake = follows.lake()
    stored = follows.derive(lake, raw)
    sidecar = stored.path.with_suffix(".json")
    facts = json.loads(sidecar.read_bytes())
    sidecar.write_text(json.dumps(facts | {fact: 7 if fact == "rows" else facts[fact][::-1]}))
    again = follows.lake()
    assert (follows.derive(again, raw), again.built) == (stored, {"base_follows": 1})
    assert json.loads(sidecar.read_bytes()) == facts
    lake.close()
    again.close()


def test_a_file_in_the_place_of_another_does_not_exist(follows):
    """A file that is whole, with its sidecar, but under another file's name: that one is built again."""
    mine, other = follows.raw(("ann", "ada")), follows.raw(("bea", "bob"))
    lake = follows.lake()
    paths = [follows.derive(lake, raw).path for raw in (mine, other)]
    lake.close()
    for suffix in (".parquet", ".json"):
        shutil.copyfile(paths[1].with_suffix(suffix), paths[0].with_suffix(suffix))
    assert follows.pairs(mine) == [("ann", "ada")]


def test_a_table_is_read_from_the_bytes_that_were_checked(follows, lake):
    """Also later in a run: what was right before may be damaged since."""
    raw = follows.raw(("ann", "ada"))
    stored = follows.derive(lake, raw)
    assert lake.table(stored).num_rows == 1
    flip_a_bit(stored.path)
    assert lake.table(stored)["user_id"].to_pylist() == ["ann"]
    assert lake.table(stored)["user_id"].to_pylist() == ["ann"]


def test_a_damaged_file_is_noticed_and_built_again(follows):
    """Before its first read in a run a file is checked; a damaged one is replaced by what it should be."""
    raw = follows.raw(("ann", "ada"))
    lake = follows.lake()
    stored = follows.derive(lake, raw)
    lake.close()
    for spoil in (
        flip_a_bit,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
    ):
        spoil(stored.path)
        assert follows.pairs(raw) == [("ann", "ada")]
        durable_files.verify(stored.path, json.loads(stored.path.with_suffix(".json").read_bytes())["sha256"])


def test_a_damaged_raw_file_is_an_error_that_names_it(follows, lake):
    """Raw is not derived by SQL: whoever can parse it again is told which file."""
    raw = follows.raw(("ann", "ada"))
    flip_a_bit(raw.path)
    with pytest.raises(RawDamaged, match=raw.path.name) as damage:
        follows.derive(lake, raw)
    assert damage.value.stored == raw


def test_an_engine_that_fails_leaves_nothing(follows, lake, edit_sql):
    """After an error in the middle of a build there is neither a file nor a leftover."""
    edit_sql("base_follows", "where age = 1 and not deleted", "where age = 1 and error('no')")
    with pytest.raises(Exception, match="no"):
        follows.derive(lake, follows.raw(("ann", "ada")))
    assert not [path for path in lake.folder.rglob("*") if path.is_file()]


def test_looking_does_not_build(follows, lake):
    """Inside dry_run nothing is built: what is not there has no rows; what was asked for is told."""
    there, missing = follows.raw(("ann", "ada")), follows.raw(("bea", "ada"))
    built = follows.derive(lake, there)
    looking = Lake(lake.folder, no_engine)
    with looking.dry_run() as asked:
        assert follows.derive(looking, there) == built
        assert follows.derive(looking, missing).rows == 0
    assert built.location in asked
    assert len(asked) == 2


# --- many days -----------------------------------------------------------------------------------------------------


def lake_content(home: Path) -> dict[str, str]:
    """The digest of the rows of every derived file, by its path in the lake."""
    root = home / "lake"
    return {
        str(path.relative_to(root)): json.loads(path.read_bytes())["digest"]
        for path in root.rglob("*.json")
        if "raw" not in path.relative_to(root).parts and path.parent != root
    }


def night(world: World, **changes: Any) -> nightly.NightReport:
    settings = dataclasses.replace(world.settings, **changes)
    return nightly.run(settings, AS_OF, accept_rejects=True, allow_incomplete=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20) if FULL else range(1))
def test_days_together_are_days_one_by_one(tmp_path, monkeypatch, seed):
    """Whether one statement builds one day, a few or all of them: every file of every model has the same rows."""
    draw = Random(seed)
    world = World(tmp_path / "all")
    zone = draw.choice(["Europe/Istanbul", "America/Sao_Paulo", "UTC"])
    land_noise(world, seed, sessions=60, days=44 if FULL else 9)
    together = night(world, day_timezone=zone)
    content = lake_content(world.settings.home)
    for rows in (-1, draw.randrange(5, 30)):
        monkeypatch.setattr(lake_module, "BATCH_ROWS", rows)
        other = World(tmp_path / f"by-{rows}")
        shutil.copytree(world.settings.landing, other.settings.landing)
        by_parts = night(other, day_timezone=zone)
        assert lake_content(other.settings.home) == content
        assert by_parts.snapshot_id == together.snapshot_id
        assert by_parts.built == together.built


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20) if FULL else range(1))
def test_a_file_at_a_time_is_all_at_once(tmp_path, seed):
    """However the same records come in, late, corrected and out of order: the last night's tables are the same."""
    draw = Random(seed)
    world = World(tmp_path / "piecemeal")
    days = 44 if FULL else 9
    land_noise(world, seed, sessions=60, days=days)
    night(world)
    for sessions in (1, 20):
        land_sessions(world, draw, sessions, days)
        last = night(world)
    at_once = World(tmp_path / "at-once")
    shutil.copytree(world.settings.landing, at_once.settings.landing)
    assert night(at_once).snapshot_id == last.snapshot_id
    content = lake_content(world.settings.home)
    assert lake_content(at_once.settings.home).items() <= content.items()


# --- nights --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A platform with sessions on ten days, and a night over them; to be copied."""
    world = World(tmp_path_factory.mktemp("ten_days"))
    world.busy_days("2026-01-21", 10, sessions=3)
    world.land("creators", "creator\nbusy")
    night(world)
    return world


@pytest.fixture
def ten_days(world: World, made: World) -> World:
    """Such a platform for this test."""
    world.begin_as(made)
    return world


def test_a_second_run_builds_nothing(ten_days):
    """With no news there is nothing to do, and the snapshot is the one that was published."""
    current = ten_days.current()
    report = night(ten_days)
    assert (report.built, report.snapshot_id, report.published.is_new) == ({}, current, False)


def test_the_next_night_builds_the_new_day(ten_days):
    """The cost of a night is that of its day, not of the window."""
    ten_days.busy_days("2026-01-31", 1, sessions=3)
    report = nightly.run(ten_days.settings, date(2026, 2, 1))
    by_day = ("session_keys", "session_repeats", "session_outcomes", "viewer_days", "creator_reach")
    assert {model: report.built[model] for model in by_day} == dict.fromkeys(by_day, 1)


def test_a_night_builds_no_profile_again_that_it_has(ten_days):
    """Which versions are known by as_of changes when something newer lands, not with the date."""
    profiles = {"creators", "live_streams", "pledges", "follows", "replay_rentals", "lls_streams"}
    ten_days.land("creators", "creator | updated_at\nbusy | 2026-01-10 00:00\nbusy | 2026-02-01 12:00")
    assert "creators" in night(ten_days).built
    ten_days.busy_days("2026-01-31", 1, sessions=3)
    for as_of, known in ((date(2026, 2, 1), 0), (date(2026, 2, 2), 1), (date(2026, 2, 3), 0)):
        report = nightly.run(ten_days.settings, as_of, allow_incomplete=True)
        assert sum(report.built.get(model, 0) for model in profiles) == (known or as_of == date(2026, 2, 1))


def test_late_data_rebuilds_what_it_touches(ten_days):
    """A late session changes its day and the days whose gaps reach back to it; nothing before."""
    ten_days.sessions("""
        creator | viewer | started_at       | minutes
        busy    | late   | 2026-01-28 10:00 | 5
    """)
    report = night(ten_days)
    assert report.built == {
        "session_keys": 1,
        "session_repeats": 3,  # this day and the two after it, which must look whether they have seen it before
        "session_outcomes": 1,
        "viewer_days": 1,
        "creator_reach": 3,
        "creator_windows": 2,  # of this as_of, and of the day before, for previous_rank
        "creator_rankings": 1,
        "ranking_totals": 1,
        "day_totals": 1,
        "funnel": 1,
    }


def test_a_late_file_leaves_a_large_one_as_it_is(world, monkeypatch):
    """What is worked out of a day's large file is kept beside that of the sessions that land later."""
    monkeypatch.setattr(plan_sessions, "PART_ROWS", 3)
    world.busy_days("2026-01-21", 10, sessions=3)
    night(world)
    folder = world.settings.lake / "viewer_days" / "day=2026-01-28"
    (large,) = folder.glob("*.parquet")
    before = large.stat()
    world.sessions("""
        creator | viewer | started_at       | minutes
        busy    | late   | 2026-01-28 10:00 | 5
    """)
    report = night(world)
    assert report.built["viewer_days"] == 1
    small = [path for path in folder.glob("*.parquet") if path != large]
    assert [pq.read_metadata(path).num_rows for path in small] == [1]
    assert large.stat() == before


def test_a_large_file_landed_again_is_counted(world, monkeypatch):
    """The same rows in other bytes are duplicates, also where each file would be a part of its own."""
    monkeypatch.setattr(plan_sessions, "PART_ROWS", 3)
    world.busy_days("2026-01-21", 10, sessions=3)
    (landed,) = world.settings.landing.glob("viewing_sessions/*")
    landed.with_name("again.ndjson.gz").write_bytes(gzip.compress(landed.read_bytes()))
    assert (night(world).funnel["ranked"], night(world).funnel["duplicate"]) == (30, 30)


def test_a_large_file_landed_again_among_others_is_counted(world, monkeypatch):
    """The same rows in a file that shares a folder with another are duplicates too."""
    monkeypatch.setattr(plan_sessions, "PART_ROWS", 3)
    world.busy_days("2026-01-21", 10, sessions=3)
    night(world)
    (landed,) = world.settings.landing.glob("viewing_sessions/*")
    landed.with_name("again.ndjson.gz").write_bytes(gzip.compress(landed.read_bytes()))
    world.sessions("""
        creator | viewer | started_at       | minutes
        busy    | late   | 2026-02-20 10:00 | 5
    """)
    funnel = night(world).funnel
    assert (funnel["ranked"], funnel["duplicate"], funnel["not_yet"]) == (30, 30, 1)


def test_a_redelivery_stops_where_rows_are_the_same(ten_days):
    """The same sessions in another file are duplicates: counted, and of no consequence for any viewer."""
    again = ten_days.landed["viewing_sessions"][:3]
    ten_days.land("viewing_sessions", again)
    before = lake_content(ten_days.settings.home)
    report = night(ten_days)
    assert "creator_reach" not in report.built
    assert "creator_rankings" not in report.built
    assert report.built["viewer_days"] == 2  # of what landed once, and of what landed more often
    assert report.funnel["duplicate"] == 3
    assert before.items() <= lake_content(ten_days.settings.home).items()


def test_the_same_bytes_again_change_nothing(ten_days):
    """A landed file under another name is the file that is known."""
    landing = ten_days.settings.landing / "viewing_sessions"
    (landing / "again.ndjson").write_bytes(next(landing.iterdir()).read_bytes())
    report = night(ten_days)
    assert (report.built, report.ingested.new_files) == ({}, 0)


def test_a_reworded_query_stops_where_rows_are_the_same(ten_days, edit_sql):
    """A model that is written otherwise is built again; what rests on its rows is not."""
    current = ten_days.current()
    edit_sql("viewer_days", "where outcome = 'counted'", "where 'counted' = outcome")
    report = night(ten_days)
    assert set(report.built) == {"viewer_days"}
    assert report.snapshot_id == current


# --- damage --------------------------------------------------------------------------------------------------------


def fresh(world: World, folder: Path) -> str:
    """The snapshot id that a new home comes to over the same landed files."""
    other = World(folder)
    shutil.copytree(world.settings.landing, other.settings.landing)
    return night(other).snapshot_id


@pytest.mark.slow
def test_every_damaged_file_is_mended(tmp_path, ten_days):
    """With every derived file damaged, the next nights still publish what an undamaged home would."""
    current = ten_days.current()
    for path in (ten_days.settings.lake).rglob("*.parquet"):
        if "raw" not in path.parts:
            flip_a_bit(path)
    report = night(ten_days)
    assert report.snapshot_id == current
    assert report.published.snapshot.damage() == []
    ten_days.busy_days("2026-01-20", 11, sessions=1, creator="late")
    late = night(ten_days)
    assert late.snapshot_id == fresh(ten_days, tmp_path / "fresh")
    assert late.published.snapshot.damage() == []


def raw_days(world: World) -> list[Path]:
    return sorted(world.settings.lake.glob("raw/viewing_sessions/*/2*.parquet"))


def test_damaged_raw_is_parsed_again(tmp_path, ten_days):
    """A damaged or missing raw file is made again from what landed, and the night goes on."""
    ten_days.busy_days("2026-01-21", 10, sessions=1, creator="late")
    nightly.ingest(ten_days.settings)
    flip_a_bit(raw_days(ten_days)[0])
    raw_days(ten_days)[-1].unlink()
    report = night(ten_days)
    assert report.snapshot_id == fresh(ten_days, tmp_path / "fresh")
    assert not list(ten_days.settings.lake.rglob(".*"))


def test_a_disk_that_damages_whatever_is_written_is_an_error(ten_days, monkeypatch):
    """Raw that is damaged again as often as it is made again ends the run, with what to look at."""
    ten_days.busy_days("2026-01-21", 1, sessions=1, creator="late")
    read_again = nightly.ingest

    def on_a_bad_disk(*arguments: Any) -> Any:
        report = read_again(*arguments)
        flip_a_bit(raw_days(ten_days)[0])
        return report

    monkeypatch.setattr(nightly, "ingest", on_a_bad_disk)
    with pytest.raises(Damaged, match=r"was made again 3 times and is damaged each time. Check the disk"):
        night(ten_days)
    monkeypatch.undo()
    assert night(ten_days).funnel["accepted"] == 31


@pytest.mark.parametrize("lost", ["index.json", "rejects.parquet", "another's index", "its name"])
def test_a_raw_folder_that_is_not_whole_is_made_again(tmp_path, ten_days, lost):
    """Also where no night would read what is damaged."""
    ten_days.land_text("viewing_sessions", "nonsense\n", "bad.ndjson")
    night(ten_days)
    ten_days.land_text("viewing_sessions", "other nonsense\n", "worse.ndjson")  # into a folder of its own
    current = night(ten_days).snapshot_id
    right = list(all_rejected(ten_days.settings))
    one, two = sorted(path.parent for path in ten_days.settings.lake.glob("raw/*/*/rejects.parquet"))
    if lost == "its name":
        one.rename(one.with_name("0" * 64))
    elif lost == "another's index":
        shutil.copyfile(two / "index.json", one / "index.json")
    else:
        (one / lost).unlink()
    with pytest.raises(Damaged, match="again"):
        list(all_rejected(ten_days.settings))
    assert night(ten_days).snapshot_id == current
    assert list(all_rejected(ten_days.settings)) == right
    assert not list(ten_days.settings.lake.rglob(".*"))


def test_a_raw_folder_under_a_wrong_name_gets_its_own_back(ten_days):
    """Its index says what it is, so nothing need be read again."""
    (landed,) = ten_days.settings.landing.glob("viewing_sessions/*")
    landed.unlink()
    (folder,) = ten_days.settings.lake.glob("raw/viewing_sessions/*")
    folder.rename(folder.with_name("0" * 64))
    current = ten_days.current()
    assert night(ten_days).snapshot_id == current
    assert list(ten_days.settings.lake.glob("raw/viewing_sessions/*")) == [folder]


def test_raw_that_vanished_with_what_it_was_parsed_from_is_refused(ten_days):
    """A night over fewer records than the last one is not published as if nothing had happened."""
    (landed,) = ten_days.settings.landing.glob("viewing_sessions/*")
    content = landed.read_bytes()
    landed.unlink()
    shutil.rmtree(ten_days.settings.lake)
    current = ten_days.current()
    with pytest.raises(RefusedToPublish, match=f"neither in the lake nor in the landing .*{landed.name}: land"):
        night(ten_days)
    assert ten_days.current() == current
    landed.write_bytes(content)
    assert night(ten_days).snapshot_id == current


def test_damaged_raw_whose_landed_file_is_gone_is_an_error(ten_days):
    """Then nothing is published, the error says what to land again, and what is left of the raw folder stays."""
    ten_days.busy_days("2026-01-21", 1, sessions=1, creator="late")
    nightly.ingest(ten_days.settings)
    landed = {path: path.read_bytes() for path in ten_days.settings.landing.glob("viewing_sessions/*")}
    for path in landed:
        path.unlink()
    before = raw_days(ten_days)
    flip_a_bit(before[0])
    current = ten_days.current()
    for _ in range(2):
        with pytest.raises(Damaged, match="not in the landing folder: land that file again"):
            night(ten_days)
        assert raw_days(ten_days) == before
        assert ten_days.current() == current
    for path, content in landed.items():
        path.write_bytes(content)
    assert night(ten_days).funnel["accepted"] == 31
    assert manifest.open_current(ten_days.settings.snapshots).damage() == []


def test_progress_is_reported_for_what_is_built(ten_days):
    """Whoever waits is told what is being built and how much of it is done."""
    told = []
    ten_days.busy_days("2026-01-25", 2, sessions=1, creator="late")
    nightly.run(ten_days.settings, AS_OF, progress=lambda *step: told.append(step))
    assert ("viewer_days", 0, 2) in [step[:3] for step in told]
    assert ("session_outcomes and viewer_days", 2, 2) in [step[:3] for step in told]


def test_a_step_is_what_decides_rows():
    """A step carries a day, inputs, relations and parameters, and nothing that changes from run to run."""
    decides = ["day", "inputs", "relations", "params"]
    follows_from_it = ["weight", "sources"]
    assert [field.name for field in dataclasses.fields(Step)] == decides + follows_from_it


def test_a_step_that_reads_another_day_has_a_statement_of_its_own():
    """Days share a statement where the model says so and each step reads its own day: their rows then never meet."""
    first, second, third = (date(2026, 1, day) for day in (1, 2, 3))

    def step(day: date, *read: date) -> dict[str, tuple[Step, str]]:
        files = [Stored("raw_viewing_sessions", each, "", "", 1, "", "digest") for each in read]
        return {"session_keys": (Step(day, {"raw_viewing_sessions": files}), "")}

    def together(*missing: dict[str, tuple[Step, str]]) -> list[list[date | None]]:
        return [[each["session_keys"][0].day for each in batch] for batch in lake_module._batches(missing)]

    own = [step(day, day) for day in (first, second, third)]
    assert together(*own) == [[first, second, third]]
    assert together(own[0], step(second, first, second), own[2]) == [[first], [second], [third]]
