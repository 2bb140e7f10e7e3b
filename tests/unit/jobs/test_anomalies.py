"""What is called worth a look: what the definitions say, nothing on ordinary platforms, and all that is planted."""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import AS_OF, World, days

from pipelines.core.calendar_days import day_bounds
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.jobs.report import anomalies
from pipelines.jobs.report.anomalies import judge_day, judge_days, judge_end, judge_reach, robust_scale
from pipelines.landing.synthetic import generate

LAST = AS_OF - timedelta(days=1)
STEADY = [100, 104, 97, 101, 99, 103, 98, 100, 102, 96]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([100] * 9, 10.0),  # the square root of the median
        ([10_000] * 9, 500.0),  # a twentieth of it
        ([100, 100, 100, 200, 300, 400, 500], 1.4826 * 100),  # distances from 200: 100 100 100 0 100 200 300
        ([0] * 9, 1.0),
    ],
)
def test_the_spread_is_the_largest_of_three(history, expected):
    assert robust_scale(history) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10**6), min_size=5, max_size=40), st.integers(0, 10**9))
def test_one_odd_value_hardly_moves_it(history, odd):
    """However far off, it moves the median by no more than one place, and so the spread."""
    ordered = sorted(history)
    middle = len(history) // 2
    assert (
        ordered[max(middle - 1, 0)] <= statistics.median([*history, odd]) <= ordered[min(middle + 1, len(ordered) - 1)]
    )


@pytest.mark.parametrize(
    ("viewers", "history", "is_one"),
    [
        (181, STEADY, True),  # a jump of 81 in spreads of 10
        (179, STEADY, False),  # one of 79
        (19, STEADY, True),  # a fall
        (21, STEADY, False),
        (0, STEADY, False),  # a day off
        (10_000, STEADY[:6], False),  # too short a history
        (10_000, STEADY[:7], True),
        (25, [1] * 10, False),  # 24 people more
        (26, [1] * 10, True),
        (160, [*STEADY, 170, 165, 171], False),  # it was there before
        (16_000, [10_000] * 10, True),
        (14_900, [10_000] * 10, False),  # less than half more
    ],
)
def test_reach_is_judged_by_the_definition(viewers, history, is_one):
    assert (judge_reach("ada", LAST, viewers, history) is not None) is is_one


@pytest.mark.parametrize(
    ("sessions", "history", "is_one"),
    [
        (749, [1000] * 3, True),  # 5 spreads of 50 are 250
        (751, [1000] * 3, False),
        (2000, [1000] * 8, False),  # more is no matter
        (0, [1000] * 2, False),  # too few weeks
        (500, [1000, 400, 1600, 700, 1300], False),  # a platform that varies
        (0, [4] * 8, False),  # of four sessions none is chance
    ],
)
def test_a_day_is_judged_by_the_definition(sessions, history, is_one):
    assert (judge_day(LAST, sessions, history) is not None) is is_one


def test_a_day_is_compared_with_its_own_weekday():
    """Half as many on every Sunday is what Sundays are; half as many on a Wednesday is not."""
    usual = {AS_OF - timedelta(days=back): 1000 for back in range(1, 64)}
    usual |= {day: 400 for day in usual if day.weekday() == 6}
    assert list(judge_days(usual, AS_OF)) == []
    wednesday = next(day for day in sorted(usual, reverse=True) if day.weekday() == 2)
    (found,) = judge_days(usual | {wednesday: 400}, AS_OF)
    assert (found.day, found.value, found.median) == (wednesday, 400, 1000)
    assert "a Wednesday, has 400 sessions" in found.sentence
    gone = {day: count for day, count in usual.items() if day != wednesday}
    assert [one.value for one in judge_days(gone, AS_OF)] == [0], "a day of which nothing is known has none"


def test_what_lies_before_the_first_session_is_no_history():
    """A platform that is three weeks old has three weeks to compare with."""
    young = {AS_OF - timedelta(days=back): 1000 for back in range(1, 29)}
    assert list(judge_days(young, AS_OF)) == []
    (found,) = judge_days(young | {LAST: 100}, AS_OF)
    assert found.day == LAST
    assert list(judge_days({LAST - timedelta(days=1): 10**6, LAST: 1}, AS_OF)) == []


@pytest.mark.slow
def test_an_ordinary_platform_raises_no_alarm(tmp_path):
    """On a generated platform, untidy as real data, nothing is worth a look on any day that has a history."""
    generate(tmp_path / "landing", days=24, sessions_per_day=400, seed=1, as_of=AS_OF)
    settings = Settings(home=tmp_path, max_window_days=34, memory_limit="500MB", threads=1)
    night = nightly.run(settings, AS_OF, accept_rejects=True, allow_incomplete=True)
    snapshot = night.published.snapshot
    cube = {
        AS_OF - timedelta(days=back): snapshot.path / f"creator_reach/{AS_OF - timedelta(days=back)}.parquet"
        for back in range(1, 35)
    }
    for back in range(10):
        assert anomalies.find(settings, cube, AS_OF - timedelta(days=back)) == []
    assert night.facts
    assert night.facts["problems"] == []


def test_what_is_planted_is_found(tmp_path):
    """A creator who is bought a crowd, one who loses theirs, and a day that lost half of its files; in that order."""
    world = World(tmp_path, windows=(1, 7, 30))
    draw = Random(5)
    lines = ["creator | viewer | started_at"]
    for number, on in enumerate(days("2026-01-01", 30)):
        crowd = {"calm": 40 + draw.randint(-4, 4), "bought": 30, "lost": 100}
        if number == 29:
            crowd |= {"bought": 300, "lost": 9, "new": 200}
        if number == 27:
            crowd = {"calm": 12}
        lines += [f"{who} | {who}{each} | {on} 12:00" for who, count in crowd.items() for each in range(count)]
    world.sessions("\n".join(lines))
    night = world.run(compare=False)
    assert night.report.facts
    found = [(one["kind"], one["creator_id"], one["value"]) for one in night.report.facts["anomalies"]]
    assert found == [("day", None, 12), ("reach", "bought", 300), ("reach", "lost", 9)]
    assert night.report.facts["anomalies"][0]["day"] == "2026-01-28"
    sentences = night.report.as_json()["anomalies"]
    assert sentences[1] == "bought reached 300 people on 2026-01-30, 10.0 times the median of 30 on the days before"


