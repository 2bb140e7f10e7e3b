"""warehouse.duckdb: the published tables and the cube, as analysts open them."""

from __future__ import annotations

import itertools
from datetime import date

import duckdb
import pytest
from everything import EVERYTHING
from world import Night, World


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Night:
    world = World(tmp_path_factory.mktemp("warehouse"))
    for entity, table in EVERYTHING.items():
        world.land(entity, table)
    return world.run()


def test_it_holds_the_published_rows(night):
    """Every public table is in it, row for row; no private one is."""
    tables = {name for (name,) in night.warehouse("select table_name from duckdb_tables()")}
    public = {"creator_rankings", "creators", "live_stream_funding", "live_streams", "lls_streams"}
    assert public | {"creator_reach"} <= tables
    assert not tables & {"follows", "funded_streams", "replay_rentals"}
    for table in public:
        published = [tuple(row.values()) for row in night.rows(f"{table}.parquet")]
        assert sorted(night.warehouse(f"from {table}"), key=repr) == sorted(published, key=repr)


def test_every_table_and_column_is_explained(night):
    """No table and no column is without a comment."""
    bare = "select table_name from duckdb_tables() where comment is null"
    bare += " union all select table_name || '.' || column_name from duckdb_columns()"
    bare += " where comment is null and not internal"
    assert night.warehouse(bare) == []


def test_reach_answers_for_any_range_of_days(night):
    """`reach(from_date, to_date)` is the distinct count over exactly those days."""
    judge = night.world.oracle(night.snapshot.as_of)
    bounds = [date(2026, 1, number) for number in (1, 5, 6, 8, 9, 10, 31)]
    for first, end in itertools.combinations(bounds, 2):
        answer = night.warehouse(f"from reach('{first}', '{end}') where creator_id <> 'mal'")
        assert answer == [
            (row.creator_id, row.viewers, row.anonymous_viewers, row.sessions, row.watched_seconds)
            for row in judge.ranking(first, end)
        ]


def test_reach_holds_banned_creators_and_ranking_does_not(night):
    """`reach` says what happened; `ranking` follows the rules of the published table."""
    assert ("mal", 1) in night.warehouse("select creator_id, viewers from reach('2026-01-01', '2026-01-31')")
    published = [tuple(vars(row).values())[:-1] for row in night.ranking()]
    assert night.warehouse("from ranking('2026-01-31', 30)") == published


@pytest.mark.parametrize(
    "range_of_days",
    [
        "'2025-12-30', '2026-01-10'",
        "'2026-01-10', '2026-02-01'",
        "'2025-12-31', '2026-01-31'",
        "'2026-01-10', '2026-01-10'",
    ],
)
def test_a_range_outside_is_an_error(night, range_of_days):
    """A question outside the snapshot is an error here too."""
    with pytest.raises(duckdb.Error):
        night.warehouse(f"from reach({range_of_days})")
