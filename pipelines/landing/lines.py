"""Lines out of a stream of bytes, in bounded memory: blocks of whole lines, and lines too long to keep."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from pipelines.landing.files import CorruptionStart, DamagedArchive

MAX_LINE_BYTES = 1 << 20  # the largest real line seen is 2 kB; bounds the memory that one line can take
LONG_LINE_TEXT_BYTES = 1 << 16  # what is kept of a longer one
BLOCK_LINES = 1 << 17  # however short they are: each line that is rejected, or just looked at, costs some memory
BLOCK_BYTES = 16 << 20  # so that each of dozens of shapes of lines has enough of them to be read as columns

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CORRUPT_ARCHIVE = "the archive is not what its checksum says: no line of it can be believed"
_LONE_RETURN = re.compile(rb"\r(?!\n)")  # ends a line, too
_LINE_END = re.compile(rb"\n|\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines; only the last line of a file may lack its newline."""

    first_line: int  # 1-based
    data: bytes
    lines: int


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than MAX_LINE_BYTES, of which only the beginning is kept."""

    line: int
    head: bytes
    parts: Iterator[bytes] = field(default=iter(()), compare=False, repr=False)  # all of it, until the next piece
    is_value: bool = False  # or what is left of a line behind other values


@dataclass(frozen=True, slots=True)
class Damage:
    """The archive that holds the file is damaged from this line on."""

    line: int
    reason: str
    corruption: CorruptionStart | None = None  # None: what came before it can be believed


@dataclass(frozen=True, slots=True)
class CorruptBlock:
    """Lines of an archive that does not match its checksum: the text in them may be anything."""

    block: Block


@dataclass(frozen=True, slots=True)
class Values:
    """JSON values that did not stand one a line, in a block in which they do."""

    block: Block
    lines: pa.Array  # on which they begin
    blank: int  # lines without anything, since the values before


Piece = Block | LongLine | Damage | CorruptBlock | Values


def blocks_of_lines(
    chunks: Iterable[bytes], block_bytes: int = BLOCK_BYTES, block_lines: int = BLOCK_LINES, *, quotes: bool = False
) -> Iterator[Piece]:
    """Cut a stream into blocks of whole lines, of about `block_bytes` and no more than `block_lines`.

    Lines end with LF, CRLF or CR. A byte order mark at the start of the stream is dropped, and a CR becomes an LF; with
    `quotes` it stays from the first quotation mark on, since it may stand in a quoted cell.

    What is held at any time is a block and a line. Where `chunks` raises DamagedArchive the whole lines before that
    are yielded, then Damage in place of the line that breaks off, and that is the end.
    """
    line = 1
    pending = [b""]
    size = 0
    following = _Chunks(with_line_feeds(chunks, quotes=quotes))
    try:
        for chunk in following:
            pending.append(chunk)
            size += len(chunk)
            if size < block_bytes:
                continue
            data, rest = _whole_lines(pending)
            if data:
                block = Block(line, data, newlines(data, returns=quotes))
                yield from _of_few_lines(block, block_lines)
                line += block.lines
            pending, size = [rest], len(rest)
            if len(rest) > MAX_LINE_BYTES:
                pending, size = [b""], 0
                parts = following.line(rest)
                yield LongLine(line, rest[:LONG_LINE_TEXT_BYTES], parts)
                line += 1
                deque(parts, maxlen=0)
    except DamagedArchive as error:
        data, _ = _whole_lines(pending)
        if data:
            block = Block(line, data, newlines(data, returns=quotes))
            yield from _of_few_lines(block, block_lines)
            line += block.lines
        yield Damage(line, f"the archive is damaged: {error}", error.corruption)
        return
    if data := b"".join(pending):
        block = Block(line, data, newlines(data, returns=quotes) + (not data.endswith((b"\n", b"\r"))))
        yield from _of_few_lines(block, block_lines)


def with_line_feeds(chunks: Iterable[bytes], *, quotes: bool = False) -> Iterator[bytes]:
    """The same text with LF in place of each CR that is not followed by one; where quotes count, up to the first."""
    kept = b""
    quotes_begin = False
    chunks = iter(chunks)
    for following in chunks:
        chunk = kept + following
        kept = b""
        quotes_begin = quotes and b'"' in chunk
        if not quotes_begin and b"\r" in chunk:
            if chunk.endswith(b"\r"):  # what follows it decides
                kept, chunk = b"\r", chunk[:-1]
            if _LONE_RETURN.search(chunk):
                chunk = _LONE_RETURN.sub(b"\n", chunk)
        yield chunk
        if quotes_begin:
            break
    if kept:
        yield b"\n"
    yield from chunks


class _Chunks:
    """A stream of bytes without a byte order mark at its start, of which a line can be taken by itself."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._following = _without_byte_order_mark(chunks)
        self._given_back = b""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk, self._given_back = self._given_back, b""
        return chunk or next(self._following)

    def line(self, begun: bytes) -> Iterator[bytes]:
        """What has begun of a line, and the rest of it with its newline."""
        yield begun
        for chunk in self:
            if end := _after_first_end(chunk, 0):
                self._given_back = chunk[end:]
                yield chunk[:end]
                return
            yield chunk


