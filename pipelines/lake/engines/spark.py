"""Spark, for what outgrows one machine: the same models, and the same rows in the same files.

The lake must lie where the driver and every executor see it under the same path (a shared file system). Statements
over little are collected as Arrow and written by the driver. All others are written by the executors: first as parts
in the order of the keys, committed by Spark's own protocol, so that a task that is tried again leaves nothing twice;
then each target is put together from its parts by one task, row group by row group, in the one format and with the
one digest of the lake. Only digests come back. Nothing is collected that grows with the platform.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core import settings as environment
from pipelines.core.durable_files import ROW_GROUP_ROWS, fsync, temporary_beside
from pipelines.core.errors import MostwatchedError
from pipelines.core.settings import Settings
from pipelines.lake.engines import Digest, EphemeralModel, Item, Relation, Result
from pipelines.lake.engines.spark_context import GONE, Spark, connect, error_message
from pipelines.lake.engines.spark_sql import bind, empty_select, translate, type_of
from pipelines.lake.engines.spark_tasks import SameProgram, program
from pipelines.lake.engines.writing import write_split
from pipelines.lake.models import Model

# Files that a statement reads. No model makes more rows than it reads by more than the days that a session can last,
# so that what comes of so little fits into the driver many times over.
COLLECTED_BYTES = 16 << 20
COLLECTED_OPTION = "spark.mostwatched.collectedBytes"  # the one option among Spark's that is ours
_MOST_TASKS = 10_000  # of a stage: the driver keeps count of each
# For little, what is spread costs more than it saves: one task does it all, without code that must be compiled first.
_FOR_LITTLE = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    # What is handed over stays Arrow's until it is read: else Spark unpacks it into objects, ten times as large.
    "spark.sql.execution.arrow.localRelationThreshold": "0",
}
_FOR_MUCH = {  # Spark's own defaults, unless the options say otherwise
    "spark.sql.shuffle.partitions": "200",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.autoBroadcastJoinThreshold": "10MB",
    "spark.sql.execution.arrow.localRelationThreshold": "48MB",
}


@dataclass(frozen=True)
class WrittenDigest:
    """The digest of a file's rows, as it comes back from an executor."""

    rows: int
    digest: str

    def hexdigest(self) -> str:
        """As of a RowDigest."""
        return self.digest


def start(settings: Settings, folder: Path) -> SparkEngine:
    """The engine on the master that the settings name, with a folder of the lake for what is on its way."""
    master = settings.spark_master or ("" if environment.is_submitted() else "local[*]")
    if master == "local[*]" and settings.threads:
        master = f"local[{settings.threads}]"
    spark = connect(master, dict(settings.spark_options), settings.memory_limit, folder)
    return SparkEngine(spark, folder / "parts")


