"""DuckDB, the embedded engine: in memory, spilling into a folder of the lake, never on the network."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.durable_files import ROW_GROUP_ROWS, remove_leftover
from pipelines.core.row_digest import RowDigest
from pipelines.core.scratch import scratch_folder
from pipelines.core.settings import Settings
from pipelines.core.termination import register_interruptible
from pipelines.lake.engines import EphemeralModel, Item, Relation, Result
from pipelines.lake.engines.writing import write_split
from pipelines.lake.models import Model

_THREADS = 2

Connection: TypeAlias = duckdb.DuckDBPyConnection
Error = duckdb.Error


def connect(memory_limit: str, threads: int, spill: Path | None) -> Connection:
    """An in-memory database that keeps UTC, stays inside `memory_limit` and fetches nothing.

    What does not fit into that goes into the folder `spill`; without one it is an error.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "temp_directory": "" if spill is None else str(spill),  # by default it would be made where we were started
    }
    if threads:
        settings["threads"] = str(threads)
    connection = duckdb.connect(":memory:", config=settings)
    register_interruptible(connection)
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")  # it would be drawn on stdout, which is ours
    return connection


@contextmanager
def session(settings: Settings, purpose: str) -> Iterator[Connection]:
    """A connection that spills into a folder of its own in the home, or nowhere if nobody or not this user may write
    there.
    """
    with ExitStack() as stack:
        spill = None
        try:
            spill = stack.enter_context(scratch_folder(settings.home, purpose))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
        yield stack.enter_context(closing(connect(settings.memory_limit, settings.threads, spill)))


@contextmanager
def run_session(settings: Settings, purpose: str) -> Iterator[Connection]:
    """A connection to a database of its own in the instance that the engine of this home's run has started; without
    one, or where it cannot be used any more, a `session`.

    To start an instance takes longer than what a small night asks of it. Never `lock` one: that holds for all of it.
    """
    with ExitStack() as stack:
        connection = None
        with suppress(Error):  # one that met an internal error takes nothing more; reports are written all the same
            if settings.home in _engines:
                connection = stack.enter_context(_engines[settings.home].session(purpose))
        yield stack.enter_context(session(settings, purpose)) if connection is None else connection


