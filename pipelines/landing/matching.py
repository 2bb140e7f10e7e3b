"""Compare whole blocks of lines with a template, and read the slots of those that match as typed columns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipelines.landing import columns
from pipelines.landing.columns import Mask
from pipelines.landing.records import Acceptor
from pipelines.landing.schema import RAW_SCHEMAS, landed_fields
from pipelines.landing.templates import QUOTE, Slot, Template
from pipelines.landing.values import Rejected, parse_json


class Matcher:
    """Reads blocks of lines by one template. Several threads may match blocks at once."""

    def __init__(self, entity: str, template: Template) -> None:
        self.template = template
        self.unknown = template.unknown
        self._entity = entity
        self._acceptor = Acceptor(entity)
        self._schema = RAW_SCHEMAS[entity].remove(RAW_SCHEMAS[entity].get_field_index("line"))
        self._slots = {slot.field.column: slot for slot in template.slots if slot.field is not None}
        self._unknown_slots = [slot for slot in template.slots if slot.field is None and not slot.is_text]
        self._fixed = {number: _Fixed(text.encode()) for number, text in template.fixed.items()}

    def match(self, data: bytes, count: int) -> tuple[pa.Table, pa.Array | None]:
        """Read the lines in `data` that match: their rows without `line`, and which lines they are (None: all).

        `data` holds `count` lines of valid UTF-8 without backslashes and without other control characters than their
        ends. Nothing is said about the lines left out.
        """
        pieces, places = split(data, QUOTE, self.template.pieces)
        mask: Mask = None
        for number, fixed in self._fixed.items():
            mask = columns.both(mask, fixed.matches(pieces[number]))
        pieces, places = _narrowed(pieces, places, mask, set(self._fixed))
        values, mask = self._values(pieces)
        table = pa.Table.from_arrays([values[name] for name in self._schema.names], schema=self._schema)
        if mask is not None:
            table = table.filter(mask)
            places = filtered(places, mask)
        return table, None if places is None or len(places) == count else places

    def _values(self, pieces: list[pa.Array]) -> tuple[dict[str, pa.Array], Mask]:
        rows = len(pieces[0])
        mask: Mask = None
        values: dict[str, pa.Array] = {}
        for field in landed_fields(self._entity):
            slot = self._slots.get(field.column)
            kind = self._schema.field(field.column).type
            if slot is None:
                values[field.column] = constant(field.default, kind, rows)
                continue
            values[field.column], good = self._slot_values(slot, pieces[slot.piece], kind)
            mask = columns.both(mask, good)
        for slot in self._unknown_slots:
            _, good = columns.by_distinct_value(pieces[slot.piece], pa.null(), self._judge(slot), slot.known)
            mask = columns.both(mask, good)
        mask = columns.both(mask, columns.rules_hold(self._entity, values))
        return values, None if mask is None else pc.fill_null(mask, False)

    def _slot_values(self, slot: Slot, piece: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
        assert slot.field is not None
        if slot.is_text:
            return piece, None if slot.field.may_be_empty else columns.not_empty(piece)
        if slot.is_instant:
            return columns.instants(piece)
        return columns.by_distinct_value(piece, kind, self._judge(slot), slot.known)

    def _judge(self, slot: Slot) -> Callable[[str], Any]:
        return functools.partial(_slot_value, slot, self._acceptor)


def _slot_value(slot: Slot, acceptor: Acceptor, piece: str) -> Any:
    """The value that one piece holds in a slot, by the slow path's own rules. Raises Rejected."""
    landed: Any = piece
    if not slot.is_string:
        end = len(piece) - len(slot.after)
        inner = piece[len(slot.before) : end]
        if not piece.startswith(slot.before) or not piece.endswith(slot.after) or inner != inner.strip():
            raise Rejected(None, "another template")
        landed = parse_json(inner)
        if isinstance(landed, dict | list | str):
            raise Rejected(None, "another template")
    for wrapper in reversed(slot.wrappers):
        landed = {wrapper: landed}
    return None if slot.field is None else acceptor.value(slot.field, landed)


class _Repeated(NamedTuple):
    """The buffers of a string array that holds one text in every row."""

    rows: int
    offsets: pa.Buffer
    data: pa.Buffer


class _Fixed:
    """A piece that is the same in every line, compared as whole buffers. Threads share it."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._expected = _Repeated(0, pa.py_buffer(b""), pa.py_buffer(b""))  # replaced as a whole, never changed

    def matches(self, column: pa.Array) -> Mask:
        """Where a column holds the piece; None for everywhere."""
        rows = len(column)
        if not rows:
            return None
        _, offsets, data = column.buffers()
        expected = self._repeated(rows)
        size = rows * len(self._text)
        if (
            column.offset == 0
            and data is not None
            and data.size >= size
            and offsets.slice(0, 4 * (rows + 1)).equals(expected.offsets.slice(0, 4 * (rows + 1)))
            and data.slice(0, size).equals(expected.data.slice(0, size))
        ):
            return None
        return columns.none_if_all(pc.equal(column, pa.scalar(self._text.decode())))

    def _repeated(self, rows: int) -> _Repeated:
        """The text in at least so many rows."""
        expected = self._expected
        if expected.rows < rows:
            most = rows + rows // 4
            offsets = pc.multiply(pa.arange(0, most + 1), len(self._text)).cast(pa.int32()).buffers()[1]
            expected = self._expected = _Repeated(most, offsets, pa.py_buffer(self._text * most))
        return expected


def split(data: bytes, separator: str, pieces: int) -> tuple[list[pa.Array], pa.Array | None]:
    """Split every line at `separator`: the columns of the lines of just so many pieces, and which (None: all).

    Where Arrow does not take the text at all, no line is.
    """
    others: list[int] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        others.append(row.number - 1)
        return "skip"

    names = [str(number) for number in range(pieces)]
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(data),
            read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), check_utf8=False
            ),
        )
    except pa.ArrowInvalid:
        return [pa.array([], pa.string()) for _ in names], pa.array([], pa.int64())
    arrays = [column.combine_chunks() for column in table.columns]
    if not others:
        return arrays, None
    everything = pa.arange(0, table.num_rows + len(others))
    return arrays, everything.filter(pc.invert(pc.is_in(everything, pa.array(others, pa.int64()))))


def constant(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    """A column that holds one value, or null, in every row."""
    return pa.nulls(rows, kind) if value is None else pa.repeat(pa.scalar(value, kind), rows)


def _narrowed(
    pieces: list[pa.Array], places: pa.Array | None, mask: Mask, done: set[int]
) -> tuple[list[pa.Array], pa.Array | None]:
    if mask is None:
        return pieces, places
    places = filtered(places, mask)
    return [piece if number in done and number else piece.filter(mask) for number, piece in enumerate(pieces)], places


def filtered(places: pa.Array | None, mask: pa.Array) -> pa.Array:
    """The places (None: all) where the mask is good."""
    return (pa.arange(0, len(mask)) if places is None else places).filter(mask)
