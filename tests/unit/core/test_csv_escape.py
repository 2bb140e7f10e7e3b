"""CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from pipelines.core.csv_escape import CUT, MAX_CELL_CHARS, csv_lines, safe_text


@pytest.mark.parametrize(
    "text", ["", "ada", "a=1", "a+b@c", "1", "007", "'quoted'", "a;b", "😀", "çağ", "a-1", "\\x0a"]
)
def test_ordinary_texts_stay_what_they_are(text: str) -> None:
    """Nothing is done where nothing can be misread."""
    assert safe_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        "+1",
        "-1",
        "@x",
        " =1",
        "\u00a0=1",
        "\ufeff=1",
        "\u200b=1",
        "'=1",
        '"=1',
        "“=1",
        "＝1",
        "＋1",
        "－1",
        "＠1",
        "﹢1",
        "−1",
    ],
)
def test_what_could_be_a_formula_is_text(text: str) -> None:
    """Also after what a spreadsheet passes over, and in other widths of the characters."""
    assert safe_text(text) == "'" + text


def test_a_semicolon_may_begin_a_cell() -> None:
    """Where the decimal sign is a comma, spreadsheets take semicolons for the ends of cells."""
    assert safe_text("a;=1;b; -2;;") == "a;'=1;b;' -2;;"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a\\x0ab"), ("\t=1", "'\\x09=1"), ("\rx", "'\\x0dx"), ("\x00", "\\x00"), ("\x85\u2028", "\\x85\\u2028")],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    """A row is one line whatever stands in it."""
    assert safe_text(text) == shown


@pytest.mark.parametrize("text", ["x" * 40_000 + "=1", "😀" * 40_000, "\n" * 40_000])
def test_a_long_text_is_cut(text: str) -> None:
    """A spreadsheet would go on in the next cells."""
    assert len(safe_text(text)) == MAX_CELL_CHARS
    assert safe_text(text).endswith(CUT)
    assert len(safe_text(text).encode("utf-16-le")) // 2 <= 32_767


def test_rows_are_those_of_rfc_4180() -> None:
    """A header, CRLF, quotation marks doubled; numbers stay numbers, None is an empty cell."""
    lines = list(csv_lines(["id", "viewers"], [["a,b", 1], ['say "x"', -5], ["=1", None]]))
    assert lines == ["id,viewers\r\n", '"a,b",1\r\n', '"say ""x""",-5\r\n', "'=1,\r\n"]
    assert list(csv.reader(io.StringIO("".join(lines), newline="")))[2] == ['say "x"', "-5"]
    assert list(csv_lines(["id"], [])) == ["id\r\n"]