class SparkEngine:
    """The distributed engine. Its methods may be called from several threads at once."""

    def __init__(self, spark: Spark, parts: Path) -> None:
        """`parts` is a folder of the shared file system for what executors write on the way; removed on `close`."""
        self._spark = spark
        self._context = spark.context
        self._parts = parts
        self._threads = threading.local()

    def write(
        self,
        model: Model,
        sources: Mapping[str, Relation],
        params: Mapping[str, object],
        targets: Mapping[date | None, Path],
    ) -> Mapping[date | None, Digest]:
        """See `pipelines.lake.engines.Engine.write`."""
        with self._translate_errors(f"Spark could not build {model.name}"):
            session = self._session()
            self._context.setJobDescription(model.name)  # in Spark's own pages and logs
            size = _bytes_of(sources)
            is_little = size <= int(self._context.getConf().get(COLLECTED_OPTION, str(COLLECTED_BYTES)))
            for option, value in (_FOR_LITTLE if is_little else self._for_much).items():
                session.conf.set(option, value)
            for name, relation in sources.items():
                self._register(session, name, relation, in_one=is_little)
            rows = session.sql(translate(model.statement, params), args=bind(params))
            keys = rows.columns if model.keys == ("all",) else model.keys
            order = [rows[key].asc_nulls_first() for key in keys]
            if is_little:
                written = self._collect(rows.coalesce(1).sortWithinPartitions(*order), targets)
            else:
                written = self._write_parts(rows.orderBy(*order), targets)
            for name in _names(sources):  # what was handed over would stay in the driver with its name
                session.catalog.dropTempView(name)
            return written

    def map_tasks(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """See `pipelines.lake.engines.Engine.map_tasks`: a task an item, tried again where its executor is lost."""
        if not items:
            return []
        with self._translate_errors("A task of Spark's failed"):
            checked = SameProgram(function, program())
            return list(self._context.parallelize(items, min(len(items), _MOST_TASKS)).map(checked).collect())

    def close(self) -> None:
        """See `pipelines.lake.engines.Engine.close`."""
        self._spark.stop()
        shutil.rmtree(self._parts, ignore_errors=True)

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        """An error of Spark's as one of ours that begins with `what`."""
        try:
            yield
        except MostwatchedError:
            raise
        except Exception as error:
            if self._spark.is_gone():
                raise MostwatchedError(f"{what}: {GONE}") from error
            if not _is_sparks(error):
                raise
            raise MostwatchedError(f"{what}: {error_message(error)}") from error

    @cached_property
    def _for_much(self) -> dict[str, str]:
        asked = self._context.getConf()
        return {option: asked.get(option, default) for option, default in _FOR_MUCH.items()}

    def _session(self) -> Any:
        """A session for each thread: the names of sources are its own."""
        if not hasattr(self._threads, "session"):
            from pyspark.sql import SparkSession

            self._threads.session = SparkSession(self._context).newSession()
        return self._threads.session

    def _register(self, session: Any, name: str, relation: Relation, *, in_one: bool) -> None:
        """Make a source known by its name; `in_one` partition, if all that the statement does is to be one task."""
        if isinstance(relation, EphemeralModel):
            # Its sources have their names in this view alone; Spark reads of it what its reader uses, and keeps none.
            for source, its_relation in relation.sources.items():
                self._register(session, source, its_relation, in_one=in_one)
            text = translate(relation.model.statement, relation.params)
            rows = session.sql(text, args=bind(relation.params))
        elif in_one or isinstance(relation, pa.Table):
            rows = self._handed_over(session, relation if isinstance(relation, pa.Table) else _read(relation))
        else:
            # The schema is given: Spark knows no UUIDs, but reads them as the 16 bytes that they are.
            schema = ", ".join(f"`{field.name}` {type_of(field.type)}" for field in pq.read_schema(relation[0]))
            rows = session.read.schema(schema).parquet(*(_literally(path) for path in relation))
        rows.createOrReplaceTempView(name)

    def _handed_over(self, session: Any, table: pa.Table) -> Any:
        """Rows of the driver's."""
        if not table.num_rows:
            return session.sql(empty_select(table.schema))
        return session.createDataFrame(table).coalesce(1)

    def _collect(self, rows: Any, targets: Mapping[date | None, Path]) -> Mapping[date | None, Digest]:
        table = rows.toArrow()
        schema = _lakes(table.schema)
        return write_split((_as(batch, schema) for batch in table.to_batches(ROW_GROUP_ROWS)), schema, targets)

    def _write_parts(self, rows: Any, targets: Mapping[date | None, Path]) -> Mapping[date | None, Digest]:
        folder = temporary_beside(self._parts / "parts")
        try:
            rows.write.option("compression", "zstd").parquet(f"file:{folder}")
            parts = sorted(folder.glob("part-*.parquet"))  # numbered in the order of the rows
            schema = _lakes(pq.read_schema(parts[0]))
            tasks = [_Target(day, path, tuple(parts), schema.serialize().to_pybytes()) for day, path in targets.items()]
            return dict(zip(targets, self.map_tasks(_put_together, tasks), strict=True))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Target:
    """A file to be put together: what a task is told."""

    day: date | None
    path: Path
    parts: tuple[Path, ...]
    schema: bytes  # Arrow's, of the file


def _put_together(target: _Target) -> WrittenDigest:
    """Write one target from the parts, which hold the rows of all targets in order; a row group at a time."""
    schema = pa.ipc.read_schema(pa.py_buffer(target.schema))
    own = temporary_beside(target.path)  # of this attempt: another one may still be at work
    try:
        digest = write_split(_rows_of(target, schema), schema, {target.day: own})[target.day]
        fsync(own)
        own.rename(target.path)
    finally:
        own.unlink(missing_ok=True)
    return WrittenDigest(digest.rows, digest.hexdigest())


def _rows_of(target: _Target, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in target.parts:
        with pq.ParquetFile(part) as file:
            groups = [
                number
                for number in range(file.num_row_groups)
                if _may_hold(file.metadata.row_group(number), target.day)
            ]
            for batch in file.iter_batches(ROW_GROUP_ROWS, row_groups=groups):
                rows = batch if target.day is None else batch.filter(pc.equal(batch.column(0), target.day))
                if rows.num_rows:
                    yield _as(rows, schema)


def _may_hold(group: Any, day: date | None) -> bool:
    """Whether a row group can hold rows of a day, by what it says of its first column."""
    said = group.column(0).statistics
    return day is None or said is None or not said.has_min_max or said.min <= day <= said.max


# --- types ---------------------------------------------------------------------------------------------------------


def _lakes(schema: pa.Schema) -> pa.Schema:
    """The schema that the same rows have in the lake: 16 bytes are a UUID, instants are UTC, and any value may miss."""
    return pa.schema([pa.field(field.name, _lakes_type(field.type)) for field in schema])


def _lakes_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.uuid()
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.ExtensionArray.from_storage(field.type, column.cast(field.type.storage_type))
        if isinstance(field.type, pa.UuidType)
        else column.cast(field.type)
        for field, column in zip(schema, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


# --- small things --------------------------------------------------------------------------------------------------


def _bytes_of(sources: Mapping[str, Relation]) -> int:
    size = 0
    for relation in sources.values():
        if isinstance(relation, EphemeralModel):
            size += _bytes_of(relation.sources)
        elif not isinstance(relation, pa.Table):
            size += sum(path.stat().st_size for path in relation)
    return size


def _names(sources: Mapping[str, Relation]) -> Iterator[str]:
    for name, relation in sources.items():
        if isinstance(relation, EphemeralModel):
            yield from _names(relation.sources)
        yield name


def _read(paths: Sequence[Path]) -> pa.Table:
    """The rows of small files: Spark takes ten times as long to open one as to read what is in it."""
    table = pa.concat_tables(pq.read_table(path, partitioning=None) for path in paths)
    for number, field in enumerate(table.schema):
        if isinstance(field.type, pa.UuidType):
            storage = [chunk.storage.cast(pa.binary()) for chunk in table.column(number).chunks]
            table = table.set_column(number, field.name, pa.chunked_array(storage, pa.binary()))
    return table


def _literally(path: Path) -> str:
    """A path of the shared file system in which nothing is a pattern, as `[`, `{`, `*`, `?` and `\\` would be."""
    return "file:" + "".join(f"\\{letter}" if letter in "[]{}*?\\" else letter for letter in str(path))


def _is_sparks(error: Exception) -> bool:
    """Whether Spark, Java or the way to it says so; all else is a mistake of ours and must be seen whole."""
    return type(error).__module__.split(".")[0] in ("pyspark", "py4j")
