"""NDJSON of many shapes at columnar speed: lines in compact form, whichever fields they leave out.

A block is parsed by Polars and written back in the form that accepted lines of the file have: the same order of fields,
the same spacing. A line that comes back to the letter is what it was taken for: no field twice or unknown to us, no
number in place of a text, nothing that the parser overlooked. Every other line is left for another look.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.landing import columns
from pipelines.landing.columns import Mask, ValueCache
from pipelines.landing.lines import line_starts
from pipelines.landing.matching import constant, filtered
from pipelines.landing.records import Acceptor, spellings
from pipelines.landing.schema import RAW_SCHEMAS, Instant, LandedField, landed_fields

_SPACINGS = ((":", ","), (": ", ", "))  # after a key, and between fields: as most writers put them
_KINDS: dict[type, pl.DataType] = {str: pl.String(), int: pl.Int64(), bool: pl.Boolean()}
_OLDEST = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class _Key:
    """A field as the lines write it."""

    text: str
    field: LandedField
    kind: pl.DataType  # of its JSON values: text, integer, truth value
    writes_null: bool  # or is it left out when null?
    known: ValueCache = dataclasses.field(default_factory=ValueCache, compare=False)  # of its values


class CommonForm:
    """Reads the lines of a block that are written in one form. Several threads may match blocks at once."""

    unknown: tuple[str, ...] = ()  # fields of such a line that the contract does not know: none

    def __init__(self, entity: str, keys: Sequence[_Key], colon: str, comma: str) -> None:
        """`keys` in the order of the lines; the first one is in every line."""
        self._entity = entity
        self._keys = keys
        self._by_column = {key.field.column: key for key in keys}
        self._schema = RAW_SCHEMAS[entity].remove(RAW_SCHEMAS[entity].get_field_index("line"))
        self._acceptor = Acceptor(entity)
        self._types = {key.text: key.kind for key in keys}
        parts = [_written(key, "{" if number == 0 else comma, colon) for number, key in enumerate(keys)]
        self._line = pl.concat_str([*parts, pl.lit("}\n")], ignore_nulls=True)

    def match(self, data: bytes, count: int) -> tuple[pa.Table, pa.Array | None]:
        """Read the lines in `data` that are in this form: see `matching.Matcher.match`."""
        try:
            frame = pl.read_ndjson(data, schema=self._types)
        except pl.exceptions.PolarsError:  # one line that is no JSON is enough
            frame = pl.DataFrame()
        if frame.height != count:
            return self._schema.empty_table(), pa.array([], pa.int64())
        same = _same_lines(frame.select(self._line).to_series(), data)
        places: pa.Array | None = None
        if same is not None:
            places = pc.indices_nonzero(same).cast(pa.int64())
            frame = frame.filter(pl.Series(same))
        values, mask = self._values(frame)
        table = pa.Table.from_arrays([values[name] for name in self._schema.names], schema=self._schema)
        if mask is not None:
            table = table.filter(mask)
            places = filtered(places, mask)
        return table, places

    def _values(self, frame: pl.DataFrame) -> tuple[dict[str, pa.Array], Mask]:
        mask: Mask = None
        values: dict[str, pa.Array] = {}
        for each in landed_fields(self._entity):
            key = self._by_column.get(each.column)
            kind = self._schema.field(each.column).type
            if key is None:
                values[each.column] = constant(each.default, kind, frame.height)
                continue
            texts = frame[key.text].cast(pl.String).to_arrow(compat_level=_OLDEST).cast(pa.string())
            values[each.column], good = self._column(key, texts, kind)
            mask = columns.both(mask, good)
        mask = columns.both(mask, columns.rules_hold(self._entity, values))
        return values, None if mask is None else pc.fill_null(mask, False)

    def _column(self, key: _Key, texts: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
        good: Mask = columns.none_if_all(texts.is_valid()) if key.field.required else None
        values = texts
        if key.kind == pl.String() and key.field.kind is str and not key.field.choices:
            if not key.field.may_be_empty:
                good = columns.both(good, columns.none_if_all(pc.not_equal(texts, "")))
        elif key.kind == pl.String() and key.field.kind is Instant:
            values, fit = _instants(texts)
            good = columns.both(good, fit)
        else:
            values, fit = columns.by_distinct_value(texts, kind, self._judge(key), key.known)
            good = columns.both(good, fit)
        if key.field.default is not None:
            values = pc.fill_null(values, pa.scalar(key.field.default, kind))
        # A comparison with null is null, and null is good where the field may be.
        return values, good if good is None or key.field.required else pc.fill_null(good, True)

    def _judge(self, key: _Key) -> Callable[[str], Any]:
        return functools.partial(_value, key, self._acceptor)


def learn(entity: str, lines: Sequence[str]) -> CommonForm | None:
    """The form that accepted lines have in common, or None if they have none."""
    objects = [json.loads(line) for line in lines]
    order = _common_order([list(each) for each in objects])
    fields = {each.name: each for each in landed_fields(entity)}
    names = spellings(entity)
    if not order or len({names.get(key) for key in order}) != len(order):
        return None
    keys = []
    for text in order:
        kinds = {type(each[text]) for each in objects if text in each}
        writes_null = type(None) in kinds
        kinds.discard(type(None))
        if names.get(text) not in fields or len(kinds) > 1 or not kinds <= _KINDS.keys():
            return None
        keys.append(_Key(text, fields[names[text]], _KINDS[kinds.pop() if kinds else str], writes_null))
    if any(order[0] not in each for each in objects) or keys[0].writes_null:
        return None
    whole = "".join(f"{line}\n" for line in lines).encode()
    for colon, comma in _SPACINGS:
        form = CommonForm(entity, keys, colon, comma)
        if form.match(whole, len(lines))[0].num_rows * 2 > len(lines):
            return form
    return None


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


def _written(key: _Key, before: str, colon: str) -> pl.Expr:
    """A field as the line writes it, null where it leaves it out."""
    name = f"{before}{json.dumps(key.text)}{colon}"
    if key.kind == pl.String():
        text = pl.concat_str([pl.lit(f'{name}"'), pl.col(key.text), pl.lit('"')])
    else:
        text = pl.concat_str([pl.lit(name), pl.col(key.text).cast(pl.String)])
    return text.fill_null(f"{name}null") if key.writes_null else text


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
    return pc.fill_null(pc.equal(array, lines), False)


def _instants(texts: pa.Array) -> tuple[pa.Array, Mask]:
    """As `columns.instants`, of texts that may be null."""
    if not texts.null_count:
        return columns.instants(texts)
    values, mask = columns.instants(texts.drop_null())
    valid = texts.is_valid()
    place = pc.if_else(valid, pc.subtract(pc.cumulative_sum(valid.cast(pa.int64())), 1), pa.scalar(None, pa.int64()))
    return values.take(place), None if mask is None else pc.fill_null(mask.take(place), True)


def _value(key: _Key, acceptor: Acceptor, text: str | None) -> Any:
    """The value of a field whose JSON value was written so. Raises Rejected."""
    if text is None or key.kind == pl.String():
        return acceptor.value(key.field, text)
    return acceptor.value(key.field, text == "true" if key.kind == pl.Boolean() else int(text))
