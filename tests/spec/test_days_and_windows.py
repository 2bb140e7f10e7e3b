"""Which days and windows a session belongs to."""

from __future__ import annotations

import itertools
from datetime import date

import pytest
from world import AS_OF

from pipelines.core.errors import UsageError
from pipelines.core.settings import load
from pipelines.jobs import nightly


def test_the_window_is_half_open(world):
    """`[as_of - N days, as_of)`: the first instant of the first day is in, that of as_of is not."""
    world.sessions("""
        creator | viewer | started_at
        early   | v1     | 2025-12-31 23:59:59.999
        first   | v1     | 2026-01-01 00:00
        last    | v1     | 2026-01-30 23:59:59.999
        late    | v1     | 2026-01-31 00:00
    """)
    assert world.run().viewers() == [("first", 1), ("last", 1)]


def test_every_published_window_ends_at_as_of(world):
    """The windows of 1, 7 and 30 days are the last 1, 7 and 30 days."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-30 10:00 | 1
        ada     | v2     | 2026-01-29 10:00 | 1
        ada     | v3     | 2026-01-24 10:00 | 1
        ada     | v4     | 2026-01-23 10:00 | 1
        ada     | v5     | 2026-01-01 10:00 | 1
        ada     | v6     | 2025-12-31 10:00 | 1
    """)
    night = world.run()
    assert [night.viewers(window) for window in (1, 7, 30)] == [[("ada", 1)], [("ada", 3)], [("ada", 5)]]


def test_a_session_over_midnight_belongs_to_both_days(world):
    """A session counts on every day that it overlaps, each day with its own part of the time."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-10 23:40 | 2026-01-11 00:10
    """)
    night = world.run()
    tenth = night.top("2026-01-10", "2026-01-11")[0]
    eleventh = night.top("2026-01-11", "2026-01-12")[0]
    both = night.top("2026-01-10", "2026-01-12")[0]
    assert (tenth.viewers, tenth.sessions, tenth.watched_seconds) == (1, 1, 1200)
    assert (eleventh.viewers, eleventh.sessions, eleventh.watched_seconds) == (1, 1, 600)
    assert (both.viewers, both.sessions, both.watched_seconds) == (1, 1, 1800)


def test_a_session_over_several_days_belongs_to_all_of_them(world):
    """A session longer than a day counts on the days between too."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-10 12:00 | 2026-01-13 12:00
    """)
    night = world.run(max_session_hours=100)
    measured = [night.top(f"2026-01-{day:02}", f"2026-01-{day + 1}") for day in range(9, 15)]
    assert [[row.watched_seconds for row in rows] for rows in measured] == [
        [],
        [43200],
        [86400],
        [86400],
        [43200],
        [],
    ]
    (all_of_it,) = night.top("2026-01-09", "2026-01-15")
    assert (all_of_it.sessions, all_of_it.viewers, all_of_it.watched_seconds) == (1, 1, 259200)


def test_a_session_that_ends_exactly_at_midnight_stays_in_its_day(world):
    """A session ending at midnight does not touch the day that begins there."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-10 23:00 | 2026-01-11 00:00
    """)
    night = world.run()
    assert night.top("2026-01-11", "2026-01-12") == []
    assert night.top("2026-01-10", "2026-01-11")[0].watched_seconds == 3600


def test_one_millisecond_after_midnight_is_another_day(world):
    """A session that goes on for a millisecond of the next day counts there, with 0 whole seconds."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-10 23:00 | 2026-01-11 00:00:00.001
    """)
    (row,) = world.run().top("2026-01-11", "2026-01-12")
    assert (row.viewers, row.sessions, row.watched_seconds) == (1, 1, 0)


def test_a_session_of_zero_length_occupies_its_instant(world):
    """A session that ends when it starts counts on that day, also at the very first instant of it."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-10 00:00 | 2026-01-10 00:00
    """)
    night = world.run()
    assert night.top("2026-01-09", "2026-01-10") == []
    (row,) = night.top("2026-01-10", "2026-01-11")
    assert (row.viewers, row.sessions, row.watched_seconds) == (1, 1, 0)


def test_a_session_begun_before_the_window_counts_with_its_part_inside(world):
    """A session that reaches into the window counts, with the time inside it."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2025-12-31 23:00 | 2026-01-01 00:30
        bob     | v1     | 2025-12-31 23:00 | 2026-01-01 00:00
    """)
    night = world.run()
    assert night.viewers() == [("ada", 1)]
    assert night.measured("ada").watched_seconds == 1800


