"""Lines out of a stream of bytes, in bounded memory: blocks of whole lines, and lines too long to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from pipelines.landing.files import DamagedArchive

MAX_LINE_BYTES = 1 << 20  # the largest real line seen is 2 kB; bounds the memory that one line can take
LONG_LINE_TEXT_BYTES = 1 << 16  # what is kept of a longer one
BLOCK_BYTES = 16 << 20  # so that each of dozens of shapes of lines has enough of them to be read as columns

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines; only the last line of a file may lack its newline."""

    first_line: int  # 1-based
    data: bytes
    lines: int


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than MAX_LINE_BYTES, of which only the beginning was kept."""

    line: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """The archive that holds the file is damaged from this line on."""

    line: int
    reason: str


Piece = Block | LongLine | Damage


def blocks_of_lines(chunks: Iterable[bytes], block_bytes: int = BLOCK_BYTES) -> Iterator[Piece]:
    """Cut a stream into blocks of whole lines of about `block_bytes`. A byte order mark at its start is dropped.

    What is held at any time is a block and a line. Where `chunks` raises DamagedArchive the whole lines before that
    are yielded, then Damage in place of the line that breaks off, and that is the end.
    """
    line = 1
    pending: list[bytes] = []
    size = 0
    skipping = False  # inside a line that is too long
    try:
        for chunk in _without_byte_order_mark(chunks):
            start = 0
            if skipping:
                start = chunk.find(b"\n") + 1
                if not start:
                    continue
                skipping = False
            pending.append(chunk[start:])
            size += len(chunk) - start
            if size < block_bytes:
                continue
            data = b"".join(pending)
            end = data.rfind(b"\n") + 1
            if end:
                lines = data.count(b"\n", 0, end)
                yield Block(line, data[:end], lines)
                line += lines
            rest = data[end:]
            if len(rest) > MAX_LINE_BYTES:
                yield LongLine(line, rest[:LONG_LINE_TEXT_BYTES])
                line += 1
                rest, skipping = b"", True
            pending, size = [rest], len(rest)
    except DamagedArchive as error:
        data = b"".join(pending)
        if end := data.rfind(b"\n") + 1:
            lines = data.count(b"\n")
            yield Block(line, data[:end], lines)
            line += lines
        yield Damage(line, f"the archive is damaged: {error}")
        return
    if data := b"".join(pending):
        yield Block(line, data, data.count(b"\n") + (not data.endswith(b"\n")))


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a block, each without its newline."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def line_starts(data: bytes) -> pa.Array:
    """Where the lines of a block start, and last where it ends: the offsets of its lines, as 32-bit integers."""
    ends = (as_series(data) == ord("\n")).arg_true() + 1
    last = [] if data.endswith(b"\n") else [len(data)]
    return pa.concat_arrays([pa.array([0], pa.int32()), ends.to_arrow().cast(pa.int32()), pa.array(last, pa.int32())])


def as_series(data: bytes) -> pl.Series:
    """The bytes as numbers, uncopied."""
    return pl.Series(pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)]))


def _without_byte_order_mark(chunks: Iterable[bytes]) -> Iterator[bytes]:
    start = b""
    chunks = iter(chunks)
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_BYTE_ORDER_MARK):
            break
    yield start.removeprefix(_BYTE_ORDER_MARK)
    yield from chunks
