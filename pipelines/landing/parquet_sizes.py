"""The sizes in the metadata of a landed Parquet file, checked before any of it is unpacked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress

import pyarrow.parquet as pq

MAX_COLUMN_BYTES = 256 << 20  # of one column of a row group, unpacked: a page of it may be as large
MAX_SHARED_BYTES = 256 << 20  # of texts read at once, were each as long as all that is said of any of them
DELTA_BYTES = "DELTA_BYTE_ARRAY"  # of each text what it has beyond the beginning that it shares with the one before
MAX_NESTED_VALUES = 1 << 24  # of one column of a row group; a billion nulls in a list take no space at all


class Sizes:
    """How large the columns of a file are that are read of it, as it says itself, without a page of it being read.

    pyarrow aborts the process on malformed column metadata; probing with a reader over an empty file first turns that
    into an exception.
    """

    def __init__(self, file: pq.ParquetFile, names: Sequence[str]) -> None:
        """`names` are the columns that are read."""
        columns = [file.schema.column(number) for number in range(len(file.schema))]
        self._columns = [number for number, each in enumerate(columns) if each.path.split(".")[0] in names]
        self._nested = {number for number in self._columns if columns[number].max_repetition_level > 0}
        self._metadata = file.metadata
        self._without_pages = pq.ParquetFile(_WithoutPages(), metadata=file.metadata)
        self._probed: set[int] = set()  # groups

    def encodings(self) -> dict[str, set[str]]:
        """By column, how its values are encoded in any group. Raises as `is_too_large`."""
        found: dict[str, set[str]] = {}
        for group in range(self._metadata.num_row_groups):
            self._probe(group)
            for number in self._columns:
                column = self._metadata.row_group(group).column(number)
                found.setdefault(column.path_in_schema, set()).update(column.encodings)
        return found

    def rows_at_once(self, group: int, most: int) -> int:
        """How many rows of a group are read at a time: of texts that each begin like the one before, few enough."""
        rows = most
        for number in self._columns:
            column = self._metadata.row_group(group).column(number)
            if DELTA_BYTES in column.encodings:  # safeguard: shared-beginnings-are-bounded
                rows = min(rows, max(1, MAX_SHARED_BYTES // max(1, column.total_uncompressed_size)))
        return rows

    def is_too_large(self, group: int) -> bool:
        """Whether a column of a row group takes too much memory. Raises what Arrow raises for one that cannot be."""
        self._probe(group)
        for number in self._columns:
            column = self._metadata.row_group(group).column(number)
            if column.total_uncompressed_size > MAX_COLUMN_BYTES:
                return True
            if number in self._nested and column.num_values > MAX_NESTED_VALUES:
                return True
        return False

    def _probe(self, group: int) -> None:
        for number in self._columns if group not in self._probed else ():
            with suppress(_Unread):
                next(self._without_pages.reader.iter_batches(1, [group], [number], use_threads=False), None)
        self._probed.add(group)


class _Unread(Exception):
    """A page was to be read."""


class _WithoutPages(io.RawIOBase):
    """A file of which nothing can be read."""

    def readable(self) -> bool:
        """See io."""
        return True

    def seekable(self) -> bool:
        """See io."""
        return True

    def tell(self) -> int:
        """As large as any."""
        return 1 << 62

    def seek(self, offset: int, whence: int = 0) -> int:
        """See io."""
        return offset

    def read(self, size: int = -1) -> bytes:
        """Nothing."""
        raise _Unread
