"""Days of a zone and ranges of days: every instant has one day, whatever the clocks of the zone did."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core import calendar_days
from pipelines.core.calendar_days import Window

UTC_ZONE = ZoneInfo("UTC")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
# Zones whose clocks do something odd; all others are drawn as well.
ODD = ["Pacific/Apia", "Pacific/Kwajalein", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "America/St_Johns"]
ODD += ["Europe/Istanbul", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "Antarctica/Casey"]
# Zones in which a date came back, or was left out, since 1970.
ODD_DATES = ["America/St_Johns", "Canada/Newfoundland", "America/Goose_Bay", "America/Moncton", "Antarctica/Casey"]
ODD_DATES += ["Pacific/Apia", "Pacific/Fakaofo", "Pacific/Enderbury", "Pacific/Kanton", "Pacific/Kiritimati"]
ODD_DATES += ["Pacific/Kwajalein", "Kwajalein"]
zones = st.sampled_from(ODD) | st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime", "Factory"}))
a_zone = zones.map(ZoneInfo)
a_day = st.dates(date(1970, 1, 2), date(2037, 12, 30))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def changes(zone: ZoneInfo) -> list[datetime]:
    """Every instant from 1970 to 2038 at which the clocks of a zone change: no two are within six days."""
    walls = [
        datetime.combine(date(1970, 1, 2), datetime.min.time()) + timedelta(days=4 * number)
        for number in range(68 * 365 // 4)
    ]
    offsets = [zone.utcoffset(wall) for wall in walls]
    found = []
    for wall, (before, after) in zip(walls, pairwise(offsets), strict=False):
        if before != after:
            since = wall.replace(tzinfo=UTC) - DAY
            first, last = 1, 6 * 86_400  # the second, from `since`, from which on the offset is the new one
            while first < last:
                middle = (first + last) // 2
                if (since + timedelta(seconds=middle)).astimezone(zone).utcoffset() == before:
                    first = middle + 1
                else:
                    last = middle
            found.append(since + timedelta(seconds=first))
    return found


def is_odd(change: datetime, zone: ZoneInfo) -> bool:
    """Whether the date on a wall goes back at a change of the clocks, or leaves a day out."""
    before, after = ((change + offset).astimezone(zone).date() for offset in (-MILLISECOND, timedelta(0)))
    return after < before or after - before > DAY


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
        # The day before comes back after a minute: until 03:30Z, when the 7th begins again.
        ("America/St_Johns", "2010-11-06", "2010-11-06T02:30Z", 25),
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30Z", 25),
        # It comes back after two hours; before 1970 also after most of a day, when Alaska changed sides.
        ("Antarctica/Casey", "2010-03-04", "2010-03-03T13:00Z", 27),
        ("America/Juneau", "1867-10-18", "1867-10-17T08:57:41Z", 48),
        # The clocks left out the last half hour of the day before, or the end of one day and the beginning of the next.
        ("Asia/Singapore", "1982-01-01", "1981-12-31T16:00Z", 24),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30Z", 23.5),
        # The zone changed sides of the date line: the 30th never was.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00Z", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z", 0),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00Z", 24),
    ],
)
def test_a_day_begins_and_ends(zone, day, starts_at, hours):
    """A day is as long as the zone's clocks made it."""
    start, end = calendar_days.day_bounds(date.fromisoformat(day), ZoneInfo(zone))
    assert start == datetime.fromisoformat(starts_at)
    assert end - start == hours * HOUR
    assert start.utcoffset() == end.utcoffset() == timedelta(0)


# --- days that sessions reach --------------------------------------------------------------------------------------


def assert_reached(utc_day: date, longest: timedelta, zone: ZoneInfo, instants: Iterable[datetime] = ()) -> None:
    """The days reached are those that a clock on a wall of the zone shows, instant by instant.

    Asked at the first and the last instant that can be reached, around every bound that is given, and at `instants`.
    """
    first = datetime.combine(utc_day, datetime.min.time(), UTC)
    last = first + DAY + longest - MILLISECOND
    reached = calendar_days.days_reached(utc_day, longest, zone)
    days = [each.day for each in reached]
    assert days == sorted(set(days))
    assert {each.utc_day for each in reached} == {utc_day}
    bounds = {bound for each in reached for bound in vars(each).values() if isinstance(bound, int)}
    asked = {first, last, *instants, *(EPOCH + (bound + step) * MILLISECOND for bound in bounds for step in (-1, 0, 1))}
    for instant in asked:
        if first <= instant <= last:
            at = (instant - EPOCH) // MILLISECOND
            shown = [each.day for each in reached for start, end in each.ranges() if start <= at < end]
            assert shown == [instant.astimezone(zone).date()], instant
    held = {instant.astimezone(zone).date() for instant in asked if first <= instant <= last}
    assert set(days) == held


