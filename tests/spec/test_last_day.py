"""A last day that is probably not all there refuses: it is judged by its weekday. Figures are printed: `pytest -s`."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from pipelines.core.errors import RefusedToPublish
from pipelines.snapshots.gates import MOST_GROWTH, probably_incomplete

TESTS = Path(__file__).parent.parent
DAY = timedelta(days=1)
MONDAY = date(2026, 3, 9)
Series = Mapping[date, int]


# --- how often it is wrong, and how often it is right ---------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What the gate says of the nights of a series, each judged by the days that had landed by then."""

    nights: int
    refused: list[date]  # though all of the day was there
    judged: int  # nights of which there was anything to compare with
    caught: int  # of those, when the last day is cut to 40 %

    def __add__(self, other: Figures) -> Figures:
        refused = [*self.refused, *other.refused]
        return Figures(self.nights + other.nights, refused, self.judged + other.judged, self.caught + other.caught)

    @property
    def wrong(self) -> float:
        return len(self.refused) / self.nights

    @property
    def right(self) -> float:
        return self.caught / self.judged

    def show(self, name: str) -> None:
        days = ", ".join(str(day) for day in self.refused[:5])
        print(f"\n{name}: {self.wrong:.2%} of {self.nights} nights refused wrongly, {self.right:.1%} caught ({days})")


def measure(series: Series) -> Figures:
    first = min(series)
    refused, caught, judged = [], 0, 0
    for day in sorted(series)[1:]:
        known = {each: count for each, count in series.items() if each <= day}
        if probably_incomplete(known, day, first):
            refused.append(day)
        if day - 7 * DAY >= first:
            judged += 1
            caught += probably_incomplete(known | {day: round(0.4 * series[day])}, day, first) is not None
    return Figures(len(series) - 1, refused, judged, caught)


def landed_days(folder: Path) -> Series:
    """The sessions of each day of a landing folder."""
    counts: Counter[date] = Counter()
    for path in sorted((folder / "viewing_sessions").glob("*.ndjson.gz")):
        with gzip.open(path, "rt") as lines:
            counts.update(date.fromisoformat(json.loads(line)["startedAt"][:10]) for line in lines)
    return counts


def test_on_real_series(test_data):
    """Bicycle trips, flights and the sample: under 1 % of nights wrongly, at least 95 % of cut days rightly."""
    with (test_data / "daily_counts" / "bike_share_2014.csv").open() as file:
        bicycles = {date.fromisoformat(row["day"]): int(row["trips"]) for row in csv.DictReader(file)}
    flights = landed_days(test_data / "flights" / "landing")
    real = {
        "bicycles": bicycles,
        "flights": {day: count for day, count in flights.items() if day.year == 2013},  # the rest of one night after it
        "sample": landed_days(TESTS.parent / "data" / "sample"),
    }
    figures = {name: measure(series) for name, series in real.items()}
    total = sum(figures.values(), NONE)
    for name, each in (figures | {"all three": total}).items():
        each.show(name)
    assert total.wrong < 0.01
    assert total.right >= 0.95
    # Storms, of which counts alone cannot tell that the day was all there.
    assert total.refused == [date(2014, 2, 2), date(2014, 2, 8), date(2014, 2, 9), date(2013, 2, 9)]
    assert figures["sample"].refused == []
    # Each half by itself, as if it were all there is: that of the storms is the one that is wrong.
    halves = [half for each in real.values() for half in halved(each)]
    for name, parts in (("first halves", halves[::2]), ("second halves", halves[1::2])):
        sum(map(measure, parts), NONE).show(name)
    assert sum(map(measure, halves[1::2]), NONE).wrong == 0
    assert sum(map(measure, halves), NONE).wrong < 0.01
    assert sum(map(measure, halves), NONE).right >= 0.95


