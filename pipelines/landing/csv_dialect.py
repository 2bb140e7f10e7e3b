"""How the cells of CSV are told apart: the delimiter, quotation marks, and backslashes that escape.

Databases write text without quotation marks, in which a backslash escapes: `\\t`, `\\n`, `\\\\`, and `\\N` for null
(PostgreSQL's COPY, MySQL, ClickHouse's TabSeparated). Read as plain CSV, `a\\\\b` would be another id than `a\\b` is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from pipelines.landing.mapping import BACKSLASH, COMMA, EntityMapping
from pipelines.landing.values import Rejected

NO_BYTE = b"\xff"  # stands in no UTF-8
TAB = "\t"
BACKSLASH_OPEN = (
    "a backslash between tabs may escape, or be just that: say escape = '\\' or escape = '' in mostwatched.toml"
)
NOT_ESCAPED = (
    "a backslash stands before what needs none, so that it does not escape in this file: do not say escape = '\\' "
    "in mostwatched.toml, or export with quotation marks doubled"
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Marks; no text that is decoded holds them. The standard library takes the end of a line behind an escaped one for a
# part of the cell.
_NULL, _NOT_ESCAPED, _LINE_FEED, _RETURN = "\udc00", "\udc01", "\udc02", "\udc03"
_MARKED = str.maketrans({_NULL: "N", _LINE_FEED: "\n", _RETURN: "\r"})
# What stands behind a backslash, and for what.
_MEANINGS = {"b": "\b", "f": "\f", "n": _LINE_FEED, "r": _RETURN, "t": "\t", "v": "\v", "0": "\0", "Z": "\x1a"}
_MEANINGS["N"] = _NULL
_MEANINGS |= {each: each for each in "\\\"'\n\r"}


class Dialect:
    """The dialect of the files that one mapping reads."""

    def __init__(self, mapping: EntityMapping) -> None:
        self.delimiter = mapping.delimiter or COMMA
        self.separator = self.delimiter.encode()
        self.quote = '"' if mapping.quote is None else mapping.quote  # "": cells stand in none
        self.quote_byte = self.quote.encode() or NO_BYTE
        self.escapes = mapping.escape == BACKSLASH
        # Nobody said what a backslash is, and programs that write tabs mostly escape by it.
        self.is_backslash_open = mapping.escape is None and self.delimiter == TAB
        # Lines that hold it are read one by one.
        self.special = b"\\" if self.escapes or self.is_backslash_open else self.quote_byte
        has_null = self.escapes or "\\N" in (mapping.null or ())
        cell = rb"(?:(?<=^)|(?<=[%b\r\n]))\\N(?=[%b\r\n]|$)" % ((re.escape(self.separator),) * 2)
        self._null = re.compile(cell) if has_null else None

    def records(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The cells of each record. Reading goes on after an error: csv.Error, Rejected, or what `lines` raises."""
        return _Unescaped(self, lines) if self.escapes else self.reader(lines)

    def without_nulls(self, data: bytes) -> bytes:
        """Whole lines with nothing in the cells that are `\\N`, where that is null."""
        return self._null.sub(b"", data) if self._null is not None and b"\\" in data else data

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The cells of each record, with what stands behind a backslash as it is."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=BACKSLASH if self.escapes else None,
            strict=True,
        )


class _Unescaped:
    """Records in which backslashes escape. Raises Rejected for one in which they do not."""

    def __init__(self, dialect: Dialect, lines: Iterable[str]) -> None:
        self._meanings = {**_MEANINGS, dialect.delimiter: dialect.delimiter, dialect.quote: dialect.quote}
        self._records = dialect.reader(map(self._with_meanings, lines))

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        cells = ["" if cell == _NULL else cell.translate(_MARKED) for cell in next(self._records)]
        if any(_NOT_ESCAPED in cell for cell in cells):  # safeguard: unknown-escape-rejected
            raise Rejected(None, NOT_ESCAPED)
        return cells

    def _with_meanings(self, line: str) -> str:
        """A line in which what follows a backslash is what it stands for."""
        return _ESCAPED.sub(lambda found: BACKSLASH + self._meanings.get(found[1], _NOT_ESCAPED), line)
