"""Run SQL over a published snapshot: its warehouse.duckdb, opened read-only.

The caller may pass a function that attaches the file where it lies, in a bucket (remote/httpfs.py). Otherwise, or if
the local copy has it already, that copy is opened, checked against the manifest as everywhere. One that `prune` removed
is made again for as long as it is asked.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipelines.core import durable_files
from pipelines.core.errors import UsageError, os_error_message
from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.snapshots import kept_warehouses
from pipelines.snapshots.manifest import Snapshot
from pipelines.snapshots.warehouse import WAREHOUSE

Done = TypeVar("Done")

_ROWS_AT_A_TIME = 1_000


@dataclass(frozen=True)
class Rows:
    """The answer to a query, as it comes."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


# Attaches a file of the home, by its path in it, as a database of that name, where it lies; False where that cannot be.
Attach = Callable[[engine.Connection, str, str], bool]


@contextmanager
def open_warehouse(
    settings: Settings,
    snapshot: Snapshot,
    attach_in_place: Attach | None = None,
    allowed_folders: Sequence[Path] = (),
) -> Iterator[engine.Connection]:
    """A connection whose default database is the snapshot's warehouse, which it cannot change.

    Whatever it is asked, it reaches nothing else on this machine or the network, but for files in `allowed_folders`.
    Raises Damaged, NoSnapshot, Unreachable.
    """
    with snapshot.being_read(), ExitStack() as stack:
        is_removed = WAREHOUSE in snapshot.removed
        path = snapshot.path / WAREHOUSE
        if is_removed:
            path = stack.enter_context(kept_warehouses.made_for_now(settings, snapshot))
        connection = stack.enter_context(engine.session(settings, "query"))
        name = f"snapshots/{snapshot.id}/{WAREHOUSE}"
        if path.exists() or attach_in_place is None or not attach_in_place(connection, name, "warehouse"):
            if not is_removed:
                # safeguard: damaged-warehouse-not-asked
                durable_files.verify(path, snapshot.files[WAREHOUSE]["sha256"])
            engine.attach(connection, path, "warehouse")
        connection.execute("use warehouse")
        engine.lock(connection, allowed_folders)
        yield connection


def run_query(connection: engine.Connection, settings: Settings, query: str) -> Rows:
    """The answer to a query, or to the last of several; days, instants, intervals and bytes as DuckDB writes them.

    Raises UsageError in DuckDB's words for a query that has no answer.
    """
    try:
        query.encode()
    except UnicodeEncodeError:
        raise UsageError("That is no query: it is not UTF-8.") from None
    with _translate_errors(settings):
        statements = connection.extract_statements(query)
        if not statements:
            raise UsageError(
                "Ask something: a query in DuckDB's SQL, such as \"from ranking('2026-01-31', 7) limit 10\"."
            )
        columns = _interruptible(connection, lambda: _execute(connection, statements))
    return Rows(columns, _rows(connection, settings))


def _interruptible(connection: engine.Connection, work: Callable[[], Done]) -> Done:
    """Run work of DuckDB's in a thread, since DuckDB often ignores ^C while all its threads work."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        try:
            return done.result()
        except KeyboardInterrupt:
            while not done.done():  # what has not quite begun is not interrupted by one
                connection.interrupt()
                time.sleep(0.05)
            raise


def _execute(connection: engine.Connection, statements: Sequence[Any]) -> list[str]:
    """Begin with the last statement, after all others; returns the columns of its answer."""
    *before, statement = statements
    for each in before:
        connection.execute(each)
    text = _as_source(connection, statement.query)
    if text is None:  # nothing but a query stands in brackets
        connection.execute(statement)
        return [name for name, *_ in connection.description or ()]
    columns = [name for name, *_ in connection.execute(f"describe {text}").fetchall()]
    kinds = [kind for _, kind, *_ in connection.execute(f"select * from ({text}\n) limit 0").description]
    written = [_written_as(kind) for kind in kinds]
    if written == list(map(str, kinds)):
        connection.execute(statement)
    else:
        cells = ", ".join(f"cast(#{number} as {kind})" for number, kind in enumerate(written, 1))
        connection.execute(f"select {cells} from ({text}\n)")
    return columns


def _as_source(connection: engine.Connection, text: str) -> str | None:
    """The text of a query as it can stand in brackets: without its semicolon, and what is remarked after that."""
    while text:
        with suppress(engine.Error):
            connection.extract_statements(f"select * from ({text}\n)")
            return text
        text = text.rpartition(";")[0]
    return None


# Python has no such values, or not all of them: no month, no nanosecond, no day without end or after the year 9999.
_TEXT = ("date", "time", "interval", "blob")


def _written_as(kind: Any) -> str:
    """The type that a column is cast to so that Python has its values: text for all that is of those in it."""
    if kind.id.startswith(_TEXT):
        return "VARCHAR"
    if kind.id not in _NESTED:
        return str(kind)
    inner = [(name, part) for name, part in kind.children if name != "size"]
    parts = [_written_as(part) for _, part in inner]
    if parts == [str(part) for _, part in inner]:
        return str(kind)
    if kind.id in ("list", "array"):
        return f"{parts[0]}[]"
    if kind.id == "map":
        return f"MAP({', '.join(parts)})"
    if kind.id == "struct":
        names = ['"' + name.replace('"', '""') + '"' for name, _ in inner]
        return f"STRUCT({', '.join(map(' '.join, zip(names, parts, strict=True)))})"
    return "VARCHAR"


_NESTED = ("list", "array", "struct", "map", "tuple", "union")


def _rows(connection: engine.Connection, settings: Settings) -> Iterator[tuple[Any, ...]]:
    while connection.description:
        with _translate_errors(settings):
            rows = _interruptible(connection, lambda: connection.fetchmany(_ROWS_AT_A_TIME))
        if not rows:
            return
        yield from (tuple(map(_plain, row)) for row in rows)


def _plain(value: Any) -> Any:
    """A list or a struct as its JSON; what a cell can hold as it is."""
    if not isinstance(value, list | tuple | dict):
        return value
    return json.dumps(_finite(value), ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    """The same with NaN and infinity, which JSON has none of, as texts."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


_NO_SUCH_FILES = "No files found that match the pattern"  # those that a query names: nothing is wrong with the system

_NO_FILES = "file system operations are disabled"


@contextmanager
def _translate_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except engine.Error as error:
        if os_error_message(error, settings.home) and _NO_SUCH_FILES not in str(error):
            raise
        # What follows its first paragraph draws the place, or tells what to type at a prompt.
        said = " ".join(str(error).split("\n\n")[0].split())
        if _NO_FILES in said:
            said += ". A query reaches no files but those of folders that --allow-files names."
        raise UsageError(f"DuckDB cannot answer that. {said}") from error
