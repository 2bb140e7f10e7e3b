"""How derived rows are written: which columns have a dictionary."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.durable_files import ROW_GROUP_ROWS
from pipelines.lake.engines.writing import write_split

ROWS = ROW_GROUP_ROWS // 2  # enough to tell by


def has_dictionary(folder: Path, creators: int, rows: int = ROWS) -> bool:
    """Whether the ids of so many creators, in no order, are written by one; the rows are what was given."""
    ids = [f"c{number * 7919 % creators}" for number in range(rows)]
    table = pa.table({"user_id": [f"u{number:06}" for number in range(rows)], "creator_id": ids})
    write_split(table.to_batches(), table.schema, {None: folder / "rows.parquet"})
    assert pq.read_table(folder / "rows.parquet").equals(table)
    column = pq.ParquetFile(folder / "rows.parquet").metadata.row_group(0).column(1)
    return "RLE_DICTIONARY" in column.encodings or "PLAIN_DICTIONARY" in column.encodings


@pytest.mark.parametrize(
    ("creators", "is_worth_it"), [(1, True), (10_000, True), (ROWS // 2 + 1, False), (ROWS, False)]
)
def test_a_dictionary_of_what_repeats(tmp_path, creators, is_worth_it):
    """Of texts that stand there less than twice on average none is built."""
    assert has_dictionary(tmp_path, creators) == is_worth_it


def test_few_rows_tell_nothing(tmp_path):
    """A small file has one, whatever is in it."""
    assert has_dictionary(tmp_path, 1_000, rows=1_000)
