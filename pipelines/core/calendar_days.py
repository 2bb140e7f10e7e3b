"""Days and ranges of days, pure: what a day is in a time zone, and which days a window holds.

Instants are UTC datetimes; ranges are half-open. Nothing here asks the clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)
ONE_MILLISECOND = timedelta(milliseconds=1)  # the finest step of an instant that we keep
_ONE_SECOND = timedelta(seconds=1)  # the finest step of a change of the clocks

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)  # after every instant that we keep: those are whole milliseconds


@dataclass(frozen=True, order=True)
class Window:
    """The days from `first_day` (inclusive) to `end_day` (exclusive).

    They are calendar days, not one range of instants: where clocks went back over midnight, the last day of a window
    goes on after the next one has begun. A session is in a window if it occupies an instant of one of its days.
    """

    first_day: date
    end_day: date

    def __post_init__(self) -> None:
        """Raise ValueError for a window without a day."""
        if self.first_day >= self.end_day:
            raise ValueError(f"a window must hold at least a day, not {self}")

    @property
    def days(self) -> int:
        """How many calendar days the window holds."""
        return (self.end_day - self.first_day).days

    def __iter__(self) -> Iterator[date]:
        """Every day, oldest first."""
        return (self.first_day + timedelta(days=offset) for offset in range(self.days))

    def __str__(self) -> str:
        """As an ISO 8601 interval, 2026-10-22/2026-11-21."""
        return f"{self.first_day}/{self.end_day}"


@dataclass(frozen=True)
class InclusiveRange:
    """The days from the first to the last, both included. Unlike a Window it can hold the last day of the calendar."""

    first_day: date
    last_day: date

    def __contains__(self, day: date) -> bool:
        return self.first_day <= day <= self.last_day

    def widened(self, days: int) -> InclusiveRange:
        """Return the range with `days` more on both sides, as far as the calendar has them."""
        first = max(self.first_day.toordinal() - days, date.min.toordinal())
        last = min(self.last_day.toordinal() + days, date.max.toordinal())
        return InclusiveRange(date.fromordinal(first), date.fromordinal(last))

    def select(self, days: Mapping[date, object]) -> list[date]:
        """Return the days of an ordered mapping that lie in the range, in the mapping's order."""
        ordered = list(days)
        return ordered[bisect_left(ordered, self.first_day) : bisect_right(ordered, self.last_day)]


def rolling(as_of: date, days: int) -> Window:
    """The `days` days before `as_of`."""
    return Window(as_of - timedelta(days=days), as_of)


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the UTC instants at which a day begins in a zone, and from which on it never occurs again.

    What lies between them is mostly the day. Two kinds of days are others. Where a zone left a whole day out, it begins
    and ends at the same instant. Where clocks go back over midnight, the day before is shown once more after the next
    one has begun (in America/St_Johns from 00:01 until 2011), so that the bounds of the two overlap: `days_reached`
    says which instants are of which. The first day of the calendar begins with the calendar, the last one ends with
    it, so that every instant has a day.
    """
    starts_at = FIRST_INSTANT if day == date.min else _beginnings(day, zone)[0]
    return starts_at, END_OF_TIME if day == date.max else _beginnings(day + ONE_DAY, zone)[-1]


def as_of_instant(as_of: date, zone: ZoneInfo) -> datetime:
    """Return the UTC instant at which the day before as_of is over for good. What is older is known at as_of."""
    return day_bounds(as_of - ONE_DAY, zone)[1]


@lru_cache(maxsize=1024)  # the days that UTC days reach overlap
def _beginnings(day: date, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants at which clocks stop showing earlier days: mostly one.

    Where clocks go back over midnight there are three: the first midnight, the change, from which on they show the day
    before once more, and the second midnight.
    """
    midnight = datetime.combine(day, time.min, zone)
    first, second = midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC)
    if first == second:
        return (first,)
    change = _change(min(first, second), max(first, second), midnight.replace(fold=1).utcoffset(), zone)
    if first > second:  # clocks went forward over midnight: the change begins the day
        return (change,)
    if change == second:  # they went back to midnight, not over it
        return (first,)
    return first, change, second


