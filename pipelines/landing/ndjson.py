"""NDJSON, one JSON object a line, and the List Streams response, one JSON document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipelines.landing.batches import LINE_TOO_LONG, NOT_UTF8, Batch, Rows
from pipelines.landing.files import DamagedArchive
from pipelines.landing.lines import (
    BYTE_ORDER_MARK,
    CORRUPT_ARCHIVE,
    LONG_LINE_TEXT_BYTES,
    MAX_LINE_BYTES,
    Block,
    CorruptBlock,
    Damage,
    LongLine,
    Piece,
    Values,
    is_blank,
    lines_of,
    without_marks,
)
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.objects import NEXT_OBJECT, NotByLine
from pipelines.landing.records import count_unknown
from pipelines.landing.values import Rejected, shown_json

ReadLine = Callable[[int, bytes, Rows], None]  # line, its bytes without the newline

MAX_DOCUMENT_BYTES = 64 << 20  # of a List Streams response, the only thing that must be held whole


def read_ndjson(entity: str, pieces: Iterable[Piece], mapping: EntityMapping = UNMAPPED) -> Iterator[Batch]:
    """Accept or reject every line, one by one. Raises NotByLine."""
    rows = Rows(entity, mapping)
    for piece in pieces:
        read_piece(piece, rows)
        yield rows.batch()


def read_piece(piece: Piece, rows: Rows) -> None:
    """Accept or reject every line of a piece of a file."""
    match piece:
        case Block() if is_blank(piece):
            rows.blank += piece.lines
        case Block(first_line, data, _):
            for line, text in enumerate(lines_of(data), first_line):
                read_line(line, text, rows)
        case CorruptBlock(block):
            for line, text in enumerate(lines_of(block.data), block.first_line):
                _reject_corrupt(line, text, rows)
        case Values(block, numbers, blank):
            rows.blank += blank
            for line, text in zip(numbers.to_pylist(), lines_of(block.data), strict=True):
                read_value(line, text, rows)
        case LongLine(line, head):
            if not piece.is_value and (head.lstrip().startswith((b"{", b"[")) or _may_hold_others(head)):
                raise NotByLine
            rows.reject(line, None, LINE_TOO_LONG, head)
        case Damage(line, reason, _):
            rows.give_up(line, reason)


def _reject_corrupt(line: int, landed: bytes, rows: Rows) -> None:
    if landed.strip():
        rows.reject(line, None, CORRUPT_ARCHIVE, landed[:MAX_LINE_BYTES])
    else:
        rows.blank += 1


def read_line(line: int, landed: bytes, rows: Rows) -> None:
    """As read_value. Raises NotByLine where a line that cannot be read may be more than one value, or part of one."""
    before = len(rows.rejected)
    read_value(line, landed, rows)
    if len(rows.rejected) > before and _may_hold_others(landed):
        raise NotByLine


def _may_hold_others(landed: bytes) -> bool:
    text = without_marks(landed).decode("latin-1").strip(" \t\r")
    if text.startswith("[") or NEXT_OBJECT.search(text):
        return True
    if not text.startswith("{"):
        return False
    try:
        _, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except RecursionError:
        return False
    return text[end:].lstrip(" \t\r").startswith("[")


_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def read_value(line: int, landed: bytes, rows: Rows) -> None:
    """Accept or reject one JSON value, given without its newline."""
    if len(landed) > MAX_LINE_BYTES:
        rows.reject(line, None, LINE_TOO_LONG, landed[:LONG_LINE_TEXT_BYTES])
        return
    landed = without_marks(landed).removesuffix(b"\r")  # it ends the line, not a string that has no end
    if not landed.strip():
        rows.blank += 1
        return
    try:
        text = landed.decode()
    except UnicodeDecodeError:
        rows.reject(line, None, NOT_UTF8, landed)
        return
    acceptor = rows.acceptor
    try:
        value = acceptor.parse(text)
        if acceptor.entity == "lls_streams" and is_response(value):
            _read_response(value, rows, line)
        else:
            rows.accept(line, acceptor.accept(value))
    except Rejected as error:
        rows.reject(line, error.field, error.reason, text)


# --- the List Streams response ----------------------------------------------------------------------------------


def is_response(value: Any) -> bool:
    """Whether a landed value is a whole List Streams response, `{"streams": […]}`, rather than one stream."""
    return isinstance(value, dict) and isinstance(value.get("streams"), list) and "id" not in value


def read_response(chunks: Iterable[bytes], mapping: EntityMapping = UNMAPPED) -> Iterator[Batch]:
    """The streams of a response landed as a document of its own; `line` is a stream's place in the list, from 1.

    Raises NotByLine for a document of something else.
    """
    rows = Rows("lls_streams", mapping)
    document = b""
    try:
        document = _document(chunks)
        value = rows.acceptor.parse(document.removeprefix(BYTE_ORDER_MARK).decode())
        if not is_response(value):
            raise NotByLine
        _read_response(value, rows, None)
    except UnicodeDecodeError:
        rows.give_up(1, NOT_UTF8, document[:LONG_LINE_TEXT_BYTES])
    except DamagedArchive as error:
        rows.give_up(1, f"the archive is damaged: {error}")
    except Rejected as error:
        if _may_hold_others(document.removeprefix(BYTE_ORDER_MARK).lstrip()):
            raise NotByLine from None
        rows.give_up(1, error.reason, document[:LONG_LINE_TEXT_BYTES])
    yield rows.batch()


def _read_response(response: dict[str, Any], rows: Rows, line: int | None) -> None:
    for key in response:
        if key != "streams":
            count_unknown(rows.acceptor.unknown_fields, key)
    for place, stream in enumerate(response["streams"], 1):
        at = place if line is None else line
        try:
            rows.accept(at, rows.acceptor.accept(stream))
        except Rejected as error:
            rows.reject(at, error.field, error.reason, shown_json(stream))


def _document(chunks: Iterable[bytes]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            raise Rejected(None, "the document is larger than 64 MiB: land its streams as .ndjson")
    return b"".join(parts)