def test_the_engine_and_plain_python_agree(tmp_path):
    """Whom the engine leaves out, the definition would not have called worth a look either."""
    world = World(tmp_path)
    draw = Random(11)
    counts = {
        f"c{number}": [draw.choice([0, 2, 30, 30 + draw.randint(0, 9), 40 * draw.randint(1, 3)]) for _ in range(30)]
        for number in range(8)
    }
    counts["c0"][29], counts["c0"][:29] = 90, [30] * 29
    lines = ["creator | viewer | started_at"]
    for who, crowd in counts.items():
        for on, count in zip(days("2026-01-01", 30), crowd, strict=True):
            lines += [f"{who} | {who}-{each} | {on} 12:00" for each in range(count)]
    world.sessions("\n".join(lines))
    night = world.run(compare=False, night={"allow_incomplete": True})
    cube: dict[date, Path] = {
        date.fromisoformat(Path(name).stem): night.snapshot.path / name
        for name in night.snapshot.files
        if name.startswith("creator_reach/")
    }
    found = {one.creator_id for one in anomalies.find(night.settings, cube, AS_OF) if one.kind == "reach"}
    expected = {
        who for who, crowd in counts.items() if judge_reach(who, LAST, crowd[29], [n for n in crowd[1:29] if n])
    }
    assert found == expected >= {"c0"}
    assert math.isfinite(sum(one.spreads for one in anomalies.find(night.settings, cube, AS_OF)))


# --- a last day that ends early -------------------------------------------------------------------------------------


def at_the_end(left: list[int], zone: ZoneInfo) -> dict[date, datetime]:
    """The newest session of each of the last days: so many minutes before the day ends."""
    found = {}
    for back, minutes in enumerate(reversed(left), 1):
        on = AS_OF - timedelta(days=back)
        found[on] = day_bounds(on, zone)[1] - timedelta(minutes=minutes)
    return found


@pytest.mark.parametrize(
    ("left", "is_early"),
    [
        ([5] * 7 + [61], True),
        ([5] * 7 + [60], False),  # an hour
        ([5] * 6 + [600], False),  # too short a history
        ([5] * 6 + [40, 81], True),
        ([5] * 6 + [40, 80], False),  # twice the longest
        ([600] + [5] * 14 + [61], True),  # longer ago than 14 days
        ([600] + [5] * 13 + [61], False),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Istanbul", "America/St_Johns"])
def test_a_last_day_that_ends_early(left, is_early, zone):
    found = judge_end(at_the_end(left, ZoneInfo(zone)), AS_OF, ZoneInfo(zone))
    assert (found is not None) == is_early
    if found:
        assert f"No session of {LAST} starts after 22:{'59' if left[-1] == 61 else '39'}, and" in found.sentence


@pytest.mark.parametrize("zone", ["UTC", "Europe/Istanbul"])
def test_a_day_that_was_cut_off_is_worth_a_look(tmp_path, zone):
    """Two thirds of it are there: too many for the gate of the last day, which does not look at the clock."""
    world = World(tmp_path, day_timezone=zone)
    lines = ["creator | viewer | started_at"]
    for on in days("2026-01-01", 31):
        lines += [f"ada | v{hour} | {on} {hour:02}:{minute}" for hour in range(24) for minute in ("15", "45")]
    until = {"UTC": f"{LAST} 16:00", "Europe/Istanbul": f"{LAST} 13:00"}[zone]  # 16 hours of the day
    world.sessions("\n".join(lines[:1] + [line for line in lines[1:] if line.rsplit("| ", 1)[1] < until]))
    (sentence,) = world.run(compare=False).report.as_json()["anomalies"]
    assert sentence.startswith(
        f"No session of {LAST} starts after 15:45, and on the days before the last one started at"
    )
    world.sessions("\n".join(lines[:1] + [line for line in lines[1:] if line.rsplit("| ", 1)[1] >= until]))
    night = world.run(compare=False).report
    assert (night.as_json()["anomalies"], night.facts["problems"]) == ([], [])


def test_on_flights(test_data):
    """Real ones, over a year, and each last day cut off after three quarters of its sessions: both are printed."""
    starts: dict[date, list[datetime]] = defaultdict(list)
    for path in sorted((test_data / "flights" / "landing" / "viewing_sessions").glob("2013-*.ndjson.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                at = datetime.fromisoformat(json.loads(line)["startedAt"])
                starts[at.date()].append(at)
    newest = {day: max(found) for day, found in starts.items()}
    judged = sorted(starts)[14:365]
    wrong = [day for day in judged if judge_end(newest, day + timedelta(days=1), ZoneInfo("UTC"))]
    cut = {day: sorted(starts[day])[len(starts[day]) * 3 // 4] for day in judged}
    caught = [day for day in judged if judge_end(newest | {day: cut[day]}, day + timedelta(days=1), ZoneInfo("UTC"))]
    print(
        f"\nflights: {len(wrong)} of {len(judged)} days said to end early, {len(caught) / len(judged):.1%} of cut ones"
    )
    assert wrong == [date(2013, 2, 8)], "a blizzard"
    assert len(caught) >= 0.95 * len(judged)