def _change(before: datetime, after: datetime, offset: timedelta | None, zone: ZoneInfo) -> datetime:
    """The instant at which clocks begin to have an offset, which `after` has: by bisection to the second."""
    while before < after:
        middle = before + (after - before) // (2 * _ONE_SECOND) * _ONE_SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle + _ONE_SECOND
    return after


def days_around(day: date, before: int, after: int) -> list[date]:
    """The days from `before` days before a day to `after` days after it, as far as the calendar goes."""
    first = max(day.toordinal() - before, date.min.toordinal())
    last = min(day.toordinal() + after, date.max.toordinal())
    return [date.fromordinal(ordinal) for ordinal in range(first, last + 1)]


def first_with_length(days: Window, zone: ZoneInfo) -> date:
    """The first day of a window that is not one that the zone left out; the first one if it has no other."""
    return next((day for day in days if len(set(day_bounds(day, zone))) == 2), days.first_day)


def utc_days(first: datetime, end: datetime) -> list[date]:
    """The UTC calendar days that the instants [first, end) touch, oldest first; none when it is empty."""
    if first >= end:
        return []
    last = (end - ONE_MILLISECOND).astimezone(UTC).date()
    day = first.astimezone(UTC).date()
    return [day + timedelta(days=offset) for offset in range((last - day).days + 1)]


@dataclass(frozen=True)
class DayReached:
    """A policy's day that sessions which start on a UTC day can occupy. Instants are milliseconds since 1970.

    An instant is of the day that a clock on a wall of the zone shows. Those of a day are [starts_at, ends_at) without
    [other_from, other_until), in which the clock shows `other_day`: the day before or the day after, which comes there
    because clocks went back over midnight. On all other days that range is empty, and `other_day` the day itself.
    """

    utc_day: date
    day: date
    starts_at: int  # inclusive
    ends_at: int  # exclusive
    other_day: date
    other_from: int  # inclusive
    other_until: int  # exclusive

    def ranges(self) -> list[tuple[int, int]]:
        """The instants of the day as ranges [from, until), in order: one, or two where it comes twice."""
        if self.other_from == self.other_until:
            return [(self.starts_at, self.ends_at)]
        return [(self.starts_at, self.other_from), (self.other_until, self.ends_at)]


def days_reached(utc_day: date, longest: timedelta, zone: ZoneInfo) -> list[DayReached]:
    """The days of a zone that a session starting on a UTC day and lasting at most `longest` can occupy, oldest first.

    A day that the zone left out is none of them.
    """
    midnight = milliseconds(datetime.combine(utc_day, time.min, UTC))
    end = midnight + (ONE_DAY + longest) // ONE_MILLISECOND
    reached = []
    for day in days_around(utc_day, before=1, after=longest.days + 2):
        starts_at, ends_at = (milliseconds(bound) for bound in day_bounds(day, zone))
        if starts_at < ends_at and starts_at < end and ends_at > midnight:
            other = _other_day(day, zone) or (day, ends_at, ends_at)
            reached.append(DayReached(utc_day, day, starts_at, ends_at, *other))
    return reached


def _other_day(day: date, zone: ZoneInfo) -> tuple[date, int, int] | None:
    """The day that is shown between the bounds of another one, from when and until when; None: mostly.

    No zone has two such days. Where clocks go back over midnight, the day that had begun is shown between its first
    midnight and the change; the day before, once more, between the change and the second midnight.
    """
    if day > date.min and len(beginnings := _beginnings(day, zone)) > 1:
        return day - ONE_DAY, milliseconds(beginnings[1]), milliseconds(beginnings[2])
    if day < date.max and len(beginnings := _beginnings(day + ONE_DAY, zone)) > 1:
        return day + ONE_DAY, milliseconds(beginnings[0]), milliseconds(beginnings[1])
    return None


def milliseconds(instant: datetime) -> int:
    """Milliseconds since EPOCH, rounded up: the last instant of the calendar lies between two of them."""
    return -((EPOCH - instant) // ONE_MILLISECOND)


def rfc3339(instant: datetime) -> str:
    """An instant as our own files say it: 2026-11-21T03:15:00.000Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
