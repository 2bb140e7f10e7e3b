"""Write one raw folder's Parquet files as its rows arrive, in memory that does not grow with the landed file.

Sessions go to one file a UTC day. A landed file usually holds one day or a month; a hostile one may hold thousands
in any order, so only so many files are open at once: a day that comes back after its file was closed is written in
parts, and the parts are put together at the end. The rows of a file stay in landed order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.durable_files import ROW_GROUP_ROWS, parquet_writer, sha256_of
from pipelines.core.row_digest import RowDigest
from pipelines.landing import Batch, RejectedLine
from pipelines.landing.schema import RAW_SCHEMAS, REJECTS_SCHEMA

MAX_OPEN_FILES = 40  # a month and a few late days; each holds a row group's encoders
MAX_BUFFERED_BYTES = 64 << 20  # of all rows that wait to be written
MAX_BUFFERED_TABLES = 10_000  # each has a cost of its own, some kilobytes, however few its rows
MAX_DAYS = 4_000  # of sessions in one landed file, 11 years; each is a file of its own, and some memory until the end
TOO_MANY_DAYS = f"the file has sessions on more than {MAX_DAYS:,} different days: land the others in another file"
ALL = "all"  # the name of the only file of an entity that is not split by day

# The instants by which an as_of tells what was known: sql/ compares no others with it.
AGES = ("updated_at", "created_at", "captured_at", "refunded_at")
# What a session may lack, counted so that a signal that is gone is noticed.
OPTIONAL_COLUMNS = ("viewer_id", "device_id", "ended_at", "stream_id")
PERSON = "person"  # neither viewer_id nor device_id

AGE_NOT_NOTED = 1 << 62  # in an index written before ages were noted


class WrittenFile(msgspec.Struct, frozen=True):
    """What the index says of one Parquet file. `digest` is of its rows, without the column `line`.

    Of a landed file in a pack: `bytes` and `sha256` are of the file that holds its rows with those of others; all else
    is of its own rows, from `first_row` on.
    """

    rows: int
    bytes: int
    sha256: str
    digest: str
    newest: int | None = AGE_NOT_NOTED  # of the AGES in it, in milliseconds since 1970; None: it holds none
    # Of sessions, how many rows lack each of OPTIONAL_COLUMNS, and the PERSON; None where that was not noted.
    missing: dict[str, int] | None = None
    first_row: int = 0


@dataclass
class _DayFile:
    name: str
    digest: RowDigest
    waiting: list[pa.Table] = field(default_factory=list)
    waiting_rows: int = 0
    waiting_bytes: int = 0
    newest: int | None = None
    missing: Counter[str] = field(default_factory=Counter)
    parts: list[Path] = field(default_factory=list)
    writer: pq.ParquetWriter | None = None


def within_days(batch: Batch, days: set[date]) -> Batch:
    """A batch of sessions, of those days alone that are among the first MAX_DAYS of its file; the others are rejected.

    `days` collects the file's days, batch by batch.
    """
    of_row = pc.cast(batch.accepted.column("started_at"), pa.date32())
    new = [day for day in pc.unique(of_row).to_pylist() if day not in days]  # in order of appearance
    room = MAX_DAYS - len(days)
    days.update(new[:room])
    if len(new) <= room:
        return batch
    is_beyond = pc.is_in(of_row, pa.array(new[room:], pa.date32()))
    beyond = [
        RejectedLine(row.pop("line"), "startedAt", TOO_MANY_DAYS, json.dumps(row, default=str, ensure_ascii=False))
        for row in batch.accepted.filter(is_beyond).to_pylist()
    ]
    rejected = sorted([*batch.rejected, *beyond], key=lambda each: each.line)
    return replace(batch, accepted=batch.accepted.filter(pc.invert(is_beyond)), rejected=rejected)


def _count_missing(missing: Counter[str], rows: pa.Table) -> None:
    """Count the rows of sessions that lack what they may lack."""
    for name in OPTIONAL_COLUMNS:
        missing[name] += rows.column(name).null_count
    viewer, device = rows.column("viewer_id"), rows.column("device_id")
    if viewer.null_count and device.null_count:
        missing[PERSON] += pc.sum(pc.and_(pc.is_null(viewer), pc.is_null(device))).as_py() or 0


class RawWriter:
    """Writes the batches of one landed file into `folder`."""

    def __init__(self, entity: str, folder: Path) -> None:
        self._entity = entity
        self._folder = folder
        self._schema = RAW_SCHEMAS[entity]
        self._ages = [name for name in AGES if name in self._schema.names]
        self._days: dict[str, _DayFile] = {}
        self._open: dict[str, _DayFile] = {}  # least recently written first
        self._waiting: dict[str, _DayFile] = {}
        self._waiting_bytes = 0
        self._waiting_tables = 0
        self._rejects: pq.ParquetWriter | None = None
        self._rejected_rows = 0
        self._rejected: list[RejectedLine] = []
        self._rejected_chars = 0

    def append(self, batch: Batch) -> None:
        """Add the next batch of the landed file."""
        if batch.accepted.num_rows:
            for name, rows in self._split(batch.accepted):
                self._add(name, rows)
            self._flush_surplus()
        for rejected in batch.rejected:
            self._rejected.append(rejected)
            self._rejected_chars += len(rejected.text) + 100
            if self._rejected_chars > MAX_BUFFERED_BYTES // 8:
                self._flush_rejects()

    def append_day(self, name: str, rows: pa.Table) -> int:
        """Add rows of one day, or of `all`; returns how many stood before them in its file."""
        before = self._days[name].digest.rows if name in self._days else 0
        self._add(name, rows)
        self._flush_surplus()
        return before

    def _flush_surplus(self) -> None:
        if self._waiting_bytes > MAX_BUFFERED_BYTES or self._waiting_tables > MAX_BUFFERED_TABLES:
            for day in list(self._waiting.values()):
                self._flush(day)

    def finish(self) -> tuple[dict[str, WrittenFile], WrittenFile | None]:
        """Complete every file; returns what was written, by day or `all`, and the rejected records' file."""
        for day in list(self._waiting.values()):
            self._flush(day)
        for day in list(self._open.values()):
            self._close(day)
        files = {name: self._complete(self._days[name]) for name in sorted(self._days)}
        return files, self._finish_rejects()

    def abandon(self) -> None:
        """Close what is open; the folder is going to be removed. What cannot be closed was not going to be read."""
        for day in list(self._open.values()):
            with suppress(OSError):
                self._close(day)
        if self._rejects is not None:
            with suppress(OSError):
                self._rejects.close()

    def _split(self, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """The rows by the name of the file they belong to."""
        if self._entity != "viewing_sessions":
            yield ALL, rows
            return
        days = pc.cast(rows.column("started_at"), pa.date32())
        range_ = pc.min_max(days).as_py()
        if range_["min"] != range_["max"]:
            order = pc.sort_indices(
                pa.table({"day": days, "line": rows.column("line")}),
                sort_keys=[("day", "ascending"), ("line", "ascending")],
            )
            rows, days = rows.take(order), days.take(order)
        start = 0
        for counted in pc.value_counts(days).to_pylist():  # in order of appearance: runs, as the days are sorted
            yield counted["values"].isoformat(), rows.slice(start, counted["counts"])
            start += counted["counts"]

    def _add(self, name: str, rows: pa.Table) -> None:
        day = self._days.get(name)
        if day is None:
            day = self._days[name] = _DayFile(name, RowDigest(self._schema, leave_out=("line",)))
        day.digest.update(rows)
        for column in self._ages:
            newest = pc.max(pc.cast(rows.column(column), pa.int64())).as_py()
            if newest is not None and (day.newest is None or newest > day.newest):
                day.newest = newest
        if self._entity == "viewing_sessions":
            _count_missing(day.missing, rows)
        size = rows.nbytes
        day.waiting.append(rows)
        day.waiting_rows += rows.num_rows
        day.waiting_bytes += size
        self._waiting_bytes += size
        self._waiting_tables += 1
        self._waiting[name] = day
        if day.waiting_rows >= ROW_GROUP_ROWS:
            self._flush(day)

    def _flush(self, day: _DayFile) -> None:
        self._waiting.pop(day.name, None)
        if not day.waiting:
            return
        rows = pa.concat_tables(day.waiting)
        self._waiting_bytes -= day.waiting_bytes
        self._waiting_tables -= len(day.waiting)
        day.waiting, day.waiting_rows, day.waiting_bytes = [], 0, 0
        if day.writer is None:
            if len(self._open) >= MAX_OPEN_FILES:
                self._close(next(iter(self._open.values())))
            part = self._folder / f"{day.name}.{len(day.parts)}.part"
            day.parts.append(part)
            day.writer = parquet_writer(part, self._schema)
        self._open.pop(day.name, None)
        self._open[day.name] = day
        day.writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)

    def _close(self, day: _DayFile) -> None:
        self._open.pop(day.name, None)
        if day.writer is not None:
            day.writer.close()
            day.writer = None

    def _complete(self, day: _DayFile) -> WrittenFile:
        final = self._folder / f"{day.name}.parquet"
        if len(day.parts) == 1:
            day.parts[0].rename(final)
        else:
            with parquet_writer(final, self._schema) as writer:
                for part in day.parts:
                    with pq.ParquetFile(part) as file:
                        for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                            writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)
                    part.unlink()
        written = WrittenFile(
            day.digest.rows, final.stat().st_size, sha256_of(final), day.digest.hexdigest(), day.newest
        )
        if self._entity != "viewing_sessions":
            return written
        missing = {name: day.missing[name] for name in (*OPTIONAL_COLUMNS, PERSON)}
        return msgspec.structs.replace(written, missing=missing)

    def _flush_rejects(self) -> None:
        if self._rejects is None:
            self._rejects = parquet_writer(self._folder / "rejects.parquet", REJECTS_SCHEMA)
        columns = zip(*self._rejected, strict=True)
        arrays = [pa.array(column, each.type) for column, each in zip(columns, REJECTS_SCHEMA, strict=True)]
        self._rejects.write_table(pa.Table.from_arrays(arrays, schema=REJECTS_SCHEMA))
        self._rejected_rows += len(self._rejected)
        self._rejected, self._rejected_chars = [], 0

    def _finish_rejects(self) -> WrittenFile | None:
        if self._rejected:
            self._flush_rejects()
        if self._rejects is None:
            return None
        self._rejects.close()
        path = self._folder / "rejects.parquet"
        return WrittenFile(self._rejected_rows, path.stat().st_size, sha256_of(path), "", None)
