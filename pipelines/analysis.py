"""Ask a published snapshot anything, in SQL: its warehouse.duckdb, opened to be read.

A home on object storage is asked where it lies if this DuckDB has its httpfs extension; else, or if the copy here has
the file already, that copy is asked, checked against the manifest as everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines import bucket, logs, store
from pipelines.engines import duckdb as engine
from pipelines.errors import UsageError, refusal_of_the_system
from pipelines.settings import Settings
from pipelines.snapshots import Snapshot
from pipelines.warehouse import WAREHOUSE

_ROWS_AT_A_TIME = 1_000


@dataclass(frozen=True)
class Rows:
    """The answer to a query, as it comes."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def opened(settings: Settings, snapshot: Snapshot) -> Iterator[engine.Connection]:
    """A connection whose default database is the snapshot's warehouse, which it cannot change.

    Raises Damaged, NoSnapshot, Unreachable.
    """
    with snapshot.being_read(), closing(engine.connect(settings.memory_limit, settings.threads)) as connection:
        path = snapshot.path / WAREHOUSE
        if path.exists() or not _attached_in_place(connection, settings, snapshot):
            store.verify(path, snapshot.files[WAREHOUSE]["sha256"])
            engine.attach(connection, path, "warehouse")
        connection.execute("use warehouse")
        yield connection


def _attached_in_place(connection: engine.Connection, settings: Settings, snapshot: Snapshot) -> bool:
    from pipelines.bucket import in_place

    if settings.home_url is None or not in_place.is_possible(connection):
        return False
    access = bucket.access(settings)
    try:
        in_place.attach(connection, access, f"{access.scope}/snapshots/{snapshot.id}/{WAREHOUSE}", "warehouse")
    except engine.Error as error:
        reason = access.without_secrets(str(error).split("\n")[0])
        logs.night.warning("DuckDB's httpfs cannot read %s in its bucket (%s): it is fetched.", WAREHOUSE, reason)
        return False
    return True


def ask(connection: engine.Connection, settings: Settings, query: str) -> Rows:
    """The answer to a query, or to the last of several. Raises UsageError in DuckDB's words for one that has none."""
    with _told(settings):
        connection.execute(query)
    if connection.description is None:  # nothing but comments, or not even those
        raise UsageError("Ask something: a query in DuckDB's SQL, such as \"from ranking('2026-01-31', 7) limit 10\".")
    return Rows([name for name, *_ in connection.description], _rows(connection, settings))


def _rows(connection: engine.Connection, settings: Settings) -> Iterator[tuple[Any, ...]]:
    while True:
        with _told(settings):
            rows = connection.fetchmany(_ROWS_AT_A_TIME)
        if not rows:
            return
        yield from (tuple(map(_plain, row)) for row in rows)


def _plain(value: Any) -> Any:
    """A list or a struct as its JSON; what a cell can hold as it is."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | tuple | dict) else value


_NO_SUCH_FILES = "No files found that match the pattern"  # those that a query names: nothing is wrong with the system


@contextmanager
def _told(settings: Settings) -> Iterator[None]:
    try:
        yield
    except engine.Error as error:
        if refusal_of_the_system(error, settings.home) and _NO_SUCH_FILES not in str(error):
            raise
        # What follows its first paragraph draws the place, or tells what to type at a prompt.
        said = " ".join(str(error).split("\n\n")[0].split())
        raise UsageError(f"DuckDB cannot answer that. {said}") from error
