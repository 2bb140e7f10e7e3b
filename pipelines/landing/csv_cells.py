"""The header of a CSV file, and what the cells of its records hold: of one record, or of a block, column by column."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipelines.landing import columns
from pipelines.landing.batches import Rows
from pipelines.landing.columns import Mask
from pipelines.landing.common_form import Matched
from pipelines.landing.csv_dialect import BACKSLASH_OPEN, Dialect
from pipelines.landing.lines import (
    MAX_LINE_BYTES,
)
from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.records import IDS_OF_PERSONS, ROUNDED_ID, Acceptor
from pipelines.landing.schema import RAW_SCHEMAS, RECORDS, Instant, LandedField, Money, landed_fields
from pipelines.landing.unreadable import HEADER_UNREADABLE, ZEROS, lacking
from pipelines.landing.values import MAX_NUMBER_CHARS, Number, Rejected, shown_object_id

COLUMN_TWICE = "the header has a column twice"
HEADER_AGAIN = "the header again: files were put together"
OTHER_HEADER = "a header of other columns begins in the middle: land each of the files that were put together by itself"
SWALLOWED = "a quotation mark before it makes it a part of another record"
WRONG_CELLS = "not as many cells as the header has"
NOT_CSV = "not valid CSV"
_CSV_REASONS = {
    "unexpected end of data": "a quoted cell does not end",
    "new-line": "a carriage return outside of quotes",
}
# An id as it is once a spreadsheet (1.23456789012346E+018), or a column of floating-point numbers (7.0), has held it.
# An id of letters and digits has no sign in it: 12e4 may be one.
_REWRITTEN_ID = re.compile(r"-?(?:[1-9][0-9]*\.0|[0-9][.,][0-9]+[eE]\+[0-9]+)")
_WITH_EXPONENT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?[eE][+-]?[0-9]+")
UNENDED = f"{NOT_CSV}: {_CSV_REASONS['unexpected end of data']}"


class OtherHeader(Exception):
    """In the middle of a file stands the header of one with other columns, or in another order."""

    def __init__(self, line: int, text: bytes) -> None:
        super().__init__(line)
        self.line = line
        self.text = text


class Header:
    """The columns of one file, and how a record is read by them."""

    def __init__(self, entity: str, names: list[str] | None, mapping: EntityMapping = UNMAPPED) -> None:
        """`names` as landed; None for a header that is not CSV or not UTF-8."""
        self.problem: str | None = None  # why the file cannot be read
        self.unknown: tuple[str, ...] = ()
        self._entity = entity
        self._mapping = mapping
        self._dialect = Dialect(mapping)
        self._acceptor = Acceptor(entity, mapping)
        self._constants: dict[str, Any] | None = None  # by column, what stands in folders; None: read record by record
        self._names = _unmarked(names or [])
        self._fields: list[LandedField | None] = []
        if names is None:
            self.problem = HEADER_UNREADABLE
            return
        known = mapped_spellings(entity, mapping)
        by_name = {each.name: each for each in landed_fields(entity)}
        self._fields = [by_name.get(known.get(name, "")) for name in self._names]
        self.unknown = tuple(name for name, each in zip(self._names, self._fields, strict=True) if each is None)
        self.problem = self._problem()
        self._known = {name: columns.ValueCache() for name in by_name}
        self._spellings = known
        self._required = {each.name for each in by_name.values() if each.required}
        self._required -= {field for field, _ in mapping.in_folders}
        # Where any text is a good value of all that a record needs, a header would be taken for one.
        needs_looks = all(each.kind is str and not each.choices for each in by_name.values() if each.required)
        self._looked_at = next((each for each in self._fields if each and each.name in self._required), None)
        self._looked_at = self._looked_at if needs_looks else None
        landed = {each.name for each in self._fields if each is not None}
        if not landed & {field for field, _ in mapping.in_folders}:
            with suppress(Rejected):
                self._constants = self._acceptor.folder_values()

    @property
    def is_by_columns(self) -> bool:
        """Whether records may be read as columns."""
        is_looked_at = self._entity == "erasures" and bool(self.unknown)
        return self.problem is None and self._constants is not None and not is_looked_at

    def _problem(self) -> str | None:
        given = [each.name for each in self._fields if each is not None]
        if len(set(given)) < len(given) or len(set(self.unknown)) < len(self.unknown):
            return COLUMN_TWICE
        given += [field for field, _ in self._mapping.in_folders]
        missing = [each.name for each in landed_fields(self._entity) if each.required and each.name not in given]
        return lacking(missing) if missing else None

    def read_line(self, line: int, landed: bytes, rows: Rows) -> None:
        """Accept or reject a record that stands on one line. The slow path of a fast block."""
        if not landed.strip():
            rows.blank += 1
            return
        problem = None
        cells: list[str] = []
        try:
            cells = next(self._dialect.records([landed.decode()]))
        except csv.Error as error:
            problem = Rejected(None, csv_reason(error))
        except Rejected as error:
            problem = error
        self.read_record(line, cells, problem, landed, rows)

    def read_record(self, line: int, cells: list[str], problem: Rejected | None, text: bytes, rows: Rows) -> None:
        """Accept or reject one record. Raises OtherHeader."""
        try:
            if b"\n" in text or b"\r" in text.rstrip(b"\r"):
                swallowed = self._swallowed(line, text, rows.acceptor)
                if swallowed:  # safeguard: swallowed-records-are-counted
                    for number, each in swallowed:
                        rows.reject(number, None, SWALLOWED, each)
                    return
            if problem:
                raise problem
            if b"\0\0\0\0\0\0\0\0" in text:
                raise Rejected(None, ZEROS)
            if self._is_header(cells):
                if self._fields_of(cells) != self._fields:  # safeguard: other-header-ends-the-file
                    raise OtherHeader(line, text)
                raise Rejected(None, HEADER_AGAIN)
            if len(cells) != len(self._names):
                raise Rejected(None, WRONG_CELLS)
            if self._dialect.is_backslash_open and b"\\" in text:  # safeguard: backslash-is-not-guessed
                self._check_backslashes(cells)
            landed = {
                name: self._value(field, cell)
                for name, field, cell in zip(self._names, self._fields, cells, strict=True)
            }
            rows.accept(line, rows.acceptor.accept(landed))
        except Rejected as error:
            rows.reject(line, error.field, error.reason, text[:MAX_LINE_BYTES])

    def _fields_of(self, cells: Sequence[str]) -> list[LandedField | None]:
        by_name = {each.name: each for each in landed_fields(self._entity)}
        return [by_name.get(self._spellings.get(cell, "")) for cell in _unmarked(cells)]

    def _is_header(self, cells: Sequence[str]) -> bool:
        """Whether a record names the fields that each file has to have."""
        return self._required <= {self._spellings.get(cell) for cell in _unmarked(cells)}

    def _swallowed(self, line: int, text: bytes, acceptor: Acceptor) -> list[tuple[int, bytes]]:
        """The lines of a record that would be good ones by themselves, but for their quotation marks.

        None where its first line is none of them: then a cell may hold a line end, and what is behind it looks like a
        record by chance.
        """
        found = []
        for number, each in enumerate(re.split(rb"\r\n|\r|\n", text)):
            if self._is_good(each.replace(self._dialect.quote_byte, b""), acceptor):
                found.append((line + number, each))
            elif not number:
                return []
        return found if len(found) > 1 else []

    def _is_good(self, text: bytes, acceptor: Acceptor) -> bool:
        """Whether it is a good record that has more in it than texts, which may be anything."""
        try:
            cells = next(self._dialect.records([text.decode()]), [])
            if len(cells) != len(self._names):
                return False
            known = [(field, cell) for field, cell in zip(self._fields, cells, strict=True) if field]
            acceptor.accept({field.name: self._value(field, cell) for field, cell in known})
        except (csv.Error, UnicodeDecodeError, Rejected):
            return False
        return any(cell and (field.kind is not str or field.choices) for field, cell in known)

    def _value(self, field: LandedField | None, cell: str) -> Any:
        value = cell_value(field, cell)
        if field is None or not field.is_id or type(value) is not str or not _REWRITTEN_ID.fullmatch(value):
            return value
        is_said = cell in (self._mapping.null or ()) or (field.column in IDS_OF_PERSONS and ROUNDED_ID.fullmatch(cell))
        return value if is_said else Number(cell)  # safeguard: rewritten-id-rejected

    def _check_backslashes(self, cells: list[str]) -> None:
        null = self._mapping.null or ()
        for field, cell in zip(self._fields, cells, strict=True):
            if field is not None and "\\" in cell and cell not in null:
                raise Rejected(field.name, BACKSLASH_OPEN)

    def match(self, data: bytes, count: int) -> Matched:
        """The fast path: lines without quotation marks as columns. As TextMatcher.match says."""
        cells, places = _split(data, len(self._names), self._dialect.delimiter)
        by_column = {each.column: cell for each, cell in zip(self._fields, cells, strict=True) if each}
        schema = RAW_SCHEMAS[self._entity].remove(RAW_SCHEMAS[self._entity].get_field_index("line"))
        constants = self._constants or {}
        mask: Mask = None
        if len(self._names) == 1:  # an empty cell, or an empty line
            mask = columns.not_empty(cells[0])
        values: dict[str, pa.Array] = {}
        for field in landed_fields(self._entity):
            kind = schema.field(field.column).type
            if field.column not in by_column:
                constant = constants.get(field.column, field.default)
                values[field.column] = columns.constant(constant, kind, len(cells[0]))
                if field.required and constant is None:
                    mask = pa.repeat(False, len(cells[0]))
                continue
            column = by_column[field.column]
            if field is self._looked_at:  # safeguard: header-again-is-no-record
                mask = columns.both(mask, pc.invert(pc.is_in(column, pa.array(list(self._spellings), pa.string()))))
            if field.kind is str and (pc.max(pc.binary_length(column)).as_py() or 0) >= _SHOWN_OBJECT_ID_CHARS:
                mask = columns.both(mask, pc.invert(pc.starts_with(column, _OBJECT_ID)))
            values[field.column], good = self._typed(field, column, kind)
            mask = columns.both(mask, good)
        mask = columns.both(mask, columns.none_if_all(RECORDS[self._entity].hold(values)))
        table = pa.Table.from_arrays([values[name] for name in schema.names], schema=schema)
        if mask is not None:
            mask = pc.fill_null(mask, False)
            places = columns.filtered(places, mask)
            table = table.filter(mask)
        places = None if places is None or len(places) == count else places
        in_every_row = columns.constant(value=True, kind=pa.bool_(), rows=table.num_rows)
        return Matched(table, places, dict.fromkeys(self.unknown, in_every_row))

    def _typed(self, field: LandedField, cells: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
        if self._mapping.null:
            cells = pc.fill_null(columns.without_null_spellings(cells, self._mapping.null), "")
        filled = columns.not_empty(cells)
        if field.kind is str and not field.choices:
            if filled is not None and field.default != "" and not field.required:
                cells = pc.if_else(filled, cells, None)
            fit = columns.fits(cells, field, is_null_named=self._mapping.null is not None)
            return cells, columns.both(fit, _not_rewritten(cells)) if field.is_id else fit
        if field.kind is Instant:
            if filled is None:
                return columns.instants(cells, self._acceptor.instant)
            values, good = columns.instants(cells.filter(filled), self._acceptor.instant)
            spread = pc.replace_with_mask(pa.nulls(len(cells), kind), filled, values)
            if good is not None:
                good = pc.replace_with_mask(pa.repeat(True, len(cells)), filled, good)
            return spread, columns.both(good, filled if field.required else None)

        def value_of(cell: str) -> Any:
            return self._acceptor.value(field, cell_value(field, cell))

        return columns.by_distinct_value(cells, kind, value_of, self._known[field.name])


def _unmarked(names: Sequence[str]) -> Sequence[str]:
    """The names of columns, the first without the byte order mark of a file that others were put before."""
    return [names[0].lstrip("\ufeff"), *names[1:]] if names and names[0].startswith("\ufeff") else names


def _not_rewritten(cells: pa.Array) -> Mask:
    """Where ids are none that a spreadsheet has rewritten."""
    if not pc.or_(pc.ends_with(cells, ".0"), pc.match_substring(cells, "+")).true_count:
        return None
    is_rewritten = pc.match_substring_regex(cells, f"^(?:{_REWRITTEN_ID.pattern})$")
    return columns.none_if_all(pc.invert(pc.fill_null(is_rewritten, False)))


def _split(data: bytes, cells: int, delimiter: str) -> tuple[list[pa.Array], pa.Array | None]:
    """Split every line at its delimiters: the columns of the lines of just so many cells, and which (None: all).

    Where Arrow does not take the text at all, no line is.
    """
    others: list[int] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        others.append(row.number - 1)
        return "skip"

    names = [str(number) for number in range(cells)]
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(data),
            read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=skip
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


def cell_value(field: LandedField | None, cell: str) -> Any:
    """What a cell holds, as it would have landed in JSON."""
    if field is None or cell == "":
        return None
    if field.kind is str and cell.startswith(_OBJECT_ID):
        return shown_object_id(cell) or cell
    if field.kind is Money and len(cell) <= MAX_NUMBER_CHARS and _WITH_EXPONENT.fullmatch(cell):  # R writes 1e+05
        return Number(cell)
    return cell


_OBJECT_ID = "ObjectI"  # so it begins, as mongoexport writes it
_SHOWN_OBJECT_ID_CHARS = 34  # or two more, with quotation marks


def csv_reason(error: csv.Error) -> str:
    """Why a record is no CSV."""
    message = str(error)
    for start, reason in _CSV_REASONS.items():
        if message.startswith(start):
            return f"{NOT_CSV}: {reason}"
    return f"{NOT_CSV}: something follows a quoted cell" if "expected after" in message else f"{NOT_CSV}: {message}"
