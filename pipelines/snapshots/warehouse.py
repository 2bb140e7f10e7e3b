"""warehouse.duckdb: the public tables of a snapshot in one file that analysts can open, move and query.

It holds the rows themselves, so it depends on nothing beside it. Every table and column is commented from the header
of the model that makes it; `reach(from_date, to_date)` and `ranking(as_of, days)` answer any range of days.

It is a function of the rows of the public tables, the days that they cover and our SQL, all of which its key is made
of. A snapshot whose warehouse has the same key as that of another one shares its file: see `publish`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath

from pipelines.core.calendar_days import Window
from pipelines.core.row_digest import combined_digest
from pipelines.core.settings import Policy, Settings
from pipelines.lake import models
from pipelines.lake.engines import duckdb as engine

WAREHOUSE = "warehouse.duckdb"  # its name in a snapshot
STORAGE_VERSION = "v1.2.0"  # DuckDB 1.2 and every later version can open it
# Each column of a small table takes a block, however little is in it: with DuckDB's own 256 KiB the file of a few
# hundred thousand sessions is three times as large. With 16 KiB that of a million creators is a third larger.
BLOCK_BYTES = 1 << 16

FACTS_COMMENTS = {
    "tables_sha256": "digest of the rows of all its tables: snapshots with the same public rows share this file",
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


@dataclass(frozen=True)
class Facts:
    """What a warehouse says of itself, in its table snapshot_facts."""

    as_of: date
    cube: Window
    policy: Policy
    digests: Mapping[str, str]  # of the rows of each file that its tables are made of, by its path in the snapshot

    def as_row(self) -> dict[str, object]:
        """One value for each of FACTS_COMMENTS."""
        return {
            "tables_sha256": combined_digest(f"{name} {self.digests[name]}" for name in sorted(self.digests)),
            "as_of": self.as_of,
            "first_day": self.cube.first_day,
            "end_day": self.cube.end_day,
            "max_window_days": self.policy.max_window_days,
            "day_timezone": self.policy.day_timezone,
        }

    def key(self) -> str:
        """The digest of all that decides what is in the file: its rows, its comments and its macros."""
        tables = [models.model(name) for name in sorted({table_of(path) for path in self.digests})]
        comments = [(table.name, _purpose(table), *table.columns.items()) for table in tables]
        said = [STORAGE_VERSION, FACTS_COMMENTS, MACRO_COMMENTS, _macros(), comments, self.as_row()]
        return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()


def public_digests(digests: Mapping[str, str]) -> dict[str, str]:
    """Of the digests of rows by file of a snapshot those of the files that its warehouse holds the rows of."""
    return {name: digest for name, digest in digests.items() if not name.startswith("private/")}


def table_of(path: str) -> str:
    """The table that a Parquet file of a snapshot belongs to: its name, or that of the folder of its days."""
    return PurePath(path).parts[0].removesuffix(".parquet")


def write(settings: Settings, path: Path, folder: Path, facts: Facts) -> None:
    """Write the database to `path`, which must not exist, of the public Parquet files in the `folder` of a snapshot.

    Without creator_reach among them it has no macros: there is nothing that they could add up.
    """
    tables: dict[str, list[Path]] = {}
    for name in facts.digests:
        tables.setdefault(table_of(name), []).append(folder / name)
    with engine.run_session(settings, "warehouse") as connection, _attached(connection, path):
        try:
            connection.execute("set preserve_insertion_order = false")  # files of a day each, whichever comes first
            for name, files in tables.items():
                rows = connection.from_parquet([str(file) for file in files], hive_partitioning=False)
                rows.create(name)
        finally:
            connection.execute("reset preserve_insertion_order")  # it is the instance's, not the connection's
        connection.execute("begin")  # what follows is small: one commit, not one a statement
        connection.execute(
            """
            create table snapshot_facts as
            select
                $tables_sha256 as tables_sha256, $as_of::date as as_of, $first_day::date as first_day,
                $end_day::date as end_day, $max_window_days::integer as max_window_days,
                $day_timezone as day_timezone
            """,
            facts.as_row(),
        )
        if "creator_reach" in tables:
            connection.execute(_macros())
        connection.execute("; ".join(_comments(tables)))
        connection.execute("commit")


@contextmanager
def _attached(connection: engine.Connection, path: Path) -> Iterator[None]:
    """Inside, statements are about a new database at `path`. It is whole once it is detached."""
    before = engine.query(connection, "select current_database() as name")["name"][0].as_py()
    attached = f"storage_version '{STORAGE_VERSION}', block_size {BLOCK_BYTES}"
    connection.execute(f"attach {engine.literal(str(path))} as warehouse ({attached})")
    try:
        connection.execute("use warehouse")
        yield
    except BaseException:
        with suppress(engine.Error):  # there may be no transaction
            connection.execute("rollback")
        raise
    finally:
        connection.execute(f"use {before}")
        connection.execute("detach warehouse")


def _macros() -> str:
    return (models.sql_folder() / "warehouse" / "macros.sql").read_text(encoding="utf-8")


def _purpose(model: models.Model) -> str:
    return f"{model.purpose} Grain: {model.grain}."


def _comments(tables: Collection[str]) -> Iterator[str]:
    """A statement for each comment of the database."""
    # COMMENT takes no parameters; the texts are our own, from sql/.
    for name in tables:
        model = models.model(name)
        yield f"comment on table {name} is {engine.literal(_purpose(model))}"
        for column, comment in model.columns.items():
            yield f"comment on column {name}.{column} is {engine.literal(comment)}"
    yield "comment on table snapshot_facts is 'One row: what this snapshot is and which days it holds.'"
    for column, comment in FACTS_COMMENTS.items():
        yield f"comment on column snapshot_facts.{column} is {engine.literal(comment)}"
    for macro, comment in MACRO_COMMENTS.items() if "creator_reach" in tables else ():
        yield f"comment on macro table {macro} is {engine.literal(comment)}"
