"""Digests of rows: the same for the same values, and for nothing else.

File names in the lake and ids of snapshots are made of these digests: see `lake.key_of` and `snapshots.snapshot_id_of`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import accumulate, pairwise, repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class RowDigest:
    """The sha256 of a table's rows, in their order: of the values and of nothing else.

    The same rows give the same digest whatever engine, library version, encoding or chunking they came in: every
    column is hashed by itself as (nulls, lengths, values), integers widened to 64 bits, dates as days, instants as
    UTC milliseconds, decimals as plain strings, UUIDs as 16 bytes. Floats are refused: they are not exact.
    """

    def __init__(self, schema: pa.Schema, leave_out: Collection[str] = ()) -> None:
        """Digest rows of `schema`, but for the columns named in `leave_out`."""
        self.rows = 0
        self._columns = [
            (field.name, _kind(field), [hashlib.sha256() for _ in range(3)])
            for field in schema
            if field.name not in leave_out
        ]

    def update(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add the next rows."""
        self.rows += rows.num_rows
        for name, kind, hashers in self._columns:
            column = rows.column(name)
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                for hasher, buffer in zip(hashers, _canonical_buffers(chunk, kind), strict=True):
                    hasher.update(buffer)

    def hexdigest(self) -> str:
        """The digest so far, as 64 hexadecimal digits."""
        parts: list[str] = [str(self.rows)]
        for name, kind, hashers in self._columns:
            parts += [name, kind, *(hasher.hexdigest() for hasher in hashers)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def row_digest(table: pa.Table, leave_out: Collection[str] = ()) -> str:
    """The RowDigest of a whole table."""
    digest = RowDigest(table.schema, leave_out)
    digest.update(table)
    return digest.hexdigest()


def row_digests(table: pa.Table, counts: Sequence[int], leave_out: Collection[str] = ()) -> list[str]:
    """The RowDigest of each of several runs of rows that stand one after the other, `counts` many each."""
    starts = [0, *accumulate(counts)]
    parts: list[Iterable[str]] = [map(str, counts)]
    for field in table.schema:
        if field.name in leave_out:
            continue
        kind = _kind(field)
        nulls, lengths, values = _canonical_buffers(table.column(field.name).combine_chunks(), kind)
        if kind in ("string", "decimal"):
            ends = [0, *accumulate(memoryview(lengths).cast("B").cast("i"))]
            bounds = [ends[start] for start in starts]
        else:
            width = 16 if kind == "uuid" else 8
            bounds = [start * width for start in starts]
        parts += (repeat(field.name), repeat(kind), _sha256s(nulls, starts))
        parts += (_sha256s(lengths, [start * 4 for start in starts]), _sha256s(values, bounds))
    return [combined_digest(part) for part in zip(*parts, strict=False)]


_REMEMBERED_BYTES = 64  # of a run; longer ones are seldom the same


def _sha256s(buffer: Any, bounds: Sequence[int]) -> Iterable[str]:
    """The sha256 of each run of bytes between the bounds; of short ones many are the same."""
    content = bytes(buffer)
    known = {b"": hashlib.sha256().hexdigest()}
    if not content:
        return repeat(known[b""])
    found = []
    for start, end in pairwise(bounds):
        run = content[start:end]
        digest = known.get(run)
        if digest is None:
            digest = hashlib.sha256(run).hexdigest()
            if end - start <= _REMEMBERED_BYTES:
                known[run] = digest
        found.append(digest)
    return found


def combined_digest(parts: Iterable[str]) -> str:
    """One sha256 of a sequence of strings, none of which holds a newline."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kind(field: pa.Field) -> str:
    """What the values of a column are, however wide or encoded: the part of its type that the digest sees."""
    kind = _kind_of_type(field.type)
    if kind is None:
        raise TypeError(f"column {field.name} has type {field.type}, which has no exact canonical form")
    return kind


@cache  # a night digests many small tables of the same few types
def _kind_of_type(given: pa.DataType) -> str | None:
    values = given.value_type if pa.types.is_dictionary(given) else given
    return next((name for name, is_kind in _KINDS.items() if is_kind(values)), None)


_KINDS = {
    "boolean": pa.types.is_boolean,
    "integer": pa.types.is_integer,
    "date": pa.types.is_date32,
    "instant": pa.types.is_timestamp,
    "decimal": pa.types.is_decimal,
    "uuid": lambda kind: isinstance(kind, pa.UuidType),
    "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
}


def _canonical_buffers(array: pa.Array, kind: str) -> tuple[Any, Any, Any]:
    """(one byte a row: is it null; one 32-bit length a string; the values with nulls as zero) as bytes-like."""
    nulls = _fixed_width(array.is_null().cast(pa.uint8()), 1) if array.null_count else bytes(len(array))
    if kind == "uuid":
        values = array.storage
        if values.null_count:
            values = values.fill_null(bytes(16))
        return nulls, b"", _fixed_width(values, 16)
    if kind in ("string", "decimal"):
        text = array.cast(pa.string())
        if text.null_count:
            text = text.fill_null("")
        lengths = _fixed_width(pc.binary_length(text), 4)
        _, offsets, data = text.buffers()
        if data is None or not len(text):
            return nulls, lengths, b""
        bounds = memoryview(offsets).cast("i")
        first, end = bounds[text.offset], bounds[text.offset + len(text)]
        return nulls, lengths, memoryview(data)[first:end]
    if kind == "instant":
        array = array.cast(pa.timestamp("ms", array.type.tz)).view(pa.int64())
    elif kind == "date":
        array = array.view(pa.int32()).cast(pa.int64())
    elif pa.types.is_uint64(array.type):
        array = array.view(pa.int64())
    elif not pa.types.is_int64(array.type):
        array = array.cast(pa.int64())
    if array.null_count:
        array = array.fill_null(0)
    return nulls, b"", _fixed_width(array, 8)


def _fixed_width(array: pa.Array, width: int) -> Any:
    """The values of an array without nulls, as the bytes that stand for them."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return b""
    return memoryview(buffer)[array.offset * width : (array.offset + len(array)) * width]