def _whole_lines(chunks: list[bytes]) -> tuple[bytes, bytes]:
    """What chunks hold up to their last newline, and the rest. That newline is mostly in the last one: one copy."""
    *before, last = chunks
    if end := last.rfind(b"\n") + 1:
        return b"".join([*before, last[:end]]), last[end:]
    data = b"".join(chunks)
    end = _after_last_end(data, 0, len(data) - 1)  # a CR at the end may go on with an LF
    return data[:end], data[end:]


def _after_first_end(data: bytes, start: int) -> int:
    """Where the first line that ends from a place on has ended; 0 without one."""
    if data.find(b"\r", start) < 0:  # a pattern is slower by far
        return data.find(b"\n", start) + 1
    found = _LINE_END.search(data, start)
    return found.end() if found else 0


def _after_last_end(data: bytes, start: int, stop: int) -> int:
    """Where the last line that ends in a range has ended; 0 without one."""
    end = max(data.rfind(b"\n", start, stop), data.rfind(b"\r", start, stop)) + 1
    return end + data.startswith(b"\n", end) if data.endswith(b"\r", 0, end) else end


def split_corrupt(pieces: Iterable[Piece], verified_lines: int) -> Iterator[Piece]:
    """The same pieces, the lines after the first `verified_lines` as corrupt blocks."""
    for piece in pieces:
        if not isinstance(piece, Block) or piece.first_line + piece.lines - 1 <= verified_lines:
            yield piece
            continue
        sound = max(0, verified_lines + 1 - piece.first_line)
        cut = line_starts(piece.data)[sound].as_py() if sound else 0
        if sound:
            yield Block(piece.first_line, piece.data[:cut], sound)
        yield CorruptBlock(Block(piece.first_line + sound, piece.data[cut:], piece.lines - sound))


def _of_few_lines(block: Block, most: int) -> Iterator[Block]:
    """The same lines in blocks of no more than `most`: halved until they are."""
    if block.lines <= most:
        yield block
        return
    half = len(block.data) // 2
    cut = _after_last_end(block.data, 0, half) or _after_first_end(block.data, half)
    data = block.data[:cut]
    first = Block(block.first_line, data, newlines(data, returns=True))
    yield from _of_few_lines(first, most)
    yield from _of_few_lines(Block(block.first_line + first.lines, block.data[cut:], block.lines - first.lines), most)


def is_blank(block: Block) -> bool:
    """Whether all lines of a block are blank."""
    return block.data.isspace() and not has_long_line(block.data)


def has_long_line(data: bytes) -> bool:
    """Whether a line is too long, or so nearly that it must be looked at by itself."""
    start = 0
    while len(data) - start > MAX_LINE_BYTES:
        start = _after_last_end(data, start, start + MAX_LINE_BYTES)
        if not start:
            return True
    return False


def newlines(data: bytes, *, returns: bool = False) -> int:
    """How many lines end, with LF; with `returns` also with CR alone."""
    count = int((as_series(data) == ord("\n")).sum())
    if returns and b"\r" in data:
        count += data.count(b"\r") - data.count(b"\r\n")
    return count


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a block, each without its newline."""
    lines = _LINE_END.split(data) if has_lone_return(data) else data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def has_lone_return(data: bytes) -> bool:
    """Whether a CR stands in the data that no LF follows."""
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


def line_starts(data: bytes) -> pa.Array:
    """Where the lines of a block start, and last where it ends: the offsets of its lines, as 32-bit integers."""
    ends = (as_series(data) == ord("\n")).arg_true() + 1
    last = [] if data.endswith(b"\n") else [len(data)]
    return pa.concat_arrays([pa.array([0], pa.int32()), ends.to_arrow().cast(pa.int32()), pa.array(last, pa.int32())])


def as_series(data: bytes) -> pl.Series:
    """The bytes as numbers, uncopied."""
    return pl.Series(pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)]))


def without_marks(text: bytes) -> bytes:
    """A text without the byte order marks that it begins with: of a file, or of one that others were put before."""
    while text.startswith(BYTE_ORDER_MARK):
        text = text[len(BYTE_ORDER_MARK) :]
    return text


def _without_byte_order_mark(chunks: Iterable[bytes]) -> Iterator[bytes]:
    start = b""
    chunks = iter(chunks)
    for chunk in chunks:
        start += chunk
        if len(start) >= len(BYTE_ORDER_MARK):
            break
    yield start.removeprefix(BYTE_ORDER_MARK)
    yield from chunks
