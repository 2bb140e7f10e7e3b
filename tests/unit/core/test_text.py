"""What the command line prints of texts that others wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.text import excerpt, print_json, print_rows, print_summary, print_table, printable

NASTY = "a\x1b[31m\n\r\t\x85\x9b\u2028\u202e\ufeff\U000e0041\udcffz"
SHOWN = r"a\x1b[31m\n\r\t\x85\x9b\u2028\u202e\ufeff\U000e0041\udcffz"

texts = st.text(st.characters(codec=None, categories=None))


def test_what_is_not_a_letter_is_shown_as_its_number() -> None:
    assert printable(NASTY) == SHOWN
    assert printable("Türkçe, 日本, 😀 [bold]") == "Türkçe, 日本, 😀 [bold]"
    assert excerpt("x" * 1000) == "x" * 200


@given(texts)
def test_any_text_is_one_line_that_a_terminal_only_shows(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


@given(st.dictionaries(texts, texts))
def test_json_keeps_its_values_and_is_one_such_line(content: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("click.echo", said.append)
        print_json(content)
    [line] = said
    assert line.isprintable()
    assert json.loads(line) == content


def test_rows_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    """However many there are: none waits for the next."""

    def rows() -> Iterator[tuple[int, str]]:
        yield 1, NASTY
        assert capsys.readouterr().out.startswith('[{"n": 1')
        yield 2, "b"

    print_rows(["n", "text"], rows())
    assert capsys.readouterr().out == ', {"n": 2, "text": "b"}]\n'


def test_numbers_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Negative ones, fractions and those of columns with gaps too; days are none."""
    rows = [["a", -5, 2.5, None, date(2026, 1, 5)], ["bcd", 1234, 10.0, 3, date(2026, 1, 6)]]
    print_table(["id", "places", "share", "gap", "day"], rows)
    assert capsys.readouterr().out.splitlines() == [
        "id   places  share  gap  day",
        "a        -5    2.5       2026-01-05",
        "bcd   1,234   10.0    3  2026-01-06",
    ]
    print_table(["id", "viewers"], [])
    assert capsys.readouterr().out == "id  viewers\n"


def test_tables_and_summaries_show_names_of_files_and_ids_safely(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["creator_id", "viewers"], [[NASTY, 1]])
    summary = dict.fromkeys(["new_files", "new_records", "new_rejected", "records", "accepted", "rejected"], 0)
    postponed = [{"file": NASTY, "reason": NASTY}]
    print_summary(
        summary
        | {"snapshot_id": "s", "is_new": True, "is_current": True, "funnel": {}, "postponed": postponed}
        | {"lost": [], "unknown_fields": [{"entity": "follows", "field": NASTY, "records": 1, "resembles": "userId"}]}
        | {"warnings": [NASTY], "anomalies": [NASTY], "report": NASTY},
        [(Path(NASTY), NASTY)],
    )
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 9
    assert out.replace("\n", "").isprintable()
