"""What a night works out, writes and holds in memory where little or nothing has changed: counted, not timed."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import AS_OF, Night, World

from pipelines.core import durable_files
from pipelines.jobs import prune, report
from pipelines.lake import plan
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import files
from pipelines.raw import ingest
from pipelines.snapshots import manifest, warehouse

FOLLOWED = '{{"userId":"u{0}","creatorId":"busy","followedAt":"2026-01-02T00:00:00Z"}}\n'


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What DuckDB is started for, and the models that it builds."""
    seen: list[str] = []
    connect, write = engine.connect, engine.DuckDBEngine.write

    def counted_connect(*args: Any) -> engine.Connection:
        seen.append("connect")
        return connect(*args)

    def counted_write(self: engine.DuckDBEngine, model: Any, *args: Any) -> Any:
        seen.append(model.name)
        return write(self, model, *args)

    monkeypatch.setattr(engine, "connect", counted_connect)
    monkeypatch.setattr(engine.DuckDBEngine, "write", counted_write)
    return seen


@contextmanager
def databases_at_the_end() -> Iterator[list[list[str]]]:
    """The names of the databases of each engine, as it is closed."""
    seen: list[list[str]] = []
    close = engine.DuckDBEngine.close

    def listing_close(self: engine.DuckDBEngine) -> None:
        seen.append(engine.query(self._connection, "select database_name from duckdb_databases()")[0].to_pylist())
        close(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.DuckDBEngine, "close", listing_close)
        yield seen


def follow(world: World, user: int) -> Night:
    """A night in which one more follow has landed."""
    world.land_text("follows", FOLLOWED.format(user))
    return world.run(compare=False)


