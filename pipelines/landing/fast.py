"""NDJSON at columnar speed, line by line only where a line is not like the others.

The rule that keeps it honest: this module may only say "yes, and these are the values" or "ask". A block of a flat
entity is read by the form that accepted lines of the file have in common (common_form.py), one of a nested entity by
what its lines are decoded as (json_columns.py). Every line that does not match to the letter, or
whose values are not plainly good, goes through the slow path.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Protocol

import polars as pl
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
from pipelines.landing.schema import FLAT_ENTITIES, RAW_SCHEMAS
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
    first, second = next(pieces, None), next(pieces, None)
    if first is None or second is None:  # a small file: threads would cost more than they save
        if first is not None:
            yield _read_piece(reader, first, mapping)
        return
    pieces = chain((first, second), pieces)
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
        # Of an erasure every field is looked at: see Acceptor.accept.
        self._min_lines = min_lines if entity != "erasures" else sys.maxsize
        self._learning = threading.Lock()  # of what follows
        self._forms: tuple[CommonForm, ...] = ()  # the one that read most comes first
        self._lessons = MAX_LESSONS  # that are left
        self._columns = JsonColumns(entity, mapping)

    def read(self, block: Block, read_line: ReadLine = read_line) -> Batch:
        """The records of a block: what `read_piece` would give, sooner."""
        reading = BlockReading(block, Rows(self.entity, self._mapping), read_line, NOT_IN_JSON, self._min_lines)
        self._match(reading)
        reading.decode(self._columns)
        return reading.finish()

    def read_texts(self, texts: Sequence[bytes]) -> TextsRead:
        """Read whole texts, each of a file of its own, at once: those of which every line is of one of the forms.

        Nothing is said about the others: they are to be read one by one. Forms are learned anew from time to time, so
        that a reader serves any number of texts.
        """
        with self._learning:
            self._forms, self._lessons = self._forms[:MAX_LESSONS], MAX_LESSONS
        lines = [text.count(b"\n") + (not text.endswith(b"\n")) for text in texts]
        fit = [number for number, text in enumerate(texts) if text]
        block = _joined(texts, lines, fit)
        if not is_fit(block, NOT_IN_JSON):
            fit = [number for number in fit if is_fit(Block(1, texts[number], lines[number]), NOT_IN_JSON)]
            block = _joined(texts, lines, fit)
            if not is_fit(block, NOT_IN_JSON):
                fit = []
        if not fit:
            return TextsRead(frozenset(), RAW_SCHEMAS[self.entity].empty_table(), pa.array([], pa.int64()), {})
        reading = BlockReading(block, Rows(self.entity, self._mapping), read_value, NOT_IN_JSON, self._min_lines)
        self._match(reading)
        of_line = (
            pl.select(pl.Series(fit, dtype=pl.Int64).repeat_by(pl.Series([lines[number] for number in fit])).explode())
            .to_series()
            .to_arrow()
        )
        starts: list[int] = [0] * len(texts)
        for number, start in zip(fit, accumulate((lines[number] for number in fit), initial=0), strict=False):
            starts[number] = start
        return reading.by_text(frozenset(fit), of_line, pa.array(starts, pa.int64()))

    def _match(self, reading: BlockReading) -> None:
        """Read the lines of a block that have a form, known or learned."""
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


@dataclass(frozen=True)
class TextsRead:
    """What was read of several texts at once."""

    texts: frozenset[int]  # which of them were read, whole: each of their lines is a row
    rows: pa.Table  # of the entity's raw schema; `line` as in the text
    text_of_row: pa.Array  # in ascending order
    unknown: Mapping[int, Counter[str]]  # of the texts that have any: fields that the contract does not know


def _joined(texts: Sequence[bytes], lines: Sequence[int], which: Sequence[int]) -> Block:
    data = b"".join(text if text.endswith(b"\n") else text + b"\n" for text in (texts[number] for number in which))
    return Block(1, data, sum(lines[number] for number in which))


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
        self._unknown: list[Mapping[str, pa.Array]] = []  # of each table
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
        self._unknown.append(unknown)
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
        for unknown in self._unknown:
            for name, has_it in unknown.items():
                count_unknown(self._rows.acceptor.unknown_fields, name, has_it.true_count)
        for number in self.left.to_pylist():
            self._read(number)
        return with_tables(self._rows.batch(), self._tables)

    def by_text(self, texts: frozenset[int], of_line: pa.Array, starts: pa.Array) -> TextsRead:
        """What was read of a block that is fit, by the text that each of its lines is of; without texts of which a
        line is left."""
        texts -= frozenset(pc.unique(of_line.take(self.left)).to_pylist())  # safeguard: texts-read-whole-or-not-at-all
        schema = RAW_SCHEMAS[self._rows.acceptor.entity]
        rows = with_tables(self._rows.batch(), self._tables).accepted
        text_of_row = of_line.take(pc.subtract(rows.column("line").combine_chunks(), 1))
        is_read = pc.is_in(text_of_row, pa.array(sorted(texts), pa.int64()))
        rows, text_of_row = rows.filter(is_read), text_of_row.filter(is_read)
        at = schema.get_field_index("line")
        lines = pc.subtract(rows.column("line").combine_chunks(), starts.take(text_of_row)).cast(schema.field(at).type)
        counts: dict[int, Counter[str]] = defaultdict(Counter)
        for table, unknown in zip(self._tables, self._unknown, strict=True):
            its_texts = of_line.take(pc.subtract(table.column("line").combine_chunks(), 1))
            for name, has_it in unknown.items():
                for found in pc.value_counts(its_texts.filter(has_it)).to_pylist():
                    if found["values"] in texts:
                        count_unknown(counts[found["values"]], name, found["counts"])
        return TextsRead(texts, rows.set_column(at, schema.field(at), lines), text_of_row, counts)

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
