"""What reading a landed file yields: a run of accepted rows as a raw table, and the records rejected among them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.landing.lines import MAX_LINE_BYTES, Block, Piece, Values, lines_of
from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.nested_records import nesting
from pipelines.landing.records import Acceptor
from pipelines.landing.schema import RAW_SCHEMAS, Landed, landed_fields
from pipelines.landing.unreadable import NO_RECORD, NO_TEXT, ONLY_WHITE_SPACE, SINGLE_BYTES, ZEROS
from pipelines.landing.values import DuplicateKey

NOT_UTF8 = "not valid UTF-8"
LINE_TOO_LONG = "the line is longer than 1 MiB"


_ZEROS = "\0" * 8  # a block of a disk that was never written; in a text in UTF-16 no two stand together


_LEAST_ODD = 8  # bytes of a line, and a third of them, beyond ASCII or of control: no name is written so
_TEXT_BYTES = bytes([*b"\t\n\r", *range(0x20, 0x7F)])


def _is_no_text(line: bytes) -> bool:
    """Whether a line that is no UTF-8 is no text in another encoding of single bytes either; it may be any number."""
    odd = len(line.translate(None, _TEXT_BYTES))
    return odd >= _LEAST_ODD and odd * 3 >= len(line)


def holds_no_text(data: bytes) -> bool:
    """Whether a line of a text, cut anywhere, is no text."""
    return not is_utf8(data) and any(not is_utf8(line) and _is_no_text(line) for line in data.split(b"\n"))


class RejectedLine(NamedTuple):
    """A record that was not accepted. `field` is the landed name of the field at fault, None for the whole record."""

    line: int
    field: str | None
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The next records of a file. Rows and rejected lines are each in the order in which they landed."""

    accepted: pa.Table  # of RAW_SCHEMAS[entity]
    rejected: list[RejectedLine]
    blank: int
    unknown_fields: Counter[str]  # of the accepted records
    unreadable: str | None = None  # why the file cannot be read as a whole, or from here on