def inodes(folder: Path) -> dict[int, int]:
    """The bytes of each file under a folder, once each however many names it has."""
    return {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_night_that_changes_nothing_asks_no_query(world, asked):
    """Neither a check nor the report, also where there are a snapshot before and rejected records."""
    world.busy_days("2026-01-21", 10)
    world.run("2026-01-30", compare=False)
    world.land_text("follows", FOLLOWED.format(1) + '{"userId":1}\n')
    world.run(compare=False, night={"accept_rejects": True})
    world.run(compare=False)  # of which no file is new any more
    before = report.read(world.settings, AS_OF)
    asked.clear()
    world.run(compare=False)
    assert asked == []
    after = report.read(world.settings, AS_OF)
    for section in ("change", "late", "anomalies", "rejected", "checks"):
        assert after[section] == before[section]
    assert after["change"]["snapshot_id"].startswith("2026-01-30")
    assert after["rejected"][0]["samples"]
    assert len(after["checks"]) == sum(len(plan.models.checks(name)) for name in plan.models.LINE)


def test_a_night_with_news_starts_one_instance_of_duckdb(world, asked):
    """Its engine, its checks, its recount, its report and its warehouse share it: to start one takes 20 ms."""
    world.busy_days("2026-01-21", 9)
    world.run("2026-01-30", compare=False)
    world.busy_days("2026-01-30", 1)
    asked.clear()
    with databases_at_the_end() as instances:
        night = world.run()
    assert asked.count("connect") == 1
    assert [len(databases) for databases in instances] == [3]  # memory, system and temp: no session has left its own
    assert report.read(night.settings, AS_OF)["change"]["snapshot_id"].startswith("2026-01-30")


def test_an_instance_that_takes_no_more_fails_no_report(world, asked, monkeypatch):
    """As after an internal error of DuckDB's in one section of the report: others start an instance of their own."""

    def fails(self: engine.DuckDBEngine, purpose: str) -> Any:
        raise engine.Error(f"the database has been invalidated ({purpose})")

    monkeypatch.setattr(engine.DuckDBEngine, "session", fails)
    world.busy_days("2026-01-21", 10)
    night = world.run()
    assert asked.count("connect") > 1
    assert report.read(night.settings, AS_OF)["problems"] == []


def test_a_follow_checks_and_writes_no_public_table(world, asked):
    """Every public file of the new snapshot is the one of the snapshot before, the warehouse too."""
    world.busy_days("2026-01-21", 10)
    first = follow(world, 1)
    asked.clear()
    second = follow(world, 2)
    assert second.snapshot_id != first.snapshot_id
    assert set(asked) - {"connect"} == {"changed_follows", "follows", "version_conflicts"}
    public = {name for name in first.snapshot.files if not name.startswith("private/") and name != "report.html"}
    assert "warehouse.duckdb" in public
    for name in public:
        assert (first.snapshot.path / name).samefile(second.snapshot.path / name), name
    for night in (first, second):
        assert night.snapshot.damage() == []
        assert night.warehouse("select count(*) from creator_rankings") == [
            (len(night.rows("creator_rankings.parquet")),)
        ]


def test_thirty_snapshots_take_at_most_twice_the_disk_of_one(world):
    """Of which only private rows differ: each after the first adds less than a twenty-ninth of it."""
    many_creators(world, 20_000)
    follow(world, 1)
    one = inodes(world.settings.snapshots)
    for user in range(2, 5):
        follow(world, user)
    four = inodes(world.settings.snapshots)
    assert len(manifest.snapshot_ids(world.settings.snapshots)) == 4
    added = (sum(four.values()) - sum(one.values())) / 3
    assert added < sum(one.values()) / 29


def test_other_public_rows_have_a_warehouse_of_their_own(world):
    """What is shared is what is the same: a late session of a creator is in the warehouse of its snapshot alone."""
    world.busy_days("2026-01-21", 10)
    world.run("2026-01-30", compare=False)
    first = world.run(compare=False)
    world.sessions("creator | viewer | started_at\nlate | v1 | 2026-01-25 10:00")
    second = world.run(compare=False)
    of_late = "select sum(sessions) from creator_rankings where creator_id = 'late' and window_days = 30"
    assert (first.warehouse(of_late), second.warehouse(of_late)) == ([(None,)], [(1,)])
    facts = report.read(world.settings, AS_OF)
    assert facts["change"]["snapshot_id"] == first.snapshot_id
    assert [total["after"] - total["before"] for total in facts["change"]["totals"][:2]] == [1, 1]
    keys = {night.snapshot.files["warehouse.duckdb"]["key"] for night in (first, second)}
    assert len(keys) == 2


@pytest.mark.parametrize("how", [lambda path: path.write_bytes(b"torn"), Path.unlink])
def test_a_damaged_warehouse_is_shared_with_nobody(world, how: Callable[[Path], object]):
    """The next snapshot writes its own, whole."""
    world.busy_days("2026-01-21", 10)
    first = follow(world, 1)
    how(first.snapshot.path / "warehouse.duckdb")
    second = follow(world, 2)
    assert second.snapshot.damage() == []
    assert second.warehouse("select count(*) from snapshot_facts") == [(1,)]
    assert first.snapshot.damage() != []


def test_a_shared_warehouse_outlives_the_snapshot_that_wrote_it(world):
    """Prune removes the older snapshot, and the lake's files that nobody needs; the newer one stays whole."""
    world.busy_days("2026-01-21", 10)
    first, second = follow(world, 1), follow(world, 2)
    settings = world.settings
    manifest.prune(settings.snapshots, keep=1)
    prune.prune(settings)
    assert manifest.snapshot_ids(settings.snapshots) == [second.snapshot_id] != [first.snapshot_id]
    assert second.snapshot.damage() == []
    third = follow(world, 3)
    assert third.snapshot.path.joinpath("warehouse.duckdb").samefile(second.snapshot.path / "warehouse.duckdb")


def test_another_macro_or_comment_has_another_warehouse(monkeypatch, world):
    """The key is of all that is in the file, not of the rows alone."""
    world.busy_days("2026-01-20", 2)
    night = follow(world, 1)
    monkeypatch.setitem(warehouse.FACTS_COMMENTS, "as_of", "the end")
    again = follow(world, 2)
    assert again.snapshot.files["warehouse.duckdb"]["key"] != night.snapshot.files["warehouse.duckdb"]["key"]
    assert again.warehouse("select comment from duckdb_columns() where column_name = 'as_of'") == [("the end",)]


def many_creators(world: World, count: int) -> None:
    """Land a session of each of many creators, as columns."""
    creators = range(count)
    at = datetime.combine(AS_OF, datetime.min.time()) - timedelta(days=2)
    sessions = pl.DataFrame(
        {
            "sessionId": [f"s{each}" for each in creators],
            "creatorId": [hashlib.sha256(f"{each}".encode()).hexdigest()[:24] for each in creators],
            "viewerId": [f"v{each % 97}" for each in creators],
            "startedAt": pl.Series([at]).new_from_index(0, count).dt.replace_time_zone("UTC"),
            "endedAt": pl.Series([at + timedelta(minutes=5)]).new_from_index(0, count).dt.replace_time_zone("UTC"),
        }
    )
    path = world.settings.landing / "viewing_sessions" / "many.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    sessions.write_parquet(path)


@pytest.mark.parametrize(("creators", "times"), [(1, 60), (42_000, 1.8)])
def test_a_warehouse_takes_little_more_than_its_tables(world, creators, times):
    """Ids that are all different are compressed, and no column of a small table takes more than it must."""
    many_creators(world, creators)
    night = world.run(compare=False)
    tables = [facts["bytes"] for name, facts in night.snapshot.files.items() if facts["rows"] and "private" not in name]
    assert night.snapshot.files["warehouse.duckdb"]["bytes"] < times * sum(tables)


def peak_of(night: Callable[[], object]) -> int:
    """The most bytes that Python's own objects take up while a night runs; Arrow and DuckDB are not among them."""
    tracemalloc.start()
    try:
        night()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peaks_with(world: World, creators: int) -> tuple[int, int]:
    """The peaks of a night that changes nothing, and of one that changes the ranking."""
    many_creators(world, creators)
    for _ in range(2):  # what landed a moment ago is read once more: it may have changed within its time stamp
        world.run(compare=False)
    unchanged = peak_of(lambda: world.run(compare=False))
    world.sessions("creator | viewer | started_at\nada | v1 | 2026-01-29 10:00")
    return unchanged, peak_of(lambda: world.run(compare=False))


@pytest.mark.slow
def test_no_table_of_creators_becomes_python_objects(tmp_path, monkeypatch):
    """A night takes little more Python memory for more creators: none, or a file of them as it is stored."""
    monkeypatch.setattr(durable_files, "_CHUNK_BYTES", 1 << 14)  # the peak is not what files are hashed in
    monkeypatch.setattr(files.Source.chunks, "__defaults__", (1 << 14,))
    monkeypatch.setattr(ingest, "SMALL_BYTES", 1 << 14)  # nor a small landed file, which is read whole
    peaks = [peaks_with(World(tmp_path / str(count)), count) for count in (2_000, 42_000)]
    (few_unchanged, few_changed), (many_unchanged, many_changed) = peaks
    assert (many_unchanged - few_unchanged) / 40_000 < 10, peaks  # bytes a creator; as an object it takes hundreds
    assert (many_changed - few_changed) / 40_000 < 40, peaks  # a checked file's 15 are read before Arrow has them
