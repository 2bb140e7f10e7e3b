"""What reading a landed file yields: a run of accepted rows as a raw table, and the records rejected among them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import pyarrow as pa

from pipelines.landing.lines import MAX_LINE_BYTES
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.records import Acceptor
from pipelines.landing.schema import RAW_SCHEMAS, Landed

NOT_UTF8 = "not valid UTF-8"
LINE_TOO_LONG = "the line is longer than 1 MiB"
CORRUPT_ARCHIVE = "the archive is not what its checksum says: no line of it can be believed"


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
        self._rows: list[tuple[object, ...]] = []

    def accept(self, line: int, record: Landed) -> None:
        """Add an accepted record."""
        self._rows.append((*msgspec.structs.astuple(record), line))

    def reject(self, line: int, field: str | None, reason: str, text: bytes | str) -> None:
        """Add a rejected one; bytes that are no UTF-8 are kept as backslash escapes, of a longer text its beginning."""
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
