"""A day is a calendar day in the policy's time zone."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest

DAY = timedelta(days=1)


def test_the_day_boundary_is_midnight_in_istanbul(world):
    """In Europe/Istanbul a day begins at 21:00 UTC of the day before."""
    world.sessions("""
        creator | viewer | started_at              | minutes
        ada     | v1     | 2026-01-09 20:59:59.999 |
        ada     | v2     | 2026-01-09 21:00        | 1
        ada     | v3     | 2026-01-10 20:59:59.999 |
        ada     | v4     | 2026-01-10 21:00        | 1
    """)
    night = world.run(day_timezone="Europe/Istanbul")
    assert [row.viewers for row in night.top("2026-01-09", "2026-01-10")] == [1]
    assert [row.viewers for row in night.top("2026-01-10", "2026-01-11")] == [2]
    assert night.manifest["policy"]["day_timezone"] == "Europe/Istanbul"


def test_a_session_over_midnight_there_is_two_days_and_over_midnight_here_one(world):
    """In Istanbul midnight is at 21:00 UTC: what ends then is not in the next day; 00:00 UTC is no boundary."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ends    | v1     | 2026-01-09 20:00 | 2026-01-09 21:00
        crosses | v1     | 2026-01-09 20:30 | 2026-01-09 21:00:00.001
        begins  | v1     | 2026-01-09 21:00 | 2026-01-09 21:30
        utc     | v1     | 2026-01-09 23:30 | 2026-01-10 00:30
    """)
    night = world.run(day_timezone="Europe/Istanbul")
    ninth, tenth, eleventh = (night.top(f"2026-01-{day:02}", f"2026-01-{day + 1}") for day in (9, 10, 11))
    assert [(row.creator_id, row.watched_seconds) for row in ninth] == [("ends", 3600), ("crosses", 1800)]
    assert [(row.creator_id, row.watched_seconds) for row in tenth] == [("utc", 3600), ("begins", 1800), ("crosses", 0)]
    assert eleventh == []


def test_as_of_is_midnight_in_the_time_zone(world):
    """as_of, and the first day of the window, begin at midnight in the policy's zone."""
    world.sessions("""
        creator | viewer | started_at
        early   | v1     | 2025-12-31 20:59:59.999
        first   | v1     | 2025-12-31 21:00
        last    | v1     | 2026-01-30 20:59:59.999
        late    | v1     | 2026-01-30 21:00
    """)
    assert world.run(day_timezone="Europe/Istanbul").viewers() == [("first", 1), ("last", 1)]


def test_another_time_zone_is_another_snapshot(world):
    """The policy is part of the snapshot's id, the time zone of the policy, even where the numbers agree."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-10 12:00 | 1
    """)
    assert world.run().snapshot_id != world.run(day_timezone="Europe/Istanbul").snapshot_id


@pytest.mark.parametrize(
    ("timezone", "changes_on", "hours"),
    [
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("America/Havana", "2026-03-08", 23),  # has no midnight on that day
        ("America/St_Johns", "2010-11-06", 24 + 59 / 60),  # comes back for an hour, a minute after midnight
        ("America/St_Johns", "2010-11-07", 24 + 1 / 60),  # is over again after its first minute
        ("Antarctica/Casey", "2010-03-04", 25),  # comes back two hours after midnight
        ("Antarctica/Casey", "2010-03-05", 26),
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-30", 0),  # was left out of the calendar
        ("Pacific/Apia", "2011-12-31", 24),
    ],
)
def test_days_on_which_the_clocks_change(world, timezone, changes_on, hours):
    """A day is as long as it is: somebody who watches throughout has watched that long, on that day."""
    changed = date.fromisoformat(changes_on)
    half_days = [datetime.combine(changed, time.min) + timedelta(hours=hours) for hours in range(-60, 60, 12)]
    world.sessions("creator | viewer | started_at | hours\n" + "\n".join(f"ada|v1|{at}|12" for at in half_days))
    world.sessions("creator | viewer | started_at\n" + "\n".join(f"bob|{at}|{at}" for at in half_days))
    night = world.run(changed + 2 * DAY, day_timezone=timezone)
    ada = [row for row in night.top(changed, changed + DAY) if row.creator_id == "ada"]
    assert sum(row.watched_seconds for row in ada) == round(hours * 3600)
    right = world.oracle(changed + 2 * DAY, night.settings)
    for first in range(-3, 2):
        for end in range(first + 1, 3):
            range_of_days = (changed + first * DAY, changed + end * DAY)
            assert night.top(*range_of_days) == right.ranking(*range_of_days)


