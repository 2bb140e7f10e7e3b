"""warehouse.duckdb: the public tables of a snapshot in one file that analysts can open, move and query.

It holds the rows themselves, so it depends on nothing beside it. Every table and column is commented from the header
of the model that makes it; `reach(from_date, to_date)` and `ranking(as_of, days)` answer any range of days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from pipelines.core.calendar_days import Window
from pipelines.core.settings import Policy
from pipelines.lake import models
from pipelines.lake.engines import duckdb as engine

WAREHOUSE = "warehouse.duckdb"  # its name in a snapshot
STORAGE_VERSION = "v1.2.0"  # DuckDB 1.2 and every later version can open it

FACTS_COMMENTS = {
    "snapshot_id": "name of the snapshot that this file belongs to",
    "as_of": "exclusive end of its windows",
    "first_day": "first day that creator_reach covers",
    "end_day": "the day after the last one that it covers",
    "max_window_days": "longest range that creator_reach can answer",
    "day_timezone": "zone in which days begin and end",
}

MACRO_COMMENTS = {
    "reach": "reach(from_date, to_date): what every creator reached in [from_date, to_date), exactly, banned ones too. "
    "A range that this snapshot cannot answer is an error.",
    "ranking": "ranking(as_of, days): the ranking of the days before as_of, by the rules of creator_rankings.",
}


def write(
    path: Path,
    tables: Mapping[str, Sequence[Path]],
    *,
    snapshot_id: str,
    as_of: date,
    cube: Window,
    policy: Policy,
    memory_limit: str,
    threads: int,
) -> None:
    """Write the database to `path`, which must not exist. `tables` holds the Parquet files of each public table.

    Without creator_reach among them it has no macros: there is nothing that they could add up.
    """
    connection = engine.connect(memory_limit, threads, path.parent / ".tmp-warehouse-spill")
    try:
        connection.execute(f"attach {engine.literal(str(path))} as warehouse (storage_version '{STORAGE_VERSION}')")
        connection.execute("use warehouse")
        connection.execute("set preserve_insertion_order = false")  # files of a day each, whichever comes first
        # Ids that come again are stored as a dictionary, but not before FSST was tried on each row group: a tenth of
        # the time of the whole file, and without it the file is no larger.
        connection.execute("set disabled_compression_methods = 'fsst'")
        for name, files in tables.items():
            rows = connection.from_parquet([str(file) for file in files], hive_partitioning=False)
            rows.create(name)
        connection.execute("begin")  # what follows is small: one commit, not one a statement
        for name in tables:
            _comment(connection, name, models.model(name))
        connection.execute(
            """
            create table snapshot_facts as
            select
                $snapshot_id as snapshot_id, $as_of::date as as_of, $first_day::date as first_day,
                $end_day::date as end_day, $max_window_days::integer as max_window_days,
                $day_timezone as day_timezone
            """,
            {
                "snapshot_id": snapshot_id,
                "as_of": as_of,
                "first_day": cube.first_day,
                "end_day": cube.end_day,
                "max_window_days": policy.max_window_days,
                "day_timezone": policy.day_timezone,
            },
        )
        connection.execute(
            "comment on table snapshot_facts is 'One row: what this snapshot is and which days it holds.'"
        )
        for column, comment in FACTS_COMMENTS.items():
            connection.execute(f"comment on column snapshot_facts.{column} is {engine.literal(comment)}")
        if "creator_reach" in tables:
            connection.execute((models.sql_folder() / "warehouse" / "macros.sql").read_text(encoding="utf-8"))
            for macro, comment in MACRO_COMMENTS.items():
                connection.execute(f"comment on macro table {macro} is {engine.literal(comment)}")
        connection.execute("commit")
        connection.execute("use memory")
        connection.execute("detach warehouse")
    finally:
        connection.close()


def _comment(connection: engine.Connection, table: str, model: models.Model) -> None:
    # COMMENT takes no parameters; the texts are our own, from sql/.
    purpose = f"{model.purpose} Grain: {model.grain}."
    connection.execute(f"comment on table {table} is {engine.literal(purpose)}")
    for column, comment in model.columns.items():
        connection.execute(f"comment on column {table}.{column} is {engine.literal(comment)}")