def lock(connection: Connection, folders: Sequence[Path] = ()) -> None:
    """From now on the connection reads what is attached, and files in `folders`; nobody can change that.

    For every connection that is given text of other people's: it can read, write, attach or fetch nothing else.
    """
    names = ", ".join(literal(str(folder.absolute())) for folder in folders)
    connection.execute(f"set allowed_directories = [{names}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


@contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """Open a database file read-only."""
    connection = duckdb.connect(str(path), read_only=True)
    register_interruptible(connection)
    try:
        yield connection
    finally:
        connection.close()


def attach(connection: Connection, path: Path, name: str) -> None:
    """Attach a database file, to be read."""
    connection.execute(f"attach {literal(str(path))} as {name} (read_only)")  # safeguard: question-changes-nothing


def literal(text: str) -> str:
    """Quote a text as an SQL literal, for statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


_engines: dict[Path, DuckDBEngine] = {}  # of the run in a home: there is one at a time, under its lock


class DuckDBEngine:
    """The default engine."""

    def __init__(self, memory_limit: str, threads: int, spill: Path, home: Path | None = None) -> None:
        """`memory_limit` as DuckDB writes it (2GB); `threads` 0 for one per core; `spill` is removed on `close`.

        `home` is that of the run whose `run_session`s share the instance.
        """
        self._spill = spill
        self._home = home
        self._sessions = itertools.count(1)
        self._connection = connect(memory_limit, threads, spill)
        self._connection.execute("set arrow_lossless_conversion = true")  # a UUID stays 16 bytes
        self._held: EphemeralModel | None = None
        if home is not None:
            _engines[home] = self

    @contextmanager
    def session(self, purpose: str) -> Iterator[Connection]:
        """A connection to an empty database of its own in this instance, gone at the end."""
        self._hold(None)  # its rows would take of the memory that the session may use
        name = f"{purpose}_{next(self._sessions)}"
        self._connection.execute(f"attach ':memory:' as {name}")
        with ExitStack() as stack:
            stack.callback(self._connection.execute, f"detach {name}")
            self._connection.execute("set arrow_lossless_conversion = false")  # of the instance, not of a connection
            stack.callback(self._connection.execute, "set arrow_lossless_conversion = true")
            connection = stack.enter_context(closing(self._connection.cursor()))
            register_interruptible(connection)
            connection.execute("set enable_progress_bar = false")
            connection.execute(f"use {name}")
            yield connection

    def write(
        self,
        model: Model,
        sources: Mapping[str, Relation],
        params: Mapping[str, object],
        targets: Mapping[date | None, Path],
    ) -> dict[date | None, RowDigest]:
        """See `pipelines.lake.engines.Engine.write`."""
        connection = self._connection
        self._hold(next((relation for relation in sources.values() if isinstance(relation, EphemeralModel)), None))
        files = {name: relation for name, relation in sources.items() if not isinstance(relation, EphemeralModel)}
        with registered(connection, _tables(files)):
            keys, condition = model.keys, ""
            if len(keys) > 1 and len(targets) == 1 and (day := next(iter(targets))) is not None:
                # Sorting takes more than twice as long once its keys are longer than 24 bytes, as with a day too many.
                keys, condition = keys[1:], f"where {keys[0]} = date '{day}'"
            order = ", ".join(f"{key} nulls first" for key in keys)

            def rows_of(part: Slice) -> pa.RecordBatchReader:
                query = (
                    f"{_with(files, part.condition)}select * from ({model.statement}\n) {condition} order by {order}"
                )
                rows = connection.sql(query, params={**params, **part.bounds})
                return _plain(rows.to_arrow_reader(ROW_GROUP_ROWS))

            first, *others = _slices(model, sources)
            rows = rows_of(first)
            batches = itertools.chain(rows, itertools.chain.from_iterable(map(rows_of, others)))
            return write_split(batches, rows.schema, targets)

    def _hold(self, wanted: EphemeralModel | None) -> None:
        """Hold the rows of the one ephemeral model that is being read, and of no other."""
        if self._held is wanted:
            return
        if self._held is not None:
            self._connection.execute(f'drop table "{self._held.model.name}"')
            self._held = None
        if wanted is not None:
            with registered(self._connection, _tables(wanted.sources)):
                columns = ", ".join(wanted.columns)
                self._connection.execute(
                    f'create temp table "{wanted.model.name}" as {_with(wanted.sources)}select {columns} '
                    f"from ({wanted.model.statement}\n)",
                    dict(wanted.params),
                )
            self._held = wanted

    def map_tasks(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """See `pipelines.lake.engines.Engine.map_tasks`: in threads of this process, one a core of a small machine."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(function, items))

    def close(self) -> None:
        """See `pipelines.lake.engines.Engine.close`."""
        if self._home is not None:
            _engines.pop(self._home, None)
        self._connection.close()
        remove_leftover(self._spill)


@contextmanager
def registered(connection: Connection, sources: Mapping[str, Relation]) -> Iterator[None]:
    """Make sources visible to SQL under their names for a while."""
    for name, relation in sources.items():
        register(connection, name, relation)
    yield
    # Not after an error: the connection may still be at work on what failed, and would complain of that instead. Views
    # are made anew, by whoever reads them.
    for name in sources:
        connection.execute(f'drop view if exists "{name}"')


def register(
    connection: Connection, name: str, relation: Relation, *, with_filename: bool = False, with_place: bool = False
) -> None:
    """Make a source visible to SQL under its name; files also with the column `filename`, where that is asked for, or
    with their rows' place: `filename` and `file_row_number`.
    """
    if isinstance(relation, pa.Table):
        connection.from_arrow(relation).create_view(name, replace=True)
    else:
        assert not isinstance(relation, EphemeralModel)
        options = f"filename = {with_filename or with_place}, file_row_number = {with_place}"
        # One statement: a relation would be bound by itself first, which opens the files once more.
        connection.execute(f'create or replace view "{name}" as select * from {_read_parquet(relation, options)}')


def _read_parquet(files: Sequence[Path], options: str = "filename = false") -> str:
    """The call of DuckDB's function that reads some files, the largest first."""
    # DuckDB takes every file to have as many rows as the first one, and builds its hash tables by that: with a
    # small file first it would build them on the history instead of on the new day.
    paths = sorted(files, key=lambda path: (-path.stat().st_size, path))
    return f"read_parquet([{', '.join(literal(str(path)) for path in paths)}], hive_partitioning = false, {options})"


SLICE_ROWS = 1 << 20  # some 100 MB while they are sorted


class Slice(NamedTuple):
    """Some rows of every source of a model: a condition, and the values that are bound in it."""

    condition: str
    bounds: Mapping[str, str]


def _slices(model: Model, sources: Mapping[str, Relation]) -> list[Slice]:
    """What the rows of a model are made of in turn, so that in order they are all: of most models all at once.

    However many rows there are, a slice of them is held at once. The bounds are the least keys of some row groups of
    the largest source. Since that is sorted by them, a slice reads its own row groups; of one that is not, it would
    read more, and come to the same rows.
    """
    files = [path for each in sources.values() if isinstance(each, Sequence) for path in each]
    is_sliced = model.is_sliced and all(isinstance(each, Sequence) for each in sources.values())
    bounds = _bounds(max(files, key=lambda path: path.stat().st_size), model.keys[0]) if is_sliced else []
    if not bounds:
        return [Slice("", {})]
    key = model.keys[0]
    first = Slice(f" where {key} < $slice_end or {key} is null", {"slice_end": bounds[0]})
    between = f" where {key} >= $slice_begin and {key} < $slice_end"
    others = [Slice(between, {"slice_begin": low, "slice_end": high}) for low, high in itertools.pairwise(bounds)]
    return [first, *others, Slice(f" where {key} >= $slice_begin", {"slice_begin": bounds[-1]})]


def _bounds(path: Path, column: str) -> list[str]:
    """Ascending values of a text column of a Parquet file, with some SLICE_ROWS rows between each two."""
    with pq.ParquetFile(path) as file:
        place = file.schema_arrow.get_field_index(column)
        found: list[str] = []
        rows = 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            least = group.column(place).statistics
            if rows >= SLICE_ROWS and least is not None and least.has_min_max and least.min > (found or [""])[-1]:
                found.append(least.min)
                rows = 0
            rows += group.num_rows
    return found


def _with(sources: Mapping[str, Relation], condition: str = "") -> str:
    """The clause that makes files visible to a query under their names. A view would open them all once more.

    `condition` says which rows of each."""
    named = [
        f'"{name}" as not materialized (from {_read_parquet(relation)}{condition})'
        for name, relation in sources.items()
        if not isinstance(relation, pa.Table | EphemeralModel)
    ]
    return f"with {', '.join(named)} " if named else ""


def _tables(sources: Mapping[str, Relation]) -> dict[str, Relation]:
    return {name: relation for name, relation in sources.items() if isinstance(relation, pa.Table)}


def _plain(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same rows with truth values as Arrow's own: without loss, DuckDB hands out bytes."""
    as_bytes = {name for name in reader.schema.names if isinstance(reader.schema.field(name).type, pa.Bool8Type)}
    if not as_bytes:
        return reader
    schema = pa.schema([field.with_type(pa.bool_()) if field.name in as_bytes else field for field in reader.schema])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = [
                column.storage.cast(pa.bool_()) if name in as_bytes else column
                for name, column in zip(schema.names, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def query(connection: Connection, statement: str, params: Mapping[str, object] | Sequence[object] = ()) -> pa.Table:
    """The rows of a statement."""
    return connection.sql(statement, params=params or None).to_arrow_table()


def batches(connection: Connection, statement: str, params: Mapping[str, object] | None = None) -> pa.RecordBatchReader:
    """The rows of a statement, not all at once. Read them to their end before the connection is asked again."""
    return connection.sql(statement, params=params or None).to_arrow_reader(ROW_GROUP_ROWS)
