"""Days of a zone and ranges of days: every instant has one day, whatever the clocks of the zone did."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import window
from pipelines.window import Window

UTC_ZONE = ZoneInfo("UTC")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
# Zones whose clocks do something odd; all others are drawn as well.
ODD = ["Pacific/Apia", "Pacific/Kwajalein", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "America/St_Johns"]
ODD += ["Europe/Istanbul", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "Antarctica/Troll"]
zones = st.sampled_from(ODD) | st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime", "Factory"}))
a_zone = zones.map(ZoneInfo)
a_day = st.dates(date(1970, 1, 2), date(2037, 12, 30))


def transitions(zone: ZoneInfo) -> list[date]:
    """The days of fifty years on which a zone's days are not 24 hours long, or begin at another UTC hour."""
    days = [date(1985, 1, 1) + timedelta(days=number) for number in range(50 * 365)]
    starts = [window.day_start(day, zone) for day in days]
    return [day for day, start, end in zip(days, starts, starts[1:], strict=False) if end - start != DAY]


# --- days ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "starts_at", "hours"),
    [
        ("UTC", "2026-01-05", "2026-01-05T00:00Z", 24),
        ("Europe/Istanbul", "2026-01-05", "2026-01-04T21:00Z", 24),
        ("Asia/Kathmandu", "2026-01-05", "2026-01-04T18:15Z", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00Z", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00Z", 25),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30Z", 23.5),
        # Midnight does not exist: the day begins at one.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00Z", 23),
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00Z", 23),
        # The last hour of the day before comes twice.
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00Z", 25),
        # Midnight comes twice: the first one counts.
        ("America/Havana", "2026-11-01", "2026-11-01T04:00Z", 25),
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30Z", 25),
        # The zone changed sides of the date line: the 30th never was.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00Z", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z", 0),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00Z", 24),
    ],
)
def test_a_day_begins_and_ends(zone, day, starts_at, hours):
    """A day is as long as the zone's clocks made it."""
    start, end = window.day_bounds(date.fromisoformat(day), ZoneInfo(zone))
    assert start == datetime.fromisoformat(starts_at)
    assert end - start == hours * HOUR
    assert start.utcoffset() == end.utcoffset() == timedelta(0)


@given(a_zone, a_day)
def test_a_day_begins_with_its_first_instant(zone, day):
    """One millisecond before its start no clock of the zone showed that day yet."""
    start = window.day_start(day, zone)
    assert (start - MILLISECOND).astimezone(zone).date() < day <= start.astimezone(zone).date()


@given(a_zone, a_day)
def test_days_follow_each_other(zone, day):
    """A day ends where the next begins: no instant is between two days or in both."""
    assert window.day_bounds(day, zone)[1] == window.day_bounds(day + DAY, zone)[0]
    start, end = window.day_bounds(day, zone)
    assert timedelta(0) <= end - start <= 2 * DAY


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar day of an instant, from what the wall clock shows: another way than by bounds."""
    day = instant.astimezone(zone).date()
    # Where clocks go back over midnight, the wall clock shows the day before once more; the bounds decide.
    while instant >= window.day_start(day + DAY, zone):
        day += DAY
    while instant < window.day_start(day, zone):
        day -= DAY
    return day


@given(a_zone, st.integers(2 * 86_400_000, 67 * 365 * 86_400_000))
def test_the_day_of_an_instant_is_the_one_that_holds_it(zone, milliseconds):
    """day_of below is the inverse of day_bounds."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + milliseconds * MILLISECOND
    start, end = window.day_bounds(day_of(instant, zone), zone)
    assert start <= instant < end


@given(a_zone, a_day)
def test_the_bounds_of_a_day_are_in_it(zone, day):
    """The first instant and the last millisecond of a day are of that day; its end is of a later one."""
    start, end = window.day_bounds(day, zone)
    if start < end:
        assert day_of(start, zone) == day_of(end - MILLISECOND, zone) == day
    assert day_of(end, zone) > day


