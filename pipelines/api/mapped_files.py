"""Arrow IPC files that are mapped into memory: read without a copy, and shared by all processes that read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table in one piece, uncompressed."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def map_table(path: Path) -> pa.Table:
    """Map a table of `write_table`. It stays readable when the file is removed."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; without a copy where it is in one piece, as those of `map_table` are."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays of one dimension, of any lengths, by name."""
    columns = {}
    for name, array in arrays.items():
        values = pa.array(np.ascontiguousarray(array))
        columns[name] = pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)
    write_table(path, pa.table(columns))


def map_arrays(path: Path) -> dict[str, Array]:
    """Map the arrays of `write_arrays`, which cannot be written to."""
    table = map_table(path)
    return {name: whole(table[name]).values.to_numpy() for name in table.column_names}
