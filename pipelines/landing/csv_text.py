"""CSV of the flat entities: a header with either spelling of the fields, quoting as in RFC 4180, empty cells null.

The standard library's reader is the definition. Blocks in which no cell needs its quotation marks, which is most of
them, are split by Arrow and read as columns; their lines that are not plainly good go back to the definition.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from pipelines.landing.batches import LINE_TOO_LONG, NOT_UTF8, Batch, Rows, is_utf8
from pipelines.landing.csv_cells import OTHER_HEADER, UNENDED, Header, OtherHeader, csv_reason
from pipelines.landing.csv_dialect import Dialect
from pipelines.landing.csv_quotes import without_quotes
from pipelines.landing.fast import BlockReading, is_fit
from pipelines.landing.lines import (
    LONG_LINE_TEXT_BYTES,
    MAX_LINE_BYTES,
    Block,
    CorruptBlock,
    Damage,
    LongLine,
    Piece,
    Values,
    has_lone_return,
    is_blank,
    lines_of,
)
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.ndjson import ReadLine, read_piece
from pipelines.landing.unreadable import ONLY_WHITE_SPACE
from pipelines.landing.values import Rejected

# Of one field. Records are cut off sooner (see _Lines); the reader's own limit must not be the lower one.
csv.field_size_limit(2 * MAX_LINE_BYTES)

_QUOTE = b'"'


def read_csv(
    entity: str, pieces: Iterable[Piece], fast: bool = True, mapping: EntityMapping = UNMAPPED
) -> Iterator[Batch]:
    """Accept or reject every record; `line` is the physical line on which it begins.

    `fast=False` asks the standard library's reader throughout, for the same result.
    """
    rows = Rows(entity, mapping)
    dialect = Dialect(mapping)
    lines = _Lines(pieces, dialect)
    header: Header | None = None
    has_begun = is_any_blank = False  # begun: also with a header that cannot be believed
    while (piece := lines.next_piece()) is not None:
        if isinstance(piece, Block) and is_blank(piece):  # between records, where a line can be blank
            rows.blank += piece.lines
            is_any_blank = True
            yield rows.batch()
            continue
        if isinstance(piece, CorruptBlock):
            read_piece(piece if has_begun else _without_first_line(piece), rows)
            has_begun = True
            yield rows.batch()
            continue
        by_columns = header if fast and header and header.is_by_columns else None
        if by_columns and isinstance(piece, Block):
            plain = _plain(piece, dialect)
            if plain is not None:
                read_line = by_columns.read_line if plain is piece else _line_reader(by_columns, piece)
                reading = BlockReading(plain, rows, read_line, dialect.special, separator=dialect.separator)
                reading.match(by_columns)
                with suppress(OtherHeader):
                    yield reading.finish()
                    continue
                rows = Rows(entity, mapping)  # read it again, record by record, up to that header
        lines.push(piece)
        while lines.any_left():
            try:
                before, header = header, _read_record(lines, header, rows)
            except OtherHeader as other:
                rows.give_up(other.line, OTHER_HEADER, other.text)
                yield rows.batch()
                return
            if header is not before:
                if header and header.problem:
                    yield rows.batch()
                    return
                has_begun = True
                lines.give_back()
            if rows.accepted + len(rows.rejected) >= _BATCH_RECORDS:
                yield rows.batch()
        yield rows.batch()
    if not has_begun and is_any_blank:
        rows.unreadable = ONLY_WHITE_SPACE
        yield rows.batch()


_BATCH_RECORDS = 20_000


def _plain(block: Block, dialect: Dialect) -> Block | None:
    """The same records, one a line, without quotation marks; None where they are not sure to be that.

    Lines with a backslash that may escape are left as they are, to be read one by one.
    """
    data = dialect.without_nulls(block.data)
    plain = block if data is block.data else Block(block.first_line, data, block.lines)
    if dialect.quote_byte in data:
        stripped = without_quotes(plain, dialect.separator) if dialect.quote_byte == _QUOTE else None
        if stripped is None:
            return None
        plain = stripped
    if dialect.escapes and (b"\\\n" in plain.data or b"\\\r" in plain.data):  # the record goes on
        return None
    unescaped = plain.data.replace(b"\\", b"/") if dialect.special == b"\\" else plain.data
    whole = Block(plain.first_line, unescaped, plain.lines)
    return plain if is_fit(whole, dialect.quote_byte, dialect.separator) else None


def _line_reader(header: Header, piece: Block) -> ReadLine:
    """What reads a line of a block as it landed, with its quotation marks."""
    landed = lru_cache(1)(lambda: lines_of(piece.data))

    def read_line(line: int, _: bytes, rows: Rows) -> None:
        header.read_line(line, landed()[line - piece.first_line], rows)

    return read_line


class CsvRecord(NamedTuple):
    """A record as it landed."""

    line: int  # on which it begins
    lines: int  # that it takes
    cells: list[str]
    problem: Rejected | None  # why it is none
    text: bytes


def csv_records(pieces: Iterable[Piece], mapping: EntityMapping = UNMAPPED) -> Iterator[CsvRecord]:
    """Every record as `read_csv` reads it, the header and blank lines too."""
    lines = _Lines(pieces, Dialect(mapping))
    while (piece := lines.next_piece()) is not None:
        lines.push(piece)
        while lines.any_left():
            yield _next_record(lines)


def _next_record(lines: _Lines) -> CsvRecord:
    line = lines.begin()
    problem: Rejected | None = None
    cells: list[str] = []
    try:
        cells = next(lines.records)
    except StopIteration:
        pass
    except csv.Error as error:
        problem = Rejected(None, csv_reason(error))
    except Rejected as error:
        problem = error
    if problem and problem.reason == UNENDED:  # one stray quotation mark costs its line, and none of those after it
        lines.give_back_all_but_the_first()
    elif lines.has_skipped:
        lines.begin_anew()
        return _next_record(lines)
    text = b"".join(lines.taken).removesuffix(b"\n")
    if problem is None and not is_utf8(text):
        problem = Rejected(None, NOT_UTF8)
    return CsvRecord(line, len(lines.taken), cells, problem, text)


def _read_record(lines: _Lines, header: Header | None, rows: Rows) -> Header | None:
    """Read the next record, which may be the header."""
    line, count, cells, problem, text = _next_record(lines)
    if lines.damage is not None:  # what it breaks off is no record of its own
        rows.give_up(lines.line, lines.damage)
        lines.damage = None
        return header
    if not text.strip() and (problem is None or problem.reason != LINE_TOO_LONG):
        rows.blank += count
        return header
    if header is None:
        header = Header(rows.acceptor.entity, None if problem else cells, rows.acceptor.mapping)
        if header.problem:  # safeguard: header-needs-its-fields
            rows.give_up(line, header.problem, text)
        return header
    header.read_record(line, cells, problem, text, rows)
    return header


class _Lines:
    """Physical lines for the CSV reader, and which of them a record was made of.

    Where a quoted cell does not end, the lines after its first are read again: as records of their own, in which cells
    may not end either. So that no line is read again for each of those, they are known to leave a cell open, and an
    open cell skips them.
    """

    def __init__(self, pieces: Iterable[Piece], dialect: Dialect) -> None:
        self.records = dialect.records(self)
        self.taken: list[bytes] = []  # the lines of the record that is being read, but for those that were skipped
        self.has_skipped = False
        self.line = 1  # the next line's number
        self.damage: str | None = None
        self._pieces: Iterator[Piece] = iter(pieces)
        self._given_back: list[Piece] = []  # the next one last
        self._open: deque[bytes] = deque()  # the next lines: a cell that is open before any of them is so after all
        self._open_bytes = 0
        self._waiting: deque[bytes | Piece] = deque()  # what comes after those
        self._taken_bytes = 0

    def next_piece(self) -> Piece | None:
        """The next piece of the file; only between records, when no line is left."""
        return self._given_back.pop() if self._given_back else next(self._pieces, None)

    def push(self, piece: Piece) -> None:
        """Let the lines of a piece be read."""
        if isinstance(piece, Block):
            self.line = piece.first_line
            self._waiting.extend(_lines(piece.data))
        else:
            assert not isinstance(piece, CorruptBlock | Values)
            self.line = piece.line
            self._waiting.append(piece)

    def give_back(self) -> None:
        """Make a piece again of the lines that wait; only between records."""
        self._close()
        if self._waiting and isinstance(self._waiting[0], bytes):
            data = b"".join(line for line in self._waiting if isinstance(line, bytes))
            self._given_back.append(Block(self.line, data, len(self._waiting)))
            self._waiting.clear()

    def give_back_all_but_the_first(self) -> None:
        """Let the lines that the record was made of, whose cell did not end, be read again, but for its first."""
        again = self.taken[1:]
        self._open.extend(again)
        self._open_bytes += sum(map(len, again))
        self.line -= len(again)
        self.taken = self.taken[:1]

    def begin_anew(self) -> None:
        """Let all lines of the record be read again, and none be skipped: it does end."""
        first, *after = self.taken
        self._waiting.extendleft(reversed(after))
        self._close()
        self._waiting.appendleft(first)
        self.line -= len(self.taken)

    def _close(self) -> None:
        self._waiting.extendleft(reversed(self._open))
        self._open.clear()
        self._open_bytes = 0

    def any_left(self) -> bool:
        """Whether a line waits to be read."""
        return bool(self._open or self._waiting)

    def begin(self) -> int:
        """Begin a record; returns the number of its first line."""
        self.taken, self._taken_bytes, self.has_skipped = [], 0, False
        return self.line

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._open and not self.taken:
            first = self._open.popleft()
            self._open_bytes -= len(first)
            return self._take(first)
        if self._open and not self.has_skipped:
            self.has_skipped = True
            self._taken_bytes += self._open_bytes
        if not self._waiting:
            piece = self.next_piece()
            if piece is None:
                raise StopIteration
            if not isinstance(piece, Block):
                self._given_back.append(piece)
                raise Rejected(None, UNENDED)
            self._waiting.extend(_lines(piece.data))
        following = self._waiting.popleft()
        if isinstance(following, bytes):
            if self._taken_bytes + len(following) - 1 <= MAX_LINE_BYTES:  # the newline does not count
                return self._take(following)
            if self.taken:
                self._waiting.appendleft(following)
                raise Rejected(None, UNENDED)
            following = LongLine(self.line, following[:LONG_LINE_TEXT_BYTES])
        if isinstance(following, LongLine):
            self.line += 1
            self.taken = [following.head]
            raise Rejected(None, LINE_TOO_LONG)
        assert isinstance(following, Damage)
        self.damage = following.reason
        raise StopIteration

    def _take(self, line: bytes) -> str:
        self.line += 1
        self.taken.append(line)
        self._taken_bytes += len(line)
        return line.decode("utf-8", "surrogateescape")


def _without_first_line(piece: CorruptBlock) -> CorruptBlock:
    """Without the header, which is no record."""
    block = piece.block
    return CorruptBlock(Block(block.first_line + 1, block.data.partition(b"\n")[2], block.lines - 1))


def _lines(data: bytes) -> list[bytes]:
    if has_lone_return(data):
        return _LINES.findall(data)
    lines = [line + b"\n" for line in data.split(b"\n")]
    if lines[-1] == b"\n":
        lines.pop()
    elif not data.endswith(b"\n"):
        lines[-1] = lines[-1][:-1]
    return lines


_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # a CR may stand in a quoted cell, and ends a line elsewhere