# --- days that sessions reach --------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def assert_reached(utc_day: date, longest: timedelta, zone: ZoneInfo) -> None:
    """The days reached are those of the instants from a UTC midnight to `longest` after the next, with their bounds."""
    first = datetime.combine(utc_day, datetime.min.time(), UTC)
    last = first + DAY + longest - MILLISECOND
    reached = window.days_reached(utc_day, longest, zone)
    days = [each.day for each in reached]
    assert (days[0], days[-1]) == (day_of(first, zone), day_of(last, zone))
    for each, following in zip(reached, [*reached[1:], None], strict=True):
        assert each.utc_day == utc_day
        bounds = tuple((bound - EPOCH) // MILLISECOND for bound in window.day_bounds(each.day, zone))
        assert bounds == (each.starts_at, each.ends_at)
        assert each.starts_at < each.ends_at
        assert following is None or following.starts_at == each.ends_at


@given(a_zone, a_day, st.integers(1, 72))
def test_a_session_can_reach_the_days_from_its_first_to_its_last(zone, day, hours):
    """Every day that a session starting on a UTC day can occupy, in order, with nothing between or twice."""
    assert_reached(day, hours * HOUR, zone)


@pytest.mark.parametrize("name", ODD)
def test_days_reached_around_changes_of_the_clocks(name):
    """The same on every day of fifty years that is not 24 hours long."""
    zone = ZoneInfo(name)
    for day in transitions(zone):
        for near in (day - DAY, day, day + DAY):
            assert_reached(near, DAY, zone)


def test_in_utc_a_session_reaches_its_day_and_the_next():
    """With sessions of at most a day, in UTC."""
    reached = window.days_reached(date(2026, 1, 5), DAY, UTC_ZONE)
    assert [each.day for each in reached] == [date(2026, 1, 5), date(2026, 1, 6)]


def test_east_of_utc_a_utc_day_is_of_two_days():
    """In Istanbul a day begins three hours before the UTC day of its date."""
    reached = window.days_reached(date(2026, 1, 5), HOUR, ZoneInfo("Europe/Istanbul"))
    assert [each.day for each in reached] == [date(2026, 1, 5), date(2026, 1, 6)]
    midnight = (datetime(2026, 1, 5, tzinfo=UTC) - EPOCH) // MILLISECOND
    assert reached[0].starts_at == midnight - 3 * HOUR // MILLISECOND


def test_nothing_reaches_a_day_that_never_was():
    """Nothing can happen on the day that Apia left out."""
    reached = window.days_reached(date(2011, 12, 30), DAY, ZoneInfo("Pacific/Apia"))
    assert date(2011, 12, 30) not in [each.day for each in reached]


def test_the_ends_of_the_calendar_are_reached():
    """The last millisecond of the year 9999 is inside its day, and there is no day after it."""
    (last,) = window.days_reached(date.max, DAY, UTC_ZONE)
    assert last.ends_at == (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // MILLISECOND + 86_400_000
    assert window.days_reached(date.min, DAY, UTC_ZONE)[0].day == date.min


@pytest.mark.parametrize(
    ("first", "end", "days"),
    [
        ("2026-01-05T00:00Z", "2026-01-05T00:00Z", []),
        ("2026-01-06T00:00Z", "2026-01-05T00:00Z", []),
        ("2026-01-05T00:00Z", "2026-01-06T00:00Z", ["2026-01-05"]),
        ("2026-01-05T23:59:59.999Z", "2026-01-06T00:00:00.001Z", ["2026-01-05", "2026-01-06"]),
        ("2026-01-05T02:00+03:00", "2026-01-05T03:00+03:00", ["2026-01-04"]),
    ],
)
def test_the_utc_days_that_instants_touch(first, end, days):
    """The end is not included."""
    found = window.utc_days(datetime.fromisoformat(first), datetime.fromisoformat(end))
    assert [day.isoformat() for day in found] == days


# --- windows -------------------------------------------------------------------------------------------------------


def test_a_rolling_window_ends_before_as_of():
    """The 30 days before as_of, which is not in it."""
    days = window.rolling(date(2026, 11, 21), 30)
    assert str(days) == "2026-10-22/2026-11-21"
    assert (days.days, len(list(days))) == (30, 30)
    assert (min(days), max(days)) == (date(2026, 10, 22), date(2026, 11, 20))


@pytest.mark.parametrize("end", [date(2026, 1, 5), date(2026, 1, 4)])
def test_a_window_without_a_day_is_an_error(end):
    """A window that ends where it begins, or before, holds nothing that could be asked."""
    with pytest.raises(ValueError, match="at least a day"):
        Window(date(2026, 1, 5), end)


@given(a_day, st.integers(1, 1000))
def test_a_window_holds_consecutive_days(as_of, length):
    """Every day once, oldest first, up to the one before as_of."""
    days = list(window.rolling(as_of, length)) if as_of.toordinal() > length else [as_of - DAY]
    assert all(later - earlier == DAY for earlier, later in pairwise(days))
    assert days[-1] == as_of - DAY
