"""The ranking of any range of days: pipelines.snapshots.ranking and the warehouse's macros, two ways to one answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise import land_noise
from world import AS_OF, Night, World, day

from pipelines.core import durable_files
from pipelines.core.calendar_days import Window
from pipelines.core.errors import Damaged, UsageError
from pipelines.core.row_digest import combined_digest
from pipelines.lake import models
from pipelines.snapshots import manifest, publish, ranking

FIRST, END = AS_OF - timedelta(days=31), AS_OF  # what a snapshot with W = 30 holds

ranges = st.tuples(st.integers(0, 30), st.integers(1, 30)).map(
    lambda drawn: Window(FIRST + timedelta(days=drawn[0]), min(END, FIRST + timedelta(days=sum(drawn))))
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    world = World(tmp_path_factory.mktemp("night"))
    land_noise(world, seed=21, sessions=150, days=36)
    return world.run(compare=False, night={"accept_rejects": True, "allow_incomplete": True})


@pytest.fixture(scope="module")
def warehouse(night: Night, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse, moved to where nothing of the snapshot stands beside it, and opened read-only."""
    moved = tmp_path_factory.mktemp("elsewhere") / "moved.duckdb"
    shutil.copy(night.snapshot.path / "warehouse.duckdb", moved)
    with duckdb.connect(str(moved), read_only=True) as connection:
        yield connection


# --- ranges --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(days=ranges)
def test_a_range_is_what_a_scan_of_all_sessions_says(night, days):
    """For any range that the snapshot holds, the sums over the cube are the distinct counts of the oracle."""
    right = night.world.oracle(AS_OF).ranking(days.first_day, days.end_day)
    found = night.top(days.first_day, days.end_day)
    assert [_figures(row) for row in found] == [_figures(row) for row in right]


def _figures(row: object) -> tuple[object, ...]:
    return tuple(getattr(row, column) for column in ranking.COLUMNS)


@given(days=ranges)
def test_the_macros_say_the_same(night, warehouse, days):
    """`ranking(as_of, days)` is the ranking; `reach(from_date, to_date)` has its figures, banned creators included."""
    expected = [_figures(row) for row in night.top(days.first_day, days.end_day)]
    found = warehouse.execute("from ranking($1, $2)", [days.end_day, days.days]).fetchall()
    assert found == expected
    reach = warehouse.execute("from reach($1, $2)", [days.first_day, days.end_day]).fetchall()
    listed = {row[2] for row in expected}
    assert [row for row in reach if row[0] in listed] == [row[2:] for row in expected]
    unlisted = [row[0] for row in reach if row[0] not in listed]
    statuses = dict(warehouse.execute("select creator_id, status from creators").fetchall())
    assert all(statuses[creator] in ("banned", "deleted") for creator in unlisted)


def test_a_ranking_is_read_from_the_bytes_that_were_checked(tmp_path, night, monkeypatch):
    """A file that is damaged as soon as it has been checked changes nothing."""
    shutil.copytree(night.snapshot.path, tmp_path / night.snapshot_id)
    snapshot = manifest.open_snapshot(tmp_path, night.snapshot_id)
    days = Window(END - timedelta(days=30), END)
    right = ranking.ranking(night.settings, snapshot, days)

    def then_damaged(check: Callable[[Path, str], Any]) -> Callable[[Path, str], Any]:
        def checked(path: Path, sha256: str) -> Any:
            found = check(path, sha256)
            path.write_bytes(b"PAR1")
            return found

        return checked

    monkeypatch.setattr(durable_files, "verify", then_damaged(durable_files.verify))
    monkeypatch.setattr(durable_files, "checked_bytes", then_damaged(durable_files.checked_bytes))
    assert ranking.ranking(night.settings, snapshot, days) == right
    assert (snapshot.path / "creators.parquet").read_bytes() == b"PAR1"
    with pytest.raises(Damaged):
        ranking.ranking(night.settings, snapshot, days)


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 7, 30])
def test_the_published_windows_are_ranges_like_any_other(night, warehouse, window):
    """The last N days, asked for as a range, are the published table."""
    published = [_figures(row) for row in night.ranking(window)]
    asked = ranking.window_from_options(night.snapshot, window, None, None)
    rows = ranking.ranking(night.settings, night.snapshot, asked)
    assert [tuple(row.values()) for row in rows] == published
    assert warehouse.execute("from ranking($1, $2)", [AS_OF, window]).fetchall() == published


