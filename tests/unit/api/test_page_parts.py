"""What the pages are made of: numbers and dates in two languages, and lines and bars as SVG."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from pipelines.api.answers import Profile, Range
from pipelines.api.page import charts
from pipelines.api.page.ranking import initials
from pipelines.api.page.translations import LANGUAGES

EN, TR = LANGUAGES["en"], LANGUAGES["tr"]


def test_numbers_are_written_as_each_language_does() -> None:
    assert [lang.number(1234567) for lang in (EN, TR)] == ["1,234,567", "1.234.567"]
    assert [lang.money(Decimal("1234.50"), "TRY") for lang in (EN, TR)] == ["1,234.50 TRY", "1.234,50 TRY"]
    assert [lang.money(Decimal("15000.00"), None) for lang in (EN, TR)] == ["15,000", "15.000"]
    assert [lang.percent(1200) for lang in (EN, TR)] == ["1,200%", "%1.200"]
    assert [lang.hours(5400) for lang in (EN, TR)] == ["1.5", "1,5"]
    assert EN.hours(3600 * 1234) == "1,234"


def test_days_are_written_as_each_language_does() -> None:
    within = Range(date(2013, 6, 1), date(2013, 7, 1))
    across = Range(date(2025, 12, 31), date(2026, 1, 2))
    assert [lang.days(within) for lang in (EN, TR)] == ["1 Jun – 30 Jun 2013", "1 Haz – 30 Haz 2013"]
    assert [lang.days(across) for lang in (EN, TR)] == ["31 Dec 2025 – 1 Jan 2026", "31 Ara 2025 – 1 Oca 2026"]
    assert EN.days(Range(date(2013, 6, 1), date(2013, 6, 2))) == "1 Jun 2013"
    assert TR.instant(datetime(2013, 8, 9, 7, 5, tzinfo=UTC)) == "9 Ağu 2013, 07:05 UTC"
    assert [EN.age(hours) for hours in (0, 1, 47, 48, 73)] == [
        "less than an hour ago",
        "1 h ago",
        "47 h ago",
        "2 days ago",
        "3 days ago",
    ]


@pytest.mark.parametrize(("most", "top"), [(0, 1), (1, 1), (1.5, 2), (3, 4), (9, 10), (10, 10), (11, 20), (652, 800)])
def test_an_axis_ends_at_a_round_number_that_holds_everything(most: float, top: int) -> None:
    assert charts.nice(most) == top


def _ys(path: str) -> list[float]:
    return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]


def test_more_is_higher_and_rank_one_is_at_the_top() -> None:
    reach, top = charts.area([0, 5, 10])
    assert (top, _ys(dict(reach)["line"])) == (10, [200, 101, 2])
    rank, bottom = charts.ranks([1, None, 5])
    assert (bottom, _ys(dict(rank)["line"])) == (5, [2, 2, 198, 198])
    line, *end = charts.sparkline([10, 20, 30])
    assert _ys(line) == sorted(_ys(line), reverse=True)
    assert line.endswith("L{} {}".format(*end))


def test_a_small_change_is_no_cliff() -> None:
    """The scale of a sparkline spans at least a sixth of the greatest value."""
    ys = _ys(charts.sparkline([600, 606])[0])
    assert ys[0] - ys[1] < charts.SPARK_HEIGHT / 8
    assert len(set(_ys(charts.sparkline([0, 0, 0])[0]))) == 1


def test_bars_stand_on_each_other() -> None:
    drawing, top = charts.bars([[3, 0], [1, 4]])
    assert top == 4
    (_, lower), (_, upper) = drawing
    assert lower.count("M") == 1  # nothing is drawn for nothing
    assert re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", upper) == [("51.5", "2"), ("200", "2")]


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Ada Lovelace", "AL"), ("Ada", "AD"), ("  ", "X1"), ("<b> Çelik", "ÇE"), ("日本 語", "日語"), ("A\u202eb", "A")],
)
def test_initials(name: str, letters: str) -> None:
    assert initials(Profile("x1", None, name, None, None)) == letters