@given(a_zone, a_day, st.integers(1, 72), st.integers(0, 4 * 86_400_000))
def test_a_session_can_reach_the_days_that_the_wall_shows(zone, day, hours, passed):
    """Every day that a session starting on a UTC day can occupy, in order, and no other."""
    assert_reached(day, hours * HOUR, zone, [datetime(day.year, day.month, day.day, tzinfo=UTC) + passed * MILLISECOND])


@pytest.mark.slow
def test_every_change_of_the_clocks_of_every_zone():
    """Around one in twenty, and around all at which a date comes back or never comes; in the full profile, all."""
    names = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
    is_full = settings.get_current_profile_name() == "full"
    asked, odd = 0, Counter[str]()
    for name in names:
        zone = ZoneInfo(name)
        for number, change in enumerate(changes(zone)):
            odd[name] += is_odd(change, zone)
            if is_full or number % 20 == len(name) % 20 or is_odd(change, zone):
                asked += 1
                around = [change + seconds * timedelta(seconds=1) for seconds in (-3601, -1, 0, 1, 59, 60, 3599, 3600)]
                for day in (-1, 0):
                    assert_reached(change.date() + day * DAY, DAY, zone, around)
    assert odd["America/St_Johns"] == 24
    assert odd["Antarctica/Casey"] == odd["Pacific/Apia"] == 1
    assert {name for name in names if odd[name]} <= set(ODD_DATES), "a zone is to be added to ODD_DATES"
    assert asked > 1_500


@pytest.mark.parametrize(
    "name", ["America/Juneau", "America/Phoenix", "Pacific/Guam", "America/Toronto", "Asia/Manila", "Europe/Moscow"]
)
def test_changes_of_the_clocks_before_1970(name):
    """Whole days that came back, and dates that changed in the middle of a change, in the years of the telegraph."""
    zone = ZoneInfo(name)
    day = date(1844, 1, 1)
    while day < date(1970, 1, 1):
        if (
            datetime(day.year, day.month, day.day, tzinfo=zone).utcoffset()
            != datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=zone).utcoffset()
        ):
            for near in (day - DAY, day, day + DAY):
                assert_reached(near, DAY, zone)
        day += DAY


@given(a_zone, a_day)
def test_a_day_is_what_is_between_its_bounds(zone, day):
    """The first and the last instant of a day are of it, those around its bounds are not; nothing between days."""
    start, end = calendar_days.day_bounds(day, zone)
    if start < end:
        assert start.astimezone(zone).date() == (end - MILLISECOND).astimezone(zone).date() == day
    assert (start - MILLISECOND).astimezone(zone).date() < day < end.astimezone(zone).date()
    assert calendar_days.as_of_instant(day + DAY, zone) == end >= calendar_days.day_bounds(day + DAY, zone)[0]


def test_in_utc_a_session_reaches_its_day_and_the_next():
    """With sessions of at most a day, in UTC."""
    reached = calendar_days.days_reached(date(2026, 1, 5), DAY, UTC_ZONE)
    assert [each.day for each in reached] == [date(2026, 1, 5), date(2026, 1, 6)]


def test_east_of_utc_a_utc_day_is_of_two_days():
    """In Istanbul a day begins three hours before the UTC day of its date."""
    reached = calendar_days.days_reached(date(2026, 1, 5), HOUR, ZoneInfo("Europe/Istanbul"))
    assert [each.day for each in reached] == [date(2026, 1, 5), date(2026, 1, 6)]
    midnight = (datetime(2026, 1, 5, tzinfo=UTC) - EPOCH) // MILLISECOND
    assert reached[0].starts_at == midnight - 3 * HOUR // MILLISECOND


def test_nothing_reaches_a_day_that_never_was():
    """Nothing can happen on the day that Apia left out."""
    reached = calendar_days.days_reached(date(2011, 12, 30), DAY, ZoneInfo("Pacific/Apia"))
    assert date(2011, 12, 30) not in [each.day for each in reached]


def test_the_ends_of_the_calendar_are_reached():
    """The last millisecond of the year 9999 is inside its day, and there is no day after it."""
    (last,) = calendar_days.days_reached(date.max, DAY, UTC_ZONE)
    assert last.ends_at == (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // MILLISECOND + 86_400_000
    assert calendar_days.days_reached(date.min, DAY, UTC_ZONE)[0].day == date.min


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
    found = calendar_days.utc_days(datetime.fromisoformat(first), datetime.fromisoformat(end))
    assert [day.isoformat() for day in found] == days


# --- windows -------------------------------------------------------------------------------------------------------


def test_a_rolling_window_ends_before_as_of():
    """The 30 days before as_of, which is not in it."""
    days = calendar_days.rolling(date(2026, 11, 21), 30)
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
    days = list(calendar_days.rolling(as_of, length)) if as_of.toordinal() > length else [as_of - DAY]
    assert all(later - earlier == DAY for earlier, later in pairwise(days))
    assert days[-1] == as_of - DAY
