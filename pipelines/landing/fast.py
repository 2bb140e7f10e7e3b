"""NDJSON at columnar speed, line by line only where a line is not like the others.

The rule that keeps it honest: this module may only say "yes, and these are the values" or "ask". A block of a flat
entity is read by the form that accepted lines of the file have in common (common_form.py), one of a nested entity by
what its lines are decoded as (json_columns.py). Every line that does not match to the letter, or
whose values are not plainly good, goes through the slow path.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.landing.batches import Batch, Rows, is_utf8, with_tables
from pipelines.landing.columns import text_bytes
from pipelines.landing.common_form import CommonForm, Matched, learn
from pipelines.landing.json_columns import JsonColumns
from pipelines.landing.lines import (
    MAX_LINE_BYTES,
    Block,
    Piece,
    Values,
    as_series,
    has_long_line,
    is_blank,
    line_starts,
    lines_of,
)
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.ndjson import ReadLine, read_line, read_piece, read_value
from pipelines.landing.records import Acceptor, count_unknown
from pipelines.landing.schema import FLAT_ENTITIES
from pipelines.landing.values import Rejected

PARSERS = max(1, min(4, os.cpu_count() or 1))  # blocks parsed at a time; each costs the memory of one
MIN_LINES = 48  # fewer are read one by one in less time than it takes to parse them
MAX_LESSONS = 16  # in a file of many writers; what has none of the forms is read line by line
SAMPLED_LINES = 256  # of a block, that a form is learned from

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Arrow would skip it
# Control characters and a byte order mark at the start of a line: not for this module.
_UNFIT = re.compile(rb"[\x00-\x1f]|^\xef\xbb\xbf")
NOT_IN_JSON = b"\\"  # escapes in strings: they would have to be resolved


def read_fast(entity: str, pieces: Iterator[Piece], mapping: EntityMapping = UNMAPPED) -> Iterator[Batch]:
    """Accept or reject every line, or value, in order; reading, parsing and what the caller does with a batch overlap.

    What is held at any time is a few blocks and what they became, however long the file. Raises NotByLine.
    """
    reader = FastReader(entity, mapping=mapping) if entity in FLAT_ENTITIES else JsonColumns(entity, mapping)
    reading = ThreadPoolExecutor(1, "read")
    parsing = ThreadPoolExecutor(PARSERS, "parse")
    with reading, parsing:
        batches: deque[Future[Batch]] = deque()
        following = reading.submit(next, pieces, None)
        while (piece := following.result()) is not None:
            following = reading.submit(next, pieces, None)
            batches.append(parsing.submit(_read_piece, reader, piece, mapping))
            if len(batches) > PARSERS:
                yield batches.popleft().result()
        while batches:
            yield batches.popleft().result()


class BlockReader(Protocol):
    """Reads the blocks of one file. Several threads may read blocks at once."""

    entity: str

    def read(self, block: Block, read_line: ReadLine = read_line) -> Batch:
        """The records of a block: what `read_piece` would give, sooner."""


def _read_piece(reader: BlockReader, piece: Piece, mapping: EntityMapping) -> Batch:
    """The records of a piece of the file."""
    if isinstance(piece, Block) and not is_blank(piece):
        return reader.read(piece)
    if isinstance(piece, Values) and piece.block.lines:
        return _with_lines(reader.read(piece.block, read_value), piece)
    rows = Rows(reader.entity, mapping)
    read_piece(piece, rows)
    return rows.batch()


class FastReader:
    """Reads the blocks of one file, learning its forms on the way. Several threads may read blocks at once."""

    def __init__(self, entity: str, min_lines: int = MIN_LINES, mapping: EntityMapping = UNMAPPED) -> None:
        self.entity = entity
        self._mapping = mapping
        self._min_lines = min_lines
        self._learning = threading.Lock()  # of what follows
        self._forms: tuple[CommonForm, ...] = ()  # the one that read most comes first
        self._lessons = MAX_LESSONS  # that are left
        self._columns = JsonColumns(entity, mapping)

    def read(self, block: Block, read_line: ReadLine = read_line) -> Batch:
        """The records of a block: what `read_piece` would give, sooner."""
        reading = BlockReading(block, Rows(self.entity, self._mapping), read_line, NOT_IN_JSON, self._min_lines)
        known = self._forms
        read: dict[CommonForm, int] = {}
        while len(reading.left) >= reading.min_lines and (form := self._next_form(reading, read)):
            before = len(reading.left)
            reading.match(form)
            read[form] = before - len(reading.left)
            if not read[form] and form not in known:
                break  # of the same lines the next lesson would be the same
        best = max(read, key=lambda form: read[form], default=None)
        with self._learning:
            if best is not None and best is not self._forms[0]:
                self._forms = (best, *(form for form in self._forms if form is not best))
        reading.decode(self._columns)
        return reading.finish()

    def _next_form(self, reading: BlockReading, tried: Collection[CommonForm]) -> CommonForm | None:
        """A form that has not been tried on a block: one that is known, or that of the lines that are left."""
        with self._learning:
            known = next((form for form in self._forms if form not in tried), None)
            if known is not None or not self._lessons:
                return known
            self._lessons -= 1
            acceptor = Acceptor(self.entity, self._mapping)
            learned = learn(self.entity, (line for line in reading.sample() if _accepts(acceptor, line)), self._mapping)
            if learned is not None:
                self._forms = (*self._forms, learned)
            return learned


def _with_lines(batch: Batch, values: Values) -> Batch:
    """The records of a block of values with the lines on which they begin in the file."""
    at = batch.accepted.schema.get_field_index("line")
    lines = values.lines.take(pc.subtract(batch.accepted.column(at), 1).combine_chunks())
    return replace(
        batch,
        accepted=batch.accepted.set_column(at, batch.accepted.schema.field(at), lines),
        rejected=[each._replace(line=values.lines[each.line - 1].as_py()) for each in batch.rejected],
        blank=batch.blank + values.blank,
    )


class TextMatcher(Protocol):
    """Reads the lines of a text that it knows for sure, and leaves the others."""

    def match(self, data: bytes, count: int) -> Matched:
        """Read those of the `count` lines in `data` that match."""


class BlockReading:
    """One block on its way: the lines that are left to read, the tables read, the rows of the slow path.

    `read_line` is the slow path; lines with the byte `special` go there at once.
    """

    def __init__(
        self,
        block: Block,
        rows: Rows,
        read_line: ReadLine,
        special: bytes,
        min_lines: int = MIN_LINES,
        separator: bytes = b",",
    ) -> None:
        self.left = pa.arange(0, block.lines)  # lines within the block, from 0
        self._block = block
        self._rows = rows
        self._read_line = read_line
        self.min_lines = max(min_lines, 1)
        self._tables: list[pa.Table] = []
        self._starts: pa.Array | None = None  # of the lines, within the block, and where it ends
        self._whole = is_fit(block, special, separator)
        if not self._whole:
            self._read_unfit(special, separator)

    def match(self, matcher: TextMatcher) -> None:
        """Read the lines that the matcher knows."""
        if len(self.left) < self.min_lines:
            return
        data = self._block.data if self._whole else text_bytes(self._lines_left())
        table, places, unknown = matcher.match(data, len(self.left))
        if not table.num_rows:
            return
        lines = pc.add(self.left if places is None else self.left.take(places), self._block.first_line)
        self._tables.append(table.append_column("line", lines))
        for name, times in unknown.items():
            count_unknown(self._rows.acceptor.unknown_fields, name, times)
        if places is None:
            self.left = self.left.slice(0, 0)
        else:
            others = pc.invert(pc.is_in(pa.arange(0, len(self.left)), places))
            self.left = self.left.filter(others)
        self._whole = False

    def decode(self, json_columns: JsonColumns) -> None:
        """Read the lines that can be decoded and written back."""
        if len(self.left) < self.min_lines:
            return
        lines = [line.removesuffix(b"\n").removesuffix(b"\r") for line in self._lines_left().to_pylist()]
        tables, left = json_columns.match(lines, 0, self._rows)
        numbers = pc.add(self.left, self._block.first_line)
        for table in tables:
            places = table.column("line").combine_chunks()
            self._tables.append(table.drop_columns("line").append_column("line", numbers.take(places)))
        self.left = self.left.take(pa.array(left, pa.int64()))

    def sample(self) -> list[str]:
        """Some of the lines that are left, from all over the block."""
        every = max(1, len(self.left) // SAMPLED_LINES)
        lines = self._lines_left().cast(pa.string()).take(pa.arange(0, len(self.left), every))
        return [line.removesuffix("\n").removesuffix("\r") for line in lines.to_pylist()]

    def finish(self) -> Batch:
        """Read what is left line by line; everything in landed order."""
        for number in self.left.to_pylist():
            self._read(number)
        return with_tables(self._rows.batch(), self._tables)

    def _read_unfit(self, special: bytes, separator: bytes) -> None:
        """Leave to the slow path what must not be split: control characters, `special`, bytes that are no UTF-8."""
        fit: list[int] = []
        for number, landed in enumerate(lines_of(self._block.data)):
            line = landed.removesuffix(b"\r")
            is_unfit = _UNFIT.search(line if separator >= b" " else line.replace(separator, b","))
            if special in line or is_unfit or len(line) >= MAX_LINE_BYTES or not is_utf8(line):
                self._read(number)
            else:
                fit.append(number)
        self.left = pa.array(fit, pa.int64())

    def _read(self, number: int) -> None:
        self._read_line(self._block.first_line + number, self._line(number), self._rows)

    def _line(self, number: int) -> bytes:
        starts = self._line_starts()
        return self._block.data[starts[number].as_py() : starts[number + 1].as_py()].removesuffix(b"\n")

    def _lines_left(self) -> pa.Array:
        """The lines that are left, each with its newline, as binary."""
        starts = self._line_starts()
        data = pa.py_buffer(self._block.data)
        return pa.Array.from_buffers(pa.binary(), len(starts) - 1, [None, starts.buffers()[1], data]).take(self.left)

    def _line_starts(self) -> pa.Array:
        if self._starts is None:
            self._starts = line_starts(self._block.data)
        return self._starts


def _accepts(acceptor: Acceptor, line: str) -> bool:
    try:
        acceptor.accept_json(line)
    except Rejected:
        return False
    return True


def is_fit(block: Block, special: bytes, separator: bytes = b",") -> bool:
    """Whether a block holds nothing that must not be split; looks at it as a whole.

    `separator` stands between the values of a line, and may be a control character.
    """
    data = block.data
    if special in data or data.startswith((b"\n", b"\r")) or b"\n\n" in data or b"\n\r" in data:  # or a blank line
        return False
    if not data.isascii() and (
        not is_utf8(data) or data.startswith(_BYTE_ORDER_MARK) or b"\n" + _BYTE_ORDER_MARK in data
    ):
        return False
    returns = data.count(b"\r") if b"\r" in data else 0
    if returns and data.count(b"\r\n") != returns:
        return False
    newlines = block.lines - (not data.endswith(b"\n"))
    separators = data.count(separator) if separator < b" " else 0
    if (as_series(data) < 0x20).sum() != newlines + returns + separators:
        return False
    return not has_long_line(data)