def halved(series: Series) -> tuple[Series, Series]:
    days = sorted(series)
    first, second = days[: len(days) // 2], days[len(days) // 2 :]
    return {day: series[day] for day in first}, {day: series[day] for day in second}


def made(base: float, weekend: float, noise: float, growth: float = 0.0, *, seed: int, days: int = 730) -> Series:
    """A made series: the sessions of a day, times `weekend` on Saturdays and Sundays, with noise beside that of people
    who come independently of each other."""
    random = Random(seed)

    def count(number: int) -> int:
        day = date(2024, 1, 1) + number * DAY
        mean = base * (weekend if day.weekday() >= 5 else 1.0) * math.exp(random.gauss(growth * number, noise))
        return sum(random.random() < mean / 1000 for _ in range(1000)) if mean < 100 else round(mean)

    return {date(2024, 1, 1) + number * DAY: count(number) for number in range(days)}


def from_any_start(series: Series, days: int = 28) -> Figures:
    """The same for homes that begin on every tenth day of a series: three weeks have fewer than three days before."""
    first, last = min(series), max(series)
    begun = [first + back * DAY for back in range(0, (last - first).days - days, 10)]
    return sum((measure({day: series[day] for day in series if 0 <= (day - each).days < days}) for each in begun), NONE)


NONE = Figures(0, [], 0, 0)

SHAPES = {
    "quiet weekends": {"base": 1000, "weekend": 0.15, "noise": 0.12},
    "busy weekends": {"base": 500, "weekend": 4, "noise": 0.12},
    "closed weekends": {"base": 800, "weekend": 0.0, "noise": 0.1},
    "growing sixfold a year": {"base": 1000, "weekend": 1.4, "noise": 0.05, "growth": 0.005},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_on_made_shapes(shape):
    """Strong weekends, and a platform that grows."""
    series = made(**SHAPES[shape], seed=17)
    figures = measure(series)
    figures.show(shape)
    assert figures.wrong < 0.01
    days_off = sum(not count for day, count in series.items() if day - 7 * DAY >= min(series))  # nothing to be cut
    assert figures.caught / (figures.judged - days_off) >= 0.95


def test_days_off_of_a_platform_that_begins():
    """Where it is closed on weekends none of them is refused, whenever it begins."""
    figures = from_any_start(made(**SHAPES["closed weekends"], seed=17))
    figures.show("closed weekends, four weeks from any start")
    assert figures.refused == []


@pytest.mark.parametrize("base", [2, 5, 10, 20])
def test_a_small_home_is_let_be(base):
    """Of a few sessions a day chance alone makes a few less. (What may be missing of them, nobody can tell.)"""
    figures = sum((measure(made(base, 1, 0, seed=seed)) for seed in range(3)), NONE)
    figures.show(f"{base} sessions a day")
    assert figures.wrong < 0.03


# --- the bound, on both sides ---------------------------------------------------------------------------------------


def weeks(count: int, weeks_before: int, last: int, weekend: int | None = None) -> Series:
    """Days of `count` sessions (`weekend` on Saturdays and Sundays) up to a Monday, which has `last`."""
    days = [MONDAY - number * DAY for number in range(1, 7 * weeks_before + 1)]
    return {day: count if weekend is None or day.weekday() < 5 else weekend for day in days} | {MONDAY: last}


@given(st.integers(2, 10_000), st.integers(1, 12), st.booleans())
def test_half_is_enough(usual, weeks_before, is_half):
    """Half of what the weekday usually has is published, one less is not: after a week, and after many."""
    last = -(-usual // 2) - (not is_half)
    series = weeks(usual, weeks_before, last)
    assert (probably_incomplete(series, MONDAY, min(series)) is None) == is_half


@given(st.sampled_from([0, 3, 4, 5, 9]), st.integers(3, 8))
def test_small_numbers_must_lie_outside_of_their_history(swing, weeks_before):
    """A day of 4 where 10 are usual: refused where every day had 10, let be where days swing by 3 or more."""
    days = sorted(weeks(10, weeks_before, 4))[:-1]
    series = {day: 10 + swing * (1 if number % 2 else -1) for number, day in enumerate(days)} | {MONDAY: 4}
    series |= {MONDAY - 7 * number * DAY: 10 for number in range(1, weeks_before + 1)}
    assert (probably_incomplete(series, MONDAY, min(series)) is not None) == (swing == 0)


def test_a_quiet_weekday_is_not_judged_by_busy_days():
    """Mondays of 3 after Sundays of 40, and Sundays of 40 before a Monday that has lost most of its 30."""
    series = {day: 3 if day.weekday() == 0 else 40 for day in weeks(1, 10, 1)}
    assert probably_incomplete(series, MONDAY, min(series)) is None
    assert "3 sessions, under half of the 30 that a Monday usually has (the median of 8)" in str(
        probably_incomplete(weeks(30, 10, 3, weekend=40), MONDAY, date(2025, 1, 1))
    )


def test_a_holiday_among_them_changes_nothing():
    """One odd Monday, or one of which nothing landed, does not move the median of eight."""
    for odd in (0, 400):
        series = weeks(100, 9, 49) | {MONDAY - 7 * DAY: odd}
        assert probably_incomplete(series, MONDAY, min(series))
        assert probably_incomplete(series | {MONDAY: 50}, MONDAY, min(series)) is None


def test_a_feed_that_is_cut_off_every_night_is_not_soon_taken_for_complete():
    """Three weeks of days at 40 % are refused one by one."""
    series = dict(weeks(100, 9, 100))
    for number in range(1, 22):
        series[MONDAY + number * DAY] = 40
        assert probably_incomplete(series, MONDAY + number * DAY, min(series)), number


@given(st.floats(1.0, 3.0), st.integers(100, 1000))
def test_growth_that_both_days_before_show_counts(times, usual):
    """A day after two that had `times` what is usual is judged by as much, up to twice."""
    series = dict(weeks(usual, 9, 0))
    for back in (1, 2):
        series[MONDAY - back * DAY] = math.ceil(usual * times)
    expected = usual * min(math.ceil(usual * times) / usual, MOST_GROWTH)
    last = math.ceil(expected / 2)
    assert probably_incomplete(series | {MONDAY: last}, MONDAY, min(series)) is None
    assert probably_incomplete(series | {MONDAY: last - 1}, MONDAY, min(series))
    series[MONDAY - 2 * DAY] = usual  # one busy day is none
    assert probably_incomplete(series | {MONDAY: -(-usual // 2)}, MONDAY, min(series)) is None


# --- a whole night --------------------------------------------------------------------------------------------------


@pytest.fixture
def weekend_dip(world: World) -> World:
    """tests/cases/weekend_dip: four weeks of 10 sessions a day, 7 on Saturdays, 4 on Sundays."""
    path = TESTS / "cases" / "weekend_dip" / "landing" / "viewing_sessions" / "a.ndjson"
    world.land("viewing_sessions", [json.loads(line) for line in path.read_text().splitlines()])
    return world


def test_a_quiet_sunday_is_published(weekend_dip):
    """The night of a Monday, when the last day is a Sunday."""
    assert weekend_dip.run("2026-02-02").measured("c1", window=1).sessions == 4


def test_a_monday_like_a_sunday_is_refused(weekend_dip):
    """What is usual on a Sunday is not on a Monday."""
    weekend_dip.busy_days("2026-02-02", 1, sessions=4)
    with pytest.raises(RefusedToPublish, match=r"under half of the 10 that a Monday usually has .* --allow-incomplete"):
        weekend_dip.run("2026-02-03")


@pytest.mark.parametrize("last", [0, 4])
def test_a_lone_record_of_long_before_changes_nothing(world, last):
    """A session that starts in 1970, or one of a test: the weeks in between had no sessions, and that is not usual."""
    world.busy_days("2026-01-05", 20, sessions=10)
    world.busy_days("1970-01-01", 1, sessions=1)
    world.busy_days("2025-12-20", 1, sessions=1)
    night = world.run("2026-01-25")
    assert night.report.published.completeness.missing == ()
    if last:
        world.busy_days("2026-01-25", 1, sessions=last)
    with pytest.raises(RefusedToPublish, match=f"{last} sessions, under half of the 10"):
        world.run("2026-01-26")


def test_a_short_cube_has_fewer_weeks(weekend_dip):
    """With 7 days of windows a snapshot holds 8 days: the same weekday of the week before is all there is."""
    assert weekend_dip.run("2026-02-02", max_window_days=7, windows=(7,)).measured("c1", window=7).sessions == 61
    weekend_dip.busy_days("2026-02-02", 1, sessions=3)
    with pytest.raises(RefusedToPublish, match="under half of the 10 of an earlier day like it"):
        weekend_dip.run("2026-02-03", max_window_days=7, windows=(7,))
    weekend_dip.busy_days("2026-02-02", 1, sessions=1)  # as few as on the Sunday before: of so few that is nothing
    weekend_dip.run("2026-02-03", max_window_days=7, windows=(7,))
