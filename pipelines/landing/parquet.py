"""Parquet: row group by row group, as columns where the types are the contract's, row by row elsewhere.

`line` is the row's number in the file, from 1. A landed Parquet file is somebody else's: columns of the wrong type give
rejected records, not an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.landing import columns
from pipelines.landing.batches import LINE_TOO_LONG, NOT_UTF8, Batch, Rows
from pipelines.landing.columns import INSTANT_TYPE, Mask
from pipelines.landing.files import Postponed, Source
from pipelines.landing.lines import LONG_LINE_TEXT_BYTES, MAX_LINE_BYTES
from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.parquet_sizes import Sizes
from pipelines.landing.records import TWO_SPELLINGS, Acceptor, count_unknown, not_an_erasure
from pipelines.landing.schema import FLAT_ENTITIES, RAW_SCHEMAS, RECORDS, Instant, LandedField, landed_fields
from pipelines.landing.unreadable import lacking
from pipelines.landing.values import (
    FIRST_INSTANT,
    LAST_INSTANT,
    LOCAL_TIME,
    OUTSIDE,
    Foreign,
    Number,
    Rejected,
    shown_json,
)

BATCH_ROWS = 16_384
BATCH_BYTES = 16 << 20  # of the texts in it, once each row has its own: a dictionary can hold one for all of them
NOT_PARQUET = "not a Parquet file, or a damaged one"
TOO_LARGE_GROUP = "a row group is too large to be read: write smaller ones"
_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError)


def read_parquet(entity: str, source: Source, fast: bool = True, mapping: EntityMapping = UNMAPPED) -> Iterator[Batch]:
    """Accept or reject every row. A file that is not Parquet, or breaks off, or lacks columns, is unreadable.

    `fast=False` asks row by row throughout, for the same result. Raises Postponed when memory, device or network fail:
    that says nothing of the file.
    """
    rows = Rows(entity, mapping)
    row = 1
    try:
        with os.fdopen(os.dup(source.file.fileno()), "rb") as handle, pq.ParquetFile(handle) as opened:
            reader = _Reader(entity, opened.schema_arrow, fast, mapping)
            if reader.missing:
                rows.give_up(1, lacking(reader.missing), ",".join(opened.schema_arrow.names))
                yield rows.batch()
                return
            read = reader.columns or opened.schema_arrow.names  # where folders say all, rows are to be counted
            sizes = Sizes(opened, read)
            file = pq.ParquetFile(
                handle,
                metadata=opened.metadata,
                read_dictionary=_texts(opened.schema, sizes.encodings()),
                coerce_int96_timestamp_unit="us",  # in nanoseconds, its default, the year 9999 becomes another one
                page_checksum_verification=True,  # safeguard: page-checksums-are-verified
            )
            for group in range(file.num_row_groups):
                if sizes.is_too_large(group):
                    rows.give_up(row, TOO_LARGE_GROUP)
                    yield rows.batch()
                    row += opened.metadata.row_group(group).num_rows
                    continue
                rows_at_once = sizes.rows_at_once(group, BATCH_ROWS)
                batches = file.iter_batches(rows_at_once, [group], columns=read, use_threads=False)
                for batch in batches if rows_at_once == BATCH_ROWS else _gathered(batches):
                    for part in _parts(_packed(batch)):
                        yield reader.read(part, row)
                        row += part.packed.num_rows
    except MemoryError as error:
        raise Postponed("there is not enough memory to read it") from error
    except _ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's own, of what stands in a file, have none
            raise Postponed(f"it cannot be read: {error.strerror}") from error
        rows.give_up(row, NOT_PARQUET)
        yield rows.batch()


def _texts(schema: pq.ParquetSchema, encodings: Mapping[str, Collection[str]]) -> list[str]:
    """The columns that are read as dictionaries, so that a text that a page holds once is held once.

    Arrow reads none so that is encoded as what it has beyond, or behind, the text before.
    """
    columns = [schema.column(number) for number in range(len(schema))]
    texts = [each for each in columns if each.physical_type == "BYTE_ARRAY" and each.converted_type != "DECIMAL"]
    return [
        each.path
        for each in texts
        if each.path == each.name and not any(how.startswith("DELTA_") for how in encodings.get(each.path, ()))
    ]


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of about BATCH_ROWS, or BATCH_BYTES: each costs as much as some hundred rows."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= BATCH_ROWS or size >= BATCH_BYTES:
            yield pa.concat_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_batches(waiting)


def _packed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its texts as dictionaries, as far as Arrow did not read them so."""
    kinds = batch.schema.types
    if not any(pa.types.is_string(kind) or pa.types.is_binary(kind) for kind in kinds):
        return batch
    arrays = [
        each.dictionary_encode() if pa.types.is_string(kind) or pa.types.is_binary(kind) else each
        for each, kind in zip(batch.columns, kinds, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


@dataclass(frozen=True)
class _Part:
    """Some rows whose texts are still packed, and which of them hold more text than a line may."""

    packed: pa.RecordBatch
    cut: pa.RecordBatch  # the same rows with the beginnings of their texts
    too_long: pa.Array

    def good(self) -> pa.RecordBatch:
        """The rows that are not too long."""
        if not self.too_long.true_count:  # Arrow cannot filter nested views
            return _unpacked(self.packed)
        return _unpacked(self.packed.filter(pc.invert(self.too_long)))

    def long(self) -> pa.RecordBatch:
        """The beginnings of those that are."""
        return _unpacked(self.cut.filter(self.too_long) if self.too_long.true_count else self.cut.slice(0, 0))


def _parts(batch: pa.RecordBatch) -> Iterator[_Part]:
    """The batch in parts of about BATCH_BYTES, counted with a text of its own in each row."""
    cut = pa.RecordBatch.from_arrays([_cut(each) for each in batch.columns], names=batch.schema.names)
    sizes = _sizes(batch)
    too_long = pc.greater(sizes, MAX_LINE_BYTES)
    sizes = pc.if_else(too_long, _sizes(cut), sizes)
    start = 0
    while start < batch.num_rows:
        so_far = pc.cumulative_sum(sizes.slice(start))
        rows = max(1, pc.sum(pc.less_equal(so_far, BATCH_BYTES)).as_py())
        yield _Part(batch.slice(start, rows), cut.slice(start, rows), too_long.slice(start, rows))
        start += rows


def _sizes(batch: pa.RecordBatch) -> pa.Array:
    """The bytes of text in each row."""
    sizes = pa.repeat(0, batch.num_rows)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).cast(pa.int64())
            sizes = pc.add(sizes, pc.fill_null(lengths.take(column.indices), 0))
    return sizes


def _cut(column: pa.Array) -> pa.Array:
    if not pa.types.is_dictionary(column.type):
        return column
    texts = column.dictionary.cast(pa.binary())
    if (pc.max(pc.binary_length(texts)).as_py() or 0) > LONG_LINE_TEXT_BYTES:
        texts = pc.binary_slice(texts, 0, LONG_LINE_TEXT_BYTES)
    return pa.DictionaryArray.from_arrays(column.indices, texts)


def _beginnings(column: pa.Array) -> list[Any]:
    """The values of a column of cut texts, to show them."""
    if not pa.types.is_binary(column.type):
        return landed_values(column)
    return [None if text is None else text.decode("utf-8", "backslashreplace") for text in column.to_pylist()]


def _unpacked(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


class _Reader:
    """Reads the batches of one file by its columns' names and types."""

    def __init__(self, entity: str, schema: pa.Schema, fast: bool, mapping: EntityMapping) -> None:
        known = mapped_spellings(entity, mapping)
        by_name = {each.name: each for each in landed_fields(entity)}
        self.columns = [name for name in schema.names if name in known and "." not in name]
        self._entity = entity
        self._mapping = mapping
        self._acceptor = Acceptor(entity, mapping)  # of values, by columns
        self._unknown = [name for name in schema.names if name not in known or "." in name]
        self._raw_schema = RAW_SCHEMAS[entity]
        names = [known[name] for name in self.columns]
        given = {*names, *(field for field, _ in mapping.in_folders)}
        self.missing = [
            name for name, each in by_name.items() if each.required and name not in given and "." not in name
        ]
        twice = [name.rstrip(".") for name in names if names.count(name) > 1]
        self._problem = Rejected(twice[0], TWO_SPELLINGS) if twice else not_an_erasure(entity, given, self._unknown)
        self._by_column = {by_name[known[name]].column: name for name in self.columns if known[name] in by_name}
        self._constants: dict[str, Any] = {}  # by column, what stands in folders
        is_apart = not {field for field, _ in mapping.in_folders} & set(names)
        self._is_fast = fast and entity in FLAT_ENTITIES and bool(self.columns) and is_apart
        if self._is_fast and mapping.in_folders:
            try:
                self._constants = self._acceptor.folder_values()
            except Rejected:
                self._is_fast = False

    def read(self, part: _Part, first_row: int) -> Batch:
        """Accept or reject the rows of a part."""
        rows = Rows(self._entity, self._mapping)
        if self._problem is not None:
            for place in range(part.packed.num_rows):
                rows.reject(first_row + place, self._problem.field, self._problem.reason, "")
            return rows.batch()
        numbers = pa.arange(first_row, first_row + part.packed.num_rows)
        self._reject_long(part.long(), numbers.filter(part.too_long).to_pylist(), rows)
        batch, numbers = part.good(), numbers.filter(pc.invert(part.too_long))
        table, mask = self._fast(batch) if self._is_fast else (None, None)
        fast: pa.Table | None = None
        if table is not None:
            fast = table.append_column(self._raw_schema.field("line"), numbers)
            if mask is not None:
                fast = fast.filter(mask)
                others = pc.invert(mask)
                batch, numbers = batch.filter(others), numbers.filter(others)
            for name in self._unknown if fast.num_rows else ():
                count_unknown(rows.acceptor.unknown_fields, name, fast.num_rows)
        if fast is None or mask is not None:
            self._slow(batch, numbers.to_pylist(), rows)
        rows.rejected.sort(key=lambda rejected: rejected.line)
        read = rows.batch()
        if fast is None or not fast.num_rows:
            return read
        fast = pa.Table.from_arrays(fast.columns, schema=self._raw_schema)  # not null is known now
        merged = pa.concat_tables([fast, read.accepted]) if read.accepted.num_rows else fast
        merged = merged.sort_by("line") if read.accepted.num_rows else merged
        return replace(read, accepted=merged)

    def _reject_long(self, batch: pa.RecordBatch, numbers: list[int], rows: Rows) -> None:
        arrays = {name: _beginnings(batch.column(name)) for name in (self.columns if numbers else ())}
        for place, number in enumerate(numbers):
            landed = shown_json({name: values[place] for name, values in arrays.items()})
            rows.reject(number, None, LINE_TOO_LONG, landed[:LONG_LINE_TEXT_BYTES])

    def _slow(self, batch: pa.RecordBatch, numbers: list[int], rows: Rows) -> None:
        arrays = {name: landed_values(batch.column(name)) for name in self.columns}
        for place, number in enumerate(numbers):
            landed = {name: values[place] for name, values in arrays.items()}
            try:
                rows.accept(number, rows.acceptor.accept(landed | dict.fromkeys(self._unknown)))
            except Rejected as error:
                rows.reject(number, error.field, error.reason, shown_json(landed))

    def _fast(self, batch: pa.RecordBatch) -> tuple[pa.Table | None, Mask]:
        """All rows as columns, and which of them are good; None where a type is not plainly the contract's."""
        values: dict[str, pa.Array] = {}
        mask: Mask = None
        for field in landed_fields(self._entity):
            kind = self._raw_schema.field(field.column).type
            name = self._by_column.get(field.column)
            if name is None:
                constant = self._constants.get(field.column, field.default)
                if field.required and constant is None:
                    return None, None
                values[field.column] = columns.constant(constant, kind, batch.num_rows)
                continue
            typed = _typed(field, batch.column(name), kind, self._acceptor)
            if typed is None:
                return None, None
            values[field.column] = typed[0]
            mask = columns.both(mask, typed[1])
        mask = columns.both(mask, columns.none_if_all(RECORDS[self._entity].hold(values)))
        schema = self._raw_schema.remove(self._raw_schema.get_field_index("line"))
        schema = pa.schema([each.with_nullable(True) for each in schema])
        table = pa.Table.from_arrays([values[name] for name in schema.names], schema=schema)
        return table, None if mask is None else pc.fill_null(mask, False)


def _typed(field: LandedField, column: pa.Array, kind: pa.DataType, acceptor: Acceptor) -> tuple[pa.Array, Mask] | None:
    """A column of the contract's own type as raw has it, or None: ask row by row."""
    mapping = acceptor.mapping
    column = _as_text(column, field, mapping) if field.kind in (str, Instant) else column
    column = _in_utc(column, mapping) if field.kind is Instant else column
    given = column.type
    present = pc.is_valid(column) if column.null_count else None
    good: Mask = None
    if field.kind is str and pa.types.is_string(given):
        if not _is_valid_text(column):
            return None
        fit = columns.fits(column, field, is_null_named=mapping.null is not None)
        good = pc.is_in(column, pa.array(field.choices)) if field.choices else fit
        values = column
    elif field.kind is Instant and pa.types.is_string(given):
        if not _is_valid_text(column):
            return None
        values, good = columns.instants_or_null(column, acceptor.instant)
    elif field.kind is Instant and pa.types.is_timestamp(given) and given.tz is not None:
        if given.unit == "s" or not _is_in_range(column):
            return None  # widening could overflow
        # The same instants by a name that Arrow is sure to know: floor_temporal looks the zone up, and fails for "utc".
        instants = column.cast(pa.timestamp(given.unit, "UTC"))
        cut = pc.floor_temporal(instants, unit="millisecond") if given.unit in ("us", "ns") else instants
        values = cut.cast(INSTANT_TYPE)
    elif field.kind is int and pa.types.is_integer(given) and not pa.types.is_uint64(given):
        values = column.cast(kind)
        good = pc.greater_equal(values, 0)
    elif field.kind is bool and pa.types.is_boolean(given):
        values = column
    else:
        return None
    if good is not None:
        good = columns.none_if_all(pc.fill_null(good, True))
    if field.required:
        return values, columns.both(good, present)
    if field.default is not None and present is not None:
        values = pc.fill_null(values, pa.scalar(field.default, kind))
    return values, good


def _as_text(column: pa.Array, field: LandedField, mapping: EntityMapping) -> pa.Array:
    """The column as texts, of one type, where it holds texts, or ids in another type; else as it is."""
    kind = column.type
    if pa.types.is_integer(kind) and field.kind is str and not field.choices:
        return column.cast(pa.string())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        if not _is_valid_text(column):
            return column
        column = column.cast(pa.string())
    elif isinstance(kind, pa.UuidType) and field.kind is str:
        column = pa.array(landed_values(column), pa.string())
    return columns.without_null_spellings(column, mapping.null) if pa.types.is_string(column.type) else column


_FIRST_WHOLE_MINUTES = 94_694_400_000  # 1973: until then offsets had seconds somewhere


def _in_utc(column: pa.Array, mapping: EntityMapping) -> pa.Array:
    """Local times and numbers as the instants that a mapping makes of them; where that is not sure, as they are."""
    kind = column.type
    if mapping.epoch is not None and pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        per_second = _PER_SECOND[mapping.epoch]
        numbers = column.cast(pa.int64())
        extremes = pc.min_max(numbers).as_py()
        if extremes["min"] is None or 0 <= extremes["min"] <= extremes["max"] <= LAST_INSTANT // 1000 * per_second:
            if per_second <= 1000:
                return pc.multiply(numbers, 1000 // per_second).view(INSTANT_TYPE)
            return pc.divide(numbers, per_second // 1000).view(INSTANT_TYPE)
    is_local = pa.types.is_timestamp(kind) and kind.tz is None and kind.unit != "s"
    if mapping.timezone is not None and is_local and _is_in_range(column):
        try:
            first, second = (
                pc.assume_timezone(column, mapping.timezone, ambiguous=choice, nonexistent=choice)
                for choice in ("earliest", "latest")
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError):  # a zone that Arrow does not know, or a year that no clock shows
            return column
        instants = first.cast(pa.timestamp(kind.unit, "UTC"))
        oldest = pc.min(instants.view(pa.int64())).as_py()
        if first.equals(second) and (oldest is None or oldest >= _FIRST_WHOLE_MINUTES * _PER_SECOND[kind.unit] // 1000):
            return instants
    return column


def _is_valid_text(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


# --- values, as they would have landed in JSON ------------------------------------------------------------------


def landed_values(array: pa.Array) -> list[Any]:
    """The values of a column as the slow path knows them; kinds that JSON has not as `Foreign`."""
    kind = array.type
    types = pa.types
    if types.is_dictionary(kind):
        return landed_values(array.dictionary_decode())
    if types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        children = [landed_values(child) for child in array.flatten()]
        if len(set(names)) < len(names):
            return _foreign(array, "a struct with a field twice")
        records = [dict(zip(names, values, strict=True)) for values in zip(*children, strict=True)] or [{}] * len(array)
        return _where_valid(array, records)
    if types.is_map(kind):
        keys, items = landed_values(array.keys), landed_values(array.items)
        return _where_valid(array, [_as_object(keys[start:end], items[start:end]) for start, end in _ranges(array)])
    if any(is_list(kind) for is_list in _LISTS):
        values = landed_values(array.values)
        return _where_valid(array, [values[start:end] for start, end in _ranges(array)])
    if types.is_timestamp(kind):
        return _landed_instants(array)
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return landed_values(array.storage)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return [None if text is None else _landed_text(text) for text in array.cast(pa.large_binary()).to_pylist()]
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind):
        return list(array.to_pylist())
    landed = _landed_as(kind)
    if landed is None:
        return _foreign(array, f"a value of Parquet type {kind}")
    return [None if value is None else landed(value) for value in array.to_pylist()]


def _landed_as(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes a landed value of each value of a column of a type that JSON has not; None: nothing does."""
    types = pa.types
    if types.is_floating(kind):
        return _landed_float
    if types.is_decimal(kind):
        return int if kind.scale <= 0 else lambda value: Number(format(value, "f"))
    if isinstance(kind, pa.UuidType):
        return str
    return _landed_bytes if types.is_binary(kind) or types.is_large_binary(kind) else None


def _foreign(array: pa.Array, kind: str) -> list[Any]:
    return [None if not value.is_valid else Foreign(kind, _shown(value)) for value in array]


def _shown(value: pa.Scalar) -> str:
    try:
        return str(value.as_py())
    except (OverflowError, ValueError):  # a date that Python has not, a time of no day
        return "a value out of range"


def _where_valid(array: pa.Array, values: list[Any]) -> list[Any]:
    if not array.null_count:
        return values
    return [value if valid else None for value, valid in zip(values, array.is_valid().to_pylist(), strict=True)]


_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
    pa.types.is_fixed_size_list,
)


def _ranges(array: pa.Array) -> list[tuple[int, int]]:
    """Where the values of each list or map begin and end. Arrow's own cast of nested views loses some."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        return [(place * size, (place + 1) * size) for place in range(array.offset, array.offset + len(array))]
    offsets = array.offsets.to_pylist()
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        return [(start, start + size) for start, size in zip(offsets, array.sizes.to_pylist(), strict=True)]
    return list(pairwise(offsets))


def _as_object(keys: list[Any], items: list[Any]) -> Any:
    if any(type(key) is not str for key in keys) or len(set(keys)) < len(keys):
        return Foreign("a map whose keys are not different texts", str(keys))
    return dict(zip(keys, items, strict=True))


_PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
# Counts in a column of timestamps by which DuckDB writes them.
_INFINITIES = {(1 << 63) - 1: "infinity", 1 - (1 << 63): "-infinity"}


def _landed_instants(array: pa.Array) -> list[Any]:
    per_second = _PER_SECOND[array.type.unit]
    is_local = array.type.tz is None
    texts = array.cast(pa.string()).to_pylist() if is_local else [""] * len(array)

    def landed(count: int, text: str) -> Any:
        instant = count * 1000 // per_second
        if not FIRST_INSTANT <= instant <= LAST_INSTANT:  # safeguard: instants-of-parquet-in-range
            return Foreign(OUTSIDE, _INFINITIES.get(count, str(count)))
        return Foreign(LOCAL_TIME, text) if is_local else Instant(instant)

    counts = array.view(pa.int64()).to_pylist()
    return [None if count is None else landed(count, text) for count, text in zip(counts, texts, strict=True)]


_ROOM = 1 << 60  # that Arrow's own functions have left in a timestamp; nanoseconds of 36 years


def _is_in_range(column: pa.Array) -> bool:
    """Whether every timestamp is an instant that may land, and none is so far off that Arrow fails to work with it."""
    extremes = pc.min_max(column.view(pa.int64())).as_py()
    per_second = _PER_SECOND[column.type.unit]
    first, last = (limit * per_second // 1000 for limit in (FIRST_INSTANT, LAST_INSTANT))
    room = (1 << 63) - _ROOM
    return extremes["min"] is None or max(first, -room) <= extremes["min"] <= extremes["max"] <= min(last, room)


def _landed_float(value: float) -> Any:
    return Number(repr(value)) if value - value == 0 else Foreign("a number that is not finite", str(value))


def _landed_bytes(value: bytes) -> Any:
    """Bytes that are plainly text, as older writers leave texts; those of a UUID are not guessed about."""
    if value.isascii() and value.isalnum():
        return value.decode()
    text = _landed_text(value)
    is_text = isinstance(text, str) and text.isprintable()
    return text if is_text else Foreign("bytes that are no text", value.decode("utf-8", "backslashreplace"))


def _landed_text(text: bytes) -> Any:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return Foreign("text that is " + NOT_UTF8, text.decode("utf-8", "backslashreplace"))