def test_a_limit_cuts_by_position(night):
    """The first N, and all without a limit."""
    asked = ranking.window_from_options(night.snapshot, 30, None, None)
    rows = ranking.ranking(night.settings, night.snapshot, asked)
    assert len(rows) > 2
    assert ranking.ranking(night.settings, night.snapshot, asked, 2) == rows[:2]
    assert list(rows[0]) == list(ranking.COLUMNS)


def test_all_that_is_held_can_be_asked(night):
    """The first day of the cube and the last; W days that begin with the first."""
    for first, end in ((FIRST, FIRST + timedelta(days=1)), (FIRST, END - timedelta(days=1)), (END - timedelta(1), END)):
        night.top(first, end)


@pytest.mark.parametrize(
    ("first", "end", "reason"),
    [
        ("2025-12-31", "2026-01-31", "31 days; a range may hold at most 30"),
        ("2025-12-30", "2026-01-05", "holds the days 2025-12-31/2026-01-31, its end not included"),
        ("2026-01-30", "2026-02-01", "holds the days 2025-12-31/2026-01-31"),
        ("2027-01-01", "2027-01-02", "reaches outside"),
        ("2020-01-01", "2020-01-02", "reaches outside"),
        ("2026-01-05", "2026-01-05", "must be before --to"),
        ("2026-01-06", "2026-01-05", "must be before --to"),
    ],
)
def test_a_range_that_is_not_held_is_an_error(night, warehouse, first, end, reason):
    """Never a smaller number: longer than W, ending after as_of, beginning too early, or empty. The macros agree."""
    with pytest.raises(UsageError, match=reason) as error:
        night.top(first, end)
    assert error.value.exit_code == 2
    with pytest.raises(duckdb.Error, match=r"reach\("):
        warehouse.execute("from reach($1, $2)", [day(first), day(end)]).fetchall()
    with pytest.raises(duckdb.Error, match=r"reach\("):
        warehouse.execute("from ranking($1, $2)", [day(end), (day(end) - day(first)).days]).fetchall()


def test_an_empty_cube_is_no_excuse(world):
    """Also where nothing was ever watched, a question outside the snapshot is an error and one inside is not."""
    night = world.run()
    assert night.warehouse("from reach('2026-01-05', '2026-01-06')") == []
    for call in ("reach('2020-01-05', '2020-01-06')", "ranking(date '2026-01-05', 90)", "ranking('2027-01-05', 1)"):
        with pytest.raises(duckdb.Error, match=r"reach\("):
            night.warehouse(f"from {call}")


def test_a_null_date_is_an_error(warehouse):
    """A forgotten parameter does not read as an answer."""
    for arguments in ([None, AS_OF], [AS_OF, None]):
        with pytest.raises(duckdb.Error, match=r"reach\("):
            warehouse.execute("from reach($1::date, $2::date)", arguments).fetchall()


@pytest.mark.parametrize(
    ("window", "first", "end"),
    [
        (None, date(2026, 1, 5), None),
        (None, None, date(2026, 1, 5)),
        (7, date(2026, 1, 5), date(2026, 1, 6)),
    ],
)
def test_half_a_range_is_an_error(night, window, first, end):
    """--from and --to belong together, and --window goes without them."""
    with pytest.raises(UsageError, match="--from and --to together"):
        ranking.window_from_options(night.snapshot, window, first, end)


@pytest.mark.parametrize("days", [0, -3])
def test_a_window_without_a_day_is_an_error(night, days):
    """A window holds at least one day."""
    with pytest.raises(UsageError, match="at least one day"):
        ranking.window_from_options(night.snapshot, days, None, None)