def test_a_session_that_goes_on_after_as_of_counts_with_its_part_inside(world):
    """A session that begins before as_of and ends after it counts, with the time before as_of."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-30 23:00 | 2026-01-31 02:30
    """)
    assert world.run().measured("ada").watched_seconds == 3600


def test_milliseconds_are_summed_before_seconds_are_made(world):
    """Watched time is summed in milliseconds and floored once, not session by session."""
    world.sessions("""
        creator | viewer | started_at       | seconds
        ada     | v1     | 2026-01-10 23:00 | 0.6
        ada     | v1     | 2026-01-11 23:00 | 0.6
        ada     | v1     | 2026-01-12 23:00 | 0.7
    """)
    assert world.run().measured("ada").watched_seconds == 1


def test_instants_are_cut_to_the_millisecond(world):
    """Digits after the millisecond are cut off, so that the last moment of a day stays in that day."""
    world.sessions("""
        creator | viewer | started_at
        ada     | v1     | 2026-01-10T23:59:59.999999Z
        bob     | v1     | 2026-01-11T02:59:59.9999+03:00
    """)
    night = world.run()
    assert [row.creator_id for row in night.top("2026-01-10", "2026-01-11")] == ["ada", "bob"]
    assert night.top("2026-01-11", "2026-01-12") == []


def test_any_range_inside_the_snapshot_is_exact(world):
    """A viewer of several days counts once in every range that holds one of them."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-02 10:00 | 1
        ada     | v1     | 2026-01-03 10:00 | 1
        ada     | v1     | 2026-01-20 10:00 | 1
        ada     | v2     | 2026-01-03 10:00 | 1
        bob     | v1     | 2026-01-04 10:00 | 1
    """)
    night = world.run()
    right = world.oracle("2026-01-31")
    bounds = [date(2026, 1, number) for number in (1, 2, 3, 4, 5, 20, 21, 31)]
    for first, end in itertools.combinations(bounds, 2):
        assert night.top(first, end) == right.ranking(first, end), (first, end)


@pytest.mark.parametrize(
    ("first", "end", "why"),
    [
        ("2025-12-30", "2026-01-10", "begins before the snapshot's days"),
        ("2026-01-10", "2026-02-01", "ends after as_of"),
        ("2025-12-31", "2026-01-31", "longer than the longest window"),
        ("2026-01-10", "2026-01-10", "empty"),
        ("2026-01-11", "2026-01-10", "backwards"),
    ],
)
def test_a_range_that_cannot_be_answered_is_an_error(world, first, end, why):
    """A question outside the snapshot is an error, never a smaller number."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-02 10:00 | 1
    """)
    night = world.run()
    with pytest.raises(UsageError):
        night.top(first, end)


def test_the_whole_reach_of_the_cube_can_be_asked(world):
    """A snapshot holds one day more than its longest window: yesterday's longest window can be asked too."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2025-12-31 10:00 | 1
        ada     | v1     | 2026-01-29 10:00 | 1
        ada     | v2     | 2026-01-30 10:00 | 1
    """)
    night = world.run()
    assert [row.viewers for row in night.top("2025-12-31", "2026-01-30")] == [1]
    assert [row.viewers for row in night.top("2026-01-01", "2026-01-31")] == [2]


def test_a_longer_longest_window_gives_the_same_short_ones(world):
    """The rankings do not depend on how far back the cube can look."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2025-12-02 10:00 | 1
        ada     | v1     | 2026-01-01 10:00 | 1
        ada     | v1     | 2026-01-30 10:00 | 1
        ada     | v2     | 2026-01-30 10:00 | 1
    """)
    short, long = world.run(), world.run(max_window_days=45)
    assert short.ranking() == long.ranking()
    assert [row.viewers for row in long.top("2025-12-17", "2026-01-31")] == [2]


def test_a_window_longer_than_the_cube_is_wrong_usage(world):
    """A window that the cube cannot answer is refused with a message, before anything is built."""
    environ = {"MOSTWATCHED_WINDOWS": "1,40", "MOSTWATCHED_MAX_WINDOW_DAYS": "30"}
    with pytest.raises(UsageError, match="40"):
        nightly.run(load(world.settings.home, environ), AS_OF)


def test_windows_are_a_setting(world):
    """Other windows than 1, 7 and 30 days can be published."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-28 10:00 | 1
        ada     | v2     | 2026-01-17 10:00 | 1
    """)
    night = world.run(windows=(3, 14, 30))
    assert [night.viewers(window) for window in (3, 14)] == [[("ada", 1)], [("ada", 2)]]
