"""Write sorted batches of rows, of any engine, into a file per day, with a digest of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.durable_files import ROW_GROUP_ROWS, parquet_writer
from pipelines.core.row_digest import RowDigest


def write_split(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, targets: Mapping[date | None, Path]
) -> dict[date | None, RowDigest]:
    """Write rows that are sorted by their first column, `day`, into a file per day; or all into one.

    Hashing runs beside writing: both spend their time outside the interpreter lock.
    """
    digests = {day: RowDigest(schema) for day in targets}
    written: set[date | None] = set()
    writer: pq.ParquetWriter | None = None
    writing: date | None = None
    with ThreadPoolExecutor(1, "digest") as hashing:
        try:
            for day, rows in _by_day(batches, single=None in targets):
                if day not in targets:
                    continue
                hashed = hashing.submit(digests[day].update, rows)
                if writer is None or day != writing:
                    if writer is not None:
                        writer.close()
                    writer = parquet_writer(targets[day], schema, _all_different(rows))
                    writing = day
                    written.add(day)
                writer.write_batch(rows, row_group_size=ROW_GROUP_ROWS)
                hashed.result()
        finally:
            if writer is not None:
                writer.close()
    for day in set(targets) - written:
        parquet_writer(targets[day], schema).close()
    return digests


# Times that a text must stand in a row group on average: else its dictionary is given up, or no smaller than the texts.
_REPEATED = 2


def _all_different(rows: pa.RecordBatch) -> list[str]:
    """The text columns that by the first rows are hardly worth a dictionary, if those are enough to tell.

    Ids of creators are, in a table of theirs; beside users, and in their order, there may be 100,000 in a row group.
    """
    if rows.num_rows < ROW_GROUP_ROWS // 2:
        return []
    texts = [
        field.name for field in rows.schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    return [name for name in texts if pc.count_distinct(rows[name]).as_py() * _REPEATED > rows.num_rows]


def _by_day(batches: Iterable[pa.RecordBatch], *, single: bool) -> Iterator[tuple[date | None, pa.RecordBatch]]:
    """Cut batches at the borders of days."""
    for batch in batches:
        if single:
            yield None, batch
            continue
        start = 0
        runs = pc.run_end_encode(batch.column(0))
        for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield day, batch.slice(start, end - start)
            start = end
