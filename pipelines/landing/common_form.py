"""NDJSON at columnar speed: lines of one form, whichever fields they leave out.

A block is parsed by Polars and written back in the form that accepted lines of the file have: the same order of fields,
the same spacing. A line that comes back to the letter is what it was taken for: no field twice, no number in place of a
text, nothing that the parser overlooked. Every other line is left for another look.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.landing import columns
from pipelines.landing.columns import Mask, ValueCache
from pipelines.landing.lines import line_starts
from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.records import Acceptor
from pipelines.landing.schema import RAW_SCHEMAS, RECORDS, Instant, LandedField, Money, landed_fields
from pipelines.landing.values import Rejected, parse_instant, parse_json

MIN_PARSED = 256  # lines: where one that is no JSON stands among fewer, all of them are left
_OLDEST = pl.CompatLevel.oldest()


class Matched(NamedTuple):
    """What a matcher has read of some lines."""

    rows: pa.Table  # without `line`
    places: pa.Array | None  # which lines they are, from 0; None: all
    unknown: Mapping[str, pa.Array]  # fields that the contract does not know, and which of the rows have each


class _Writing(NamedTuple):
    """How a line writes the value of a field: what stands before it and after it."""

    before: str = '"'
    after: str = '"'
    wrappers: tuple[str, ...] = ()  # of Extended JSON around the value, outermost first
    is_compact: bool = False  # an object or an array, of a field that the contract does not know, without spaces

    @property
    def is_text(self) -> bool:
        """Whether the value is a text; else a number, a truth value, an object or an array."""
        return self.before.endswith('"')


@dataclass(frozen=True)
class _Key:
    """A field as the lines write it."""

    text: str
    field: LandedField | None  # None: one that the contract does not know
    writing: _Writing
    writes_null: bool  # or is it left out when null?
    known: ValueCache = dataclasses.field(default_factory=ValueCache, compare=False)  # of its values


class _Spacing(NamedTuple):
    """What stands between the parts of a line."""

    opening: str
    colon: str
    comma: str
    closing: str


class CommonForm:
    """Reads the lines of a block that are written in one form. Several threads may match blocks at once."""

    def __init__(self, entity: str, keys: Sequence[_Key], spacing: _Spacing, mapping: EntityMapping = UNMAPPED) -> None:
        """`keys` in the order of the lines; the first one is in every line."""
        self._entity = entity
        self._keys = [(str(number), key) for number, key in enumerate(keys)]
        self._by_column = {key.field.column: (name, key) for name, key in self._keys if key.field is not None}
        self._schema = RAW_SCHEMAS[entity].remove(RAW_SCHEMAS[entity].get_field_index("line"))
        self._mapping = mapping
        self._acceptor = Acceptor(entity, mapping)
        self._constants = self._acceptor.folder_values()
        self._types = {key.text: _type(key.writing) for key in keys}
        self._ends = f"{spacing.opening}{json.dumps(keys[0].text, ensure_ascii=False)}", spacing.closing
        parts = [
            _written(name, key, spacing.comma if number else spacing.opening, spacing.colon)
            for number, (name, key) in enumerate(self._keys)
        ]
        self._line = pl.concat_str([*parts, pl.lit(f"{spacing.closing}\n")], ignore_nulls=True)

    def match(self, data: bytes, count: int) -> Matched:
        """Read those of the `count` lines in `data` that are in this form.

        `data` is valid UTF-8 without backslashes and without other control characters than the ends of its lines.
        Nothing is said about the lines left out.
        """
        data = data.replace(b"\r\n", b"\n") if b"\r" in data else data
        try:
            frame = pl.read_ndjson(data, schema=self._types, ignore_errors=True)
        except pl.exceptions.PolarsError:  # one line that is no JSON is enough
            return self._match_parts(data, count)
        if frame.height != count:
            return self._match_parts(data, count)
        frame = frame.select(
            _unwrapped(series, key.writing).alias(name)
            for series, (name, key) in zip(frame.get_columns(), self._keys, strict=True)
        )
        same = _same_lines(frame.select(self._line).to_series(), data)
        places: pa.Array | None = None
        if same is not None:
            places = pc.indices_nonzero(same).cast(pa.int64())
            frame = frame.filter(pl.Series(same))
        values, mask = self._values(frame)
        table = pa.Table.from_arrays([values[name] for name in self._schema.names], schema=self._schema)
        if mask is not None:
            table = table.filter(mask)
            places = columns.filtered(places, mask)
            frame = frame.filter(pl.Series(mask))
        return Matched(table, places, self._unknown(frame))

    def _match_parts(self, data: bytes, count: int) -> Matched:
        """Match the lines without those that are no JSON: without what is plainly none, else one half and the other."""
        starts = line_starts(data)
        lines = pa.Array.from_buffers(pa.string(), count, [None, starts.buffers()[1], pa.py_buffer(data)])
        begins, ends = self._ends
        whole = pc.and_(pc.starts_with(lines, begins), pc.ends_with(lines, f"{ends}\n"))
        places = pc.indices_nonzero(whole).cast(pa.int64())
        if 0 < len(places) < count - 1:  # the last line may have no newline
            matched = self.match(columns.text_bytes(lines.filter(whole)), len(places))
            return matched._replace(places=places if matched.places is None else places.take(matched.places))
        if count < 2 * MIN_PARSED:
            return Matched(self._schema.empty_table(), pa.array([], pa.int64()), {})
        half = count // 2
        middle = starts[half].as_py()
        first, second = self.match(data[:middle], half), self.match(data[middle:], count - half)
        parts = [
            pa.arange(0, lines) if matched.places is None else matched.places
            for matched, lines in ((first, half), (second, count - half))
        ]
        return Matched(
            pa.concat_tables([first.rows, second.rows]),
            pa.concat_arrays([parts[0], pc.add(parts[1], half)]),
            {
                name: pa.concat_arrays([_has(first, name), _has(second, name)])
                for name in (*first.unknown, *(second.unknown.keys() - first.unknown.keys()))
            },
        )

    def _values(self, frame: pl.DataFrame) -> tuple[dict[str, pa.Array], Mask]:
        mask: Mask = None
        values: dict[str, pa.Array] = {}
        for each in landed_fields(self._entity):
            kind = self._schema.field(each.column).type
            if each.column not in self._by_column:
                values[each.column] = columns.constant(
                    self._constants.get(each.column, each.default), kind, frame.height
                )
                continue
            name, key = self._by_column[each.column]
            values[each.column], good = self._column(key, each, _texts(frame, name), kind)
            mask = columns.both(mask, good)
        for name, key in self._keys:
            if key.field is None and not key.writing.is_text:
                _, good = columns.by_distinct_value(_texts(frame, name), pa.null(), self._judge(key), key.known)
                mask = columns.both(mask, None if good is None else pc.fill_null(good, True))
        mask = columns.both(mask, columns.none_if_all(RECORDS[self._entity].hold(values)))
        return values, None if mask is None else pc.fill_null(mask, False)

    def _column(self, key: _Key, field: LandedField, texts: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
        if key.writing.is_text and not key.writing.wrappers:
            texts = columns.without_null_spellings(texts, self._mapping.null)
        good: Mask = columns.none_if_all(texts.is_valid()) if field.required else None
        values = texts
        if key.writing.is_text and not key.writing.wrappers and field.kind is str and not field.choices:
            fit = columns.fits(texts, field, is_null_named=self._mapping.null is not None)
            good = columns.both(good, fit)
        elif key.writing.is_text and len(key.writing.wrappers) <= 1 and field.kind is Instant:
            # What a mapping says of instants is not said of those that Extended JSON names.
            parse = parse_instant if key.writing.wrappers else self._acceptor.instant
            values, fit = columns.instants_or_null(texts, parse)
            good = columns.both(good, fit)
        elif field.kind is Money and not key.writing.wrappers:
            values, fit = columns.amounts(texts)
            good = columns.both(good, fit)
        else:
            values, fit = columns.by_distinct_value(texts, kind, self._judge(key), key.known)
            good = columns.both(good, fit)
        if field.default is not None:
            values = pc.fill_null(values, pa.scalar(field.default, kind))
        # A comparison with null is null, and null is good where the field may be.
        return values, good if good is None or field.required else pc.fill_null(good, True)

    def _unknown(self, frame: pl.DataFrame) -> dict[str, pa.Array]:
        """Which of the lines have each field that the contract does not know."""
        return {
            key.text: columns.constant(value=True, kind=pa.bool_(), rows=frame.height)
            if key.writes_null
            else frame[name].is_not_null().to_arrow(compat_level=_OLDEST)
            for name, key in self._keys
            if key.field is None
        }

    def _judge(self, key: _Key) -> Callable[[str], Any]:
        return functools.partial(_value, key, self._acceptor)


def _has(matched: Matched, name: str) -> pa.Array:
    in_no_row = columns.constant(value=False, kind=pa.bool_(), rows=matched.rows.num_rows)
    return matched.unknown.get(name, in_no_row)


def learn(entity: str, lines: Iterable[str], mapping: EntityMapping = UNMAPPED) -> CommonForm | None:
    """The form of the first of some accepted lines, and of those that have it in common; None if it has none."""
    names = mapped_spellings(entity, mapping)
    fields = {each.name: each for each in landed_fields(entity)}
    spacing: _Spacing | None = None
    order: list[str] = []
    writings: dict[str, _Writing] = {}
    null: set[str] = set()
    sequences: dict[tuple[str, ...], None] = {}
    for line in lines:
        found = _form_of(line, names)
        if found is None:
            continue
        its_spacing, its_writings = found
        its_keys = tuple(its_writings)
        if spacing is not None and (its_spacing != spacing or its_keys[0] != order[0]):
            continue
        if any(writing and writings.get(key, writing) != writing for key, writing in its_writings.items()):
            continue
        if its_keys not in sequences:
            merged = _common_order([*sequences, its_keys])
            spelled = [names[key] for key in merged if key in names]
            if not merged or len(set(spelled)) < len(spelled) or its_writings[its_keys[0]] is None:
                continue
            order, sequences[its_keys] = merged, None
        spacing = its_spacing
        writings |= {key: writing for key, writing in its_writings.items() if writing}
        null |= {key for key, writing in its_writings.items() if not writing}
    if spacing is None or not _is_apart(mapping, {names.get(key) for key in order}):
        return None
    keys = [
        _Key(key, fields.get(names.get(key, "")), writings.get(key, _Writing()), writes_null=key in null)
        for key in order
    ]
    return CommonForm(entity, keys, spacing, mapping)


def _is_apart(mapping: EntityMapping, landed: set[str | None]) -> bool:
    """Whether no field stands in folders and in records, where the two would have to be compared."""
    return not landed & {field for field, _ in mapping.in_folders}


def _form_of(line: str, ours: Collection[str]) -> tuple[_Spacing, dict[str, _Writing | None]] | None:
    """How an accepted line is spaced, and how it writes each of its fields: None where that is null.

    None for a line that is not spaced alike throughout, or where one of `ours` is neither one value nor one in Extended
    JSON.
    """
    opening = _OPENING.match(line)
    if opening is None or "\\" in line:
        return None
    writings: dict[str, _Writing | None] = {}
    colons, commas = set(), set()
    at = opening.end()
    while True:
        key, at = _JSON.raw_decode(line, at)
        colon = _COLON.match(line, at)
        value, end = _JSON.raw_decode(line, colon.end()) if colon else (None, at)
        if colon is None or key in writings:
            return None
        colons.add(colon[0])
        writings[key] = None if value is None else _writing(line[colon.end() : end], value, key in ours)
        if value is not None and writings[key] is None:
            return None
        if comma := _COMMA.match(line, end):
            commas.add(comma[0])
            at = comma.end()
            continue
        if len(colons) > 1 or len(commas) > 1:
            return None
        return _Spacing(opening[0], colons.pop(), commas.pop() if commas else ",", line[end:]), writings


_JSON = json.JSONDecoder()
_OPENING, _COLON, _COMMA = re.compile(r"\s*\{\s*(?=\")"), re.compile(r"\s*:\s*"), re.compile(r"\s*,\s*")
_WRAPPER = re.compile(r'\{\s*"(\$\w+)"\s*:\s*')


def _writing(landed: str, value: Any, is_ours: bool) -> _Writing | None:
    """How a value was written that is not null; None if it is one of ours and holds several."""
    if isinstance(value, dict | list) and not is_ours:
        return _Writing("", "", is_compact=": " not in landed and ", " not in landed)
    wrappers, begins, ends = [], 0, len(landed)
    while isinstance(value, dict) and (wrapper := _WRAPPER.match(landed, begins)) and len(value) == 1:
        wrappers.append(wrapper[1])
        begins = wrapper.end()
        value, ends = _JSON.raw_decode(landed, begins)
    if value is None or isinstance(value, dict | list):
        return None
    quote = isinstance(value, str)
    return _Writing(landed[: begins + quote], landed[ends - quote :], tuple(wrappers))


def _common_order(sequences: Sequence[Sequence[str]]) -> list[str]:
    """The keys in an order that every sequence follows; none if two disagree."""
    before: TopologicalSorter[str] = TopologicalSorter()
    for sequence in sequences:
        for key, following in pairwise(sequence):
            before.add(following, key)
        if sequence:
            before.add(sequence[0])
    try:
        return list(before.static_order())
    except CycleError:
        return []


def _type(writing: _Writing) -> pl.DataType:
    """What Polars parses a value as: a text, which of a number is what Polars would write."""
    kind: pl.DataType = pl.String()
    for wrapper in reversed(writing.wrappers):
        kind = pl.Struct({wrapper: kind})
    return kind


def _unwrapped(series: pl.Series, writing: _Writing) -> pl.Series:
    for wrapper in writing.wrappers:
        series = series.struct.field(wrapper)
    return series


def _written(name: str, key: _Key, before: str, colon: str) -> pl.Expr:
    """A field as the line writes it, null where it leaves it out."""
    begins = f"{before}{json.dumps(key.text, ensure_ascii=False)}{colon}"
    value = pl.col(name)
    if key.writing.is_compact:  # Polars writes it with spaces; where that changes a text in it, the line is left
        value = value.str.replace_all(": ", ":", literal=True).str.replace_all(", ", ",", literal=True)
    text = pl.concat_str([pl.lit(f"{begins}{key.writing.before}"), value, pl.lit(key.writing.after)])
    return text.fill_null(f"{begins}null") if key.writes_null else text


def _texts(frame: pl.DataFrame, name: str) -> pa.Array:
    return frame[name].to_arrow(compat_level=_OLDEST).cast(pa.string())


def _same_lines(written: pl.Series, data: bytes) -> Mask:
    """Which lines of `data` are as written; None for all."""
    array = written.rechunk().to_arrow(compat_level=_OLDEST)
    text = array.buffers()[2]
    landed = pa.py_buffer(data)
    if array.null_count == 0 and text.size >= landed.size and text.slice(0, landed.size).equals(landed):
        ends = memoryview(array.buffers()[1]).cast("q")
        if ends[len(array)] == landed.size:
            return None
    starts = line_starts(data).cast(pa.int64())
    lines = pa.Array.from_buffers(pa.large_string(), len(array), [None, starts.buffers()[1], landed])
    return pc.fill_null(pc.equal(array, lines), False)  # safeguard: common-form-is-what-was-written


def _value(key: _Key, acceptor: Acceptor, text: str | None) -> Any:
    """The value of a field whose JSON value was written so, by the slow path's own rules. Raises Rejected."""
    landed: Any = text
    if text is not None and not key.writing.is_text:
        (landed,) = parse_json(f"[{text}]")  # it stands in a line, which is as deep as a list
        if isinstance(landed, str) or (isinstance(landed, dict | list) and key.field is not None):
            raise Rejected(None, "another form")
    if text is not None:
        for wrapper in reversed(key.writing.wrappers):
            landed = {wrapper: landed}
    return None if key.field is None else acceptor.value(key.field, landed)