def test_an_instant_of_a_day_that_came_back_is_of_that_day(world):
    """In St John's, 7 November 2010 began, was over after a minute, and began again an hour later."""
    world.sessions("""
        creator | viewer | started_at
        sixth   | v1     | 2010-11-07 02:29:59.999
        seventh | v1     | 2010-11-07 02:30
        seventh | v2     | 2010-11-07 02:30:59.999
        sixth   | v2     | 2010-11-07 02:31
        sixth   | v3     | 2010-11-07 02:45
        sixth   | v4     | 2010-11-07 03:29:59.999
        seventh | v3     | 2010-11-07 03:30
    """)
    night = world.run("2010-11-08", day_timezone="America/St_Johns")
    for first, end, right in [("06", "07", [("sixth", 4)]), ("07", "08", [("seventh", 3)])]:
        found = night.top(f"2010-11-{first}", f"2010-11-{end}")
        assert [(row.creator_id, row.viewers) for row in found] == right


@pytest.mark.parametrize(
    ("timezone", "day", "changes"),
    [
        ("America/St_Johns", "2010-11-07", ("02:30", "02:31", "03:30")),
        ("Antarctica/Casey", "2010-03-05", ("2010-03-04 13:00", "2010-03-04 15:00", "2010-03-04 16:00")),
    ],
)
def test_sessions_over_the_changes_of_a_day_that_came_back(world, timezone, day, changes):
    """A session counts once on each of its days, and once in a range of them, wherever it begins and ends."""
    instants = [datetime.fromisoformat(at if " " in at else f"{day} {at}") for at in changes]
    ends = sorted({at + timedelta(milliseconds=around) for at in instants for around in (-1, 0, 1)})
    ends = [ends[0] - 2 * timedelta(hours=1), *ends, ends[-1] + timedelta(hours=1)]
    spans = [(start, end) for start in ends for end in ends if start <= end]
    lines = [f"c{number % 3}|v{number}|{start}|{end}" for number, (start, end) in enumerate(spans)]
    world.sessions("creator | viewer | started_at | ended_at\n" + "\n".join(lines))
    changed = date.fromisoformat(day)
    for later in (0, 1, 2):
        as_of = changed + later * DAY
        night = world.run(as_of, day_timezone=timezone)  # compares with the oracle, the books too
        right = world.oracle(as_of, night.settings)
        for first in range(-3, later):
            for end in range(first + 1, later + 1):
                range_of_days = (changed + first * DAY, changed + end * DAY)
                assert night.top(*range_of_days) == right.ranking(*range_of_days)


def test_what_is_known_at_as_of_is_what_was_when_the_day_before_was_over_for_good(world):
    """A profile that changed in the hour that came back is known as of the day after."""
    world.sessions("""
        creator | viewer | started_at
        ada     | v1     | 2010-11-06 12:00
        bob     | v1     | 2010-11-06 12:00
    """)
    banned = {"username": "x", "status": "banned"}
    world.land("creators", [banned | {"_id": "ada", "updatedAt": "2010-11-07T03:29:59.999Z"}])
    world.land("creators", [banned | {"_id": "bob", "updatedAt": "2010-11-07T03:30:00Z"}])
    assert world.run("2010-11-07", day_timezone="America/St_Johns").viewers() == [("bob", 1)]


def test_a_window_may_begin_on_a_day_that_was_left_out(world):
    """A window from Apia's missing 30 December 2011 begins where the 31st does, with what is carried over it."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2011-12-30 09:30 | 2011-12-30 10:30
    """)
    ada = world.run("2012-01-29", day_timezone="Pacific/Apia").measured("ada")
    assert (ada.viewers, ada.sessions, ada.watched_seconds) == (1, 1, 1800)


@pytest.mark.parametrize(
    "timezone", ["America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Kiritimati"]
)
def test_thirty_days_are_thirty_calendar_days(world, timezone):
    """A window over a change of the clocks is 30 calendar days, not 720 hours."""
    lines = [
        f"h{hour:02} | v1 | {on} {hour:02}:15"
        for hour in range(24)
        for on in ("2026-03-02", "2026-03-03", "2026-04-01", "2026-04-02")
    ]
    world.sessions("creator | viewer | started_at\n" + "\n".join(lines))
    night = world.run("2026-04-02", day_timezone=timezone)
    assert night.ranking() == world.oracle("2026-04-02", night.settings).window(30)


@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_first_and_the_last_instant_of_the_calendar_break_nothing(world, timezone):
    """Sessions in the years 1 and 9999 are outside the window and not yet, in every zone."""
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"
    world.land(
        "viewing_sessions",
        [
            {"sessionId": "a", "creatorId": "ada", "startedAt": first, "endedAt": "0001-01-01T01:00:00Z"},
            {"sessionId": "b", "creatorId": "ada", "startedAt": "9999-12-31T23:00:00Z", "endedAt": last},
            {"sessionId": "c", "creatorId": "ada", "startedAt": "2026-01-09T10:00:00Z", "endedAt": last},
        ],
    )
    night = world.run(compare=False, day_timezone=timezone)  # the oracle's datetimes end where these begin
    counts = {outcome: count for outcome, count in night.report.funnel.items() if count}
    assert counts == {"accepted": 3, "outside_window": 1, "not_yet": 1, "ranked": 1}