def test_the_default_is_thirty_days(night):
    """Without a question it is the window that the API serves."""
    assert ranking.window_from_options(night.snapshot, None, None, None) == Window(date(2026, 1, 1), AS_OF)


def test_a_damaged_day_is_an_error(tmp_path, night):
    """A day of the cube that is not as published is not summed."""
    copy = World(tmp_path)
    shutil.copytree(night.settings.home, copy.settings.home)
    damaged = Night(copy, copy.settings, night.report)
    (damaged.snapshot.path / "creator_reach" / "2026-01-20.parquet").write_bytes(b"PAR1")
    damaged.top("2026-01-21", "2026-01-22")
    with pytest.raises(Damaged, match=r"2026-01-20\.parquet is damaged"):
        damaged.top("2026-01-20", "2026-01-22")


# --- the warehouse -------------------------------------------------------------------------------------------------


def test_the_warehouse_holds_the_published_files(night, warehouse):
    """Row for row and type for type; nothing private is in it."""
    tables = {row[0] for row in warehouse.execute("select table_name from duckdb_tables()").fetchall()}
    assert tables == {*publish.PUBLIC_TABLES, "creator_reach", "snapshot_facts"}
    for table in tables - {"snapshot_facts"}:
        path = night.snapshot.path / ("creator_reach/*.parquet" if table == "creator_reach" else f"{table}.parquet")
        files = f"read_parquet('{path}', hive_partitioning = false)"
        for one, other in ((table, files), (files, table)):
            assert warehouse.execute(f"select count(*) from (from {one} except all from {other})").fetchone() == (0,)
        assert _described(warehouse, table) == _described(warehouse, files)


def _described(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    return [row[:2] for row in connection.execute(f"describe from {table}").fetchall()]


def test_the_warehouse_explains_itself(warehouse):
    """Tables say what they are and their grain; columns carry the comments of the models."""
    comments = dict(warehouse.execute("select table_name, comment from duckdb_tables()").fetchall())
    for table in (*publish.PUBLIC_TABLES, "creator_reach"):
        model = models.model(table)
        assert comments[table] == f"{model.purpose} Grain: {model.grain}."
        columns = warehouse.execute("select column_name, comment from duckdb_columns() where table_name = $1", [table])
        assert dict(columns.fetchall()) == model.columns
    assert comments["snapshot_facts"]


def test_the_warehouse_says_which_snapshot_it_is(night, warehouse):
    """One row of facts: the digest of its rows, and the days that can be asked for."""
    (facts,) = warehouse.sql("from snapshot_facts").to_arrow_table().to_pylist()
    assert facts == {
        "tables_sha256": _digest_of_public_rows(night.snapshot),
        "as_of": AS_OF,
        "first_day": FIRST,
        "end_day": END,
        "max_window_days": 30,
        "day_timezone": "UTC",
    }


def _digest_of_public_rows(snapshot: manifest.Snapshot) -> str:
    """What a reader works out of the manifest alone."""
    rows = {name: facts["rows_sha256"] for name, facts in snapshot.files.items() if facts["rows_sha256"]}
    return combined_digest(f"{name} {rows[name]}" for name in sorted(rows) if not name.startswith("private/"))


def test_the_warehouse_can_only_be_read_when_opened_so(night):
    """What is published stays as it is, also for an analyst who means to change it."""
    with (
        duckdb.connect(str(night.snapshot.path / "warehouse.duckdb"), read_only=True) as connection,
        pytest.raises(duckdb.Error, match="read-only"),
    ):
        connection.execute("delete from creators")
    assert night.snapshot.damage() == []


def test_the_warehouse_is_in_a_storage_version_that_others_can_open(night):
    """Bytes 12 to 19 of a DuckDB file are its storage version: 65 is that of DuckDB 1.2."""
    with Path(night.snapshot.path / "warehouse.duckdb").open("rb") as file:
        head = file.read(20)
    assert head[8:12] == b"DUCK"
    assert int.from_bytes(head[12:20], "little") <= 65
