"""CSV that is safe to open in a spreadsheet, whatever text it holds.

A spreadsheet takes a cell that begins with = + - or @ for a formula, and a formula can send other cells away or start
a program. The texts in ours are other people's: ids, names of files, whole landed lines.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

GUARD = "'"  # a cell that begins with it is text
MAX_CELL_CHARS = 16_000  # a cell holds 32,767 UTF-16 units; the rest would go on in other cells, unguarded
CUT = "…"

_STARTS_A_FORMULA = frozenset("=+-@\N{MINUS SIGN}")
_BREAKS_A_CELL = frozenset("\t\r\n")
_QUOTES = frozenset("\"'`´‘’‚“”„«»‹›＂＇")
_SEPARATOR = ";"  # between cells where the comma is the decimal sign, and there even inside our quotation marks
_PASSED_OVER = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})  # categories: control, format, separators
_NOT_ON_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, half a surrogate pair, line and paragraph separators


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """RFC 4180: a header, then the rows, each on one line that ends in CRLF. Numbers stay numbers; None is empty."""
    for row in chain([columns], rows):
        line = io.StringIO()
        cells = [safe_text(cell) if isinstance(cell, str) else cell for cell in row]
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        yield line.getvalue()


def safe_text(text: str) -> str:
    r"""A text as a cell that is no formula and stays on its line.

    Where it could begin a formula, at its start or after a semicolon, a single quote is put before it; control
    characters and line separators are written \x0a or \u2028; of more than MAX_CELL_CHARS the rest is cut off.
    """
    guarded = _SEPARATOR.join(map(_guarded, text.split(_SEPARATOR)))
    shown = "".join(char if char.isprintable() else _shown(char) for char in guarded)
    return shown if len(shown) <= MAX_CELL_CHARS else shown[: MAX_CELL_CHARS - len(CUT)] + CUT


def _guarded(text: str) -> str:
    return GUARD + text if text[:1] in _BREAKS_A_CELL or _may_be_formula(text) else text


def _may_be_formula(text: str) -> bool:
    """Whether the first character that is not passed over begins a formula, also in another width (＝, ﹢)."""
    for char in text:
        if char not in _QUOTES and unicodedata.category(char) not in _PASSED_OVER:
            return unicodedata.normalize("NFKC", char)[0] in _STARTS_A_FORMULA
    return False


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _NOT_ON_A_LINE:
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"