class Rows:
    """Collects records one by one into a Batch."""

    def __init__(self, entity: str, mapping: EntityMapping = UNMAPPED) -> None:
        self.acceptor = Acceptor(entity, mapping)
        self.rejected: list[RejectedLine] = []
        self.blank = 0
        self.unreadable: str | None = None
        self._schema = RAW_SCHEMAS[entity]
        self._why_several = nesting(entity, mapping)
        self._rows: list[tuple[object, ...]] = []

    def accept(self, line: int, record: Landed) -> None:
        """Add an accepted record."""
        self._rows.append((*msgspec.structs.astuple(record), line))

    def reject(self, line: int, field: str | None, reason: str, text: bytes | str) -> None:
        """Add a rejected one; bytes that are no UTF-8 are kept as backslash escapes, of a longer text its beginning."""
        if _ZEROS in text if isinstance(text, str) else _ZEROS.encode() in text:  # safeguard: zeros-are-unreadable
            self.unreadable = self.unreadable or ZEROS
        if reason != DuplicateKey.REASON and (several := self._why_several(text)):
            self.unreadable = self.unreadable or several
            field, reason = None, several
        if reason == NOT_UTF8 and isinstance(text, bytes) and _is_no_text(text):  # safeguard: no-text-is-unreadable
            self.unreadable = self.unreadable or NO_TEXT
            reason = NO_TEXT
        self.rejected.append(RejectedLine(line, field, reason, printable(text[:MAX_LINE_BYTES])))

    def give_up(self, line: int, reason: str, text: bytes | str = "") -> None:
        """Say that the file cannot be read from a line on, or at all; that is one more rejected record."""
        self.unreadable = reason
        self.reject(line, None, reason, text)

    def table(self) -> pa.Table:
        """The accepted rows."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._schema)
        arrays = [pa.array(column, each.type) for column, each in zip(columns, self._schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    @property
    def accepted(self) -> int:
        """How many were accepted so far."""
        return len(self._rows)

    def batch(self) -> Batch:
        """Everything so far, and begin anew."""
        batch = Batch(self.table(), self.rejected, self.blank, self.acceptor.unknown_fields, self.unreadable)
        self.acceptor.unknown_fields = Counter()
        self.rejected, self.blank, self._rows, self.unreadable = [], 0, [], None
        return batch


def with_tables(batch: Batch, tables: Iterable[pa.Table]) -> Batch:
    """A batch with the rows of `tables` too, of RAW_SCHEMAS but for what may be null; all of it in landed order."""
    batch.rejected.sort(key=lambda rejected: rejected.line)
    tables = [table for table in (*tables, batch.accepted) if table.num_rows]
    if not tables or (len(tables) == 1 and tables[0] is batch.accepted):
        return replace(batch, accepted=_in_order(batch.accepted))
    schema = batch.accepted.schema
    merged = pa.concat_tables([pa.Table.from_arrays(table.columns, schema=schema) for table in tables])
    return replace(batch, accepted=_in_order(merged))


def _in_order(table: pa.Table) -> pa.Table:
    lines = table.column("line").combine_chunks()
    if len(lines) < 2 or pc.all(pc.less_equal(lines.slice(0, len(lines) - 1), lines.slice(1))).as_py():
        return table
    return table.take(pc.sort_indices(lines))


def printable(text: bytes | str) -> str:
    """Text that can be stored: a line without the carriage return at its end, undecodable bytes as escapes."""
    landed = _as_bytes(text) if isinstance(text, str) else text
    return landed.removesuffix(b"\r").decode("utf-8", "backslashreplace")


def _as_bytes(text: str) -> bytes:
    try:
        return text.encode()  # nearly always: letter by letter only where there are surrogates
    except UnicodeEncodeError:
        is_escaped = all("\udc80" <= char <= "\udcff" for char in text if "\ud800" <= char <= "\udfff")
        return text.encode("utf-8", "surrogateescape" if is_escaped else "surrogatepass")


# --- the file as a whole ---------------------------------------------------------------------------------------------


def with_records(
    entity: str, batches: Iterable[Batch], mapping: EntityMapping = UNMAPPED, *, may_be_empty: bool
) -> Iterator[Batch]:
    """The batches of a text of JSON. Without a single record of the entity the file is unreadable.

    `may_be_empty`: its white space stands in something, such as an array, that says that there are none.
    """
    fields = [each.name for each in landed_fields(entity) if each.required and each.name not in _COMMON_NAMES]
    names = [re.escape(spelling) for spelling, name in mapped_spellings(entity, mapping).items() if name in fields]
    key = re.compile(rf'"(?:{"|".join(names)})"\s*:')
    records = blank = 0
    is_found = False
    for batch in batches:
        records += batch.accepted.num_rows + len(batch.rejected)
        blank += batch.blank
        is_found = (
            is_found
            or batch.accepted.num_rows > 0
            or batch.unreadable is not None
            or any(key.search(each.text) for each in batch.rejected)
        )
        yield batch
    rows = Rows(entity)
    if records and not is_found:  # safeguard: page-of-an-error-is-unreadable
        rows.unreadable = NO_RECORD
    elif blank and not records and not may_be_empty:  # safeguard: white-space-is-unreadable
        rows.unreadable = ONLY_WHITE_SPACE
    if rows.unreadable:
        yield rows.batch()


_COMMON_NAMES = {"id", "status"}  # which the answer of a server has that says what went wrong


class Encoding:
    """Watches the lines of a text, and judges whether it was meant to be UTF-8."""

    def __init__(self) -> None:
        self._is_utf8 = False  # it holds a letter beyond ASCII that is

    def watched(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces."""
        for piece in pieces:
            block = piece.block if isinstance(piece, Values) else piece
            if not self._is_utf8 and isinstance(block, Block) and not block.data.isascii():
                self._is_utf8 = _has_utf8(block.data)
            yield piece

    def judged(self, entity: str, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches. Unreadable is a text of which more than one line is no UTF-8, and none needs to be."""
        count = 0
        for batch in batches:
            count += sum(each.reason == NOT_UTF8 for each in batch.rejected)
            yield batch
        if count > 1 and not self._is_utf8:  # safeguard: another-encoding-is-unreadable
            rows = Rows(entity)
            rows.unreadable = SINGLE_BYTES
            yield rows.batch()


def _has_utf8(data: bytes) -> bool:
    if is_utf8(data):
        return True
    return any(not line.isascii() and is_utf8(line) for line in lines_of(data))


def is_utf8(data: bytes) -> bool:
    """Whether bytes are text in UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
