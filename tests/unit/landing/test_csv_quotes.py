"""Lines of CSV that mean the same without quotation marks are read as columns; the standard library says which."""

from __future__ import annotations

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.landing.csv_quotes import without_quotes
from pipelines.landing.lines import MAX_LINE_BYTES, Block


def plain(text: str, separator: bytes = b",") -> str | None:
    data = text.encode()
    block = without_quotes(Block(7, data, data.count(b"\n")), separator)
    assert block is None or (block.first_line, block.lines) == (7, data.count(b"\n"))
    return None if block is None else block.data.decode()


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ('"a","b"\n"c",""\n', "a,b\nc,\n"),
        ('"a",b\r\nc,"d"\r\n', "a,b\r\nc,d\r\n"),
        ('"ş","\t"\n', "ş,\t\n"),
        ("a,b\n", "a,b\n"),
    ],
)
def test_marks_around_whole_cells_are_taken(text, without):
    assert plain(text) == without


@pytest.mark.parametrize("cell", ['a"b"', '"a"b', '"a""b"', '""""', '"a,b"', '"a\nb"', '"a\rb"', '"a', ' "a"', '"a" '])
@pytest.mark.parametrize("line", ["{}\n", "x,{}\n", "{},x\n", '"x",{},"y"\n"z","z","z"\n'])
def test_a_cell_that_needs_its_marks_keeps_them(cell, line):
    assert plain(line.format(cell)) is None


def test_a_separator_is_what_the_mapping_says():
    assert plain('"a,b";"c"\n', b";") == "a,b;c\n"
    assert plain('"a;b";"c"\n', b";") is None


def test_a_line_that_is_too_long_is_not_made_short():
    assert plain(f'"{"a" * MAX_LINE_BYTES}"\n') is None


@given(st.text(alphabet='a",\n ', max_size=12))
def test_the_standard_library_reads_the_same(text):
    """Whatever is taken for plain has the cells that the text has with its marks."""
    if (without := plain(text + "\n")) is not None:
        read = list(csv.reader(StringIO(text + "\n"), strict=True))
        split = [line.split(",") for line in without.split("\n")[:-1]]
        assert [cells or [""] for cells in read] == split  # of a blank line, the library gives no cell
