"""Days and ranges of days, pure: what a day is in a time zone, and which days a window holds.

Instants are UTC datetimes; ranges are half-open. Nothing here asks the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)
ONE_MILLISECOND = timedelta(milliseconds=1)  # the finest step of an instant that we keep


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)  # after every instant that we keep: those are whole milliseconds


@dataclass(frozen=True, order=True)
class Window:
    """The days from `first_day` (inclusive) to `end_day` (exclusive)."""

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


def rolling(as_of: date, days: int) -> Window:
    """The `days` days before `as_of`."""
    return Window(as_of - timedelta(days=days), as_of)


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a calendar day begins in a zone, in UTC.

    That is the first instant of the day: where a clock change skips or repeats midnight, the earlier one that
    belongs to the day; where a zone left a whole day out, the day begins and ends at the same instant. The first
    day of the calendar begins with the calendar, the last one ends with it, so that every instant has a day.
    """
    if day == date.min:
        return FIRST_INSTANT
    midnight = datetime.combine(day, time.min, zone)
    # Midnight may not exist (clocks go forward at 00:00): fold=0 then gives the offset before the change, which
    # names the very instant of the change. It may be ambiguous: fold=0 is the earlier one.
    return midnight.astimezone(UTC)


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The UTC instants at which a day begins (inclusive) and ends (exclusive)."""
    return day_start(day, zone), END_OF_TIME if day == date.max else day_start(day + ONE_DAY, zone)


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
    """A policy's day that sessions which start on a UTC day can occupy, and its bounds."""

    utc_day: date
    day: date
    starts_at: int  # milliseconds since 1970, inclusive
    ends_at: int  # exclusive


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
            reached.append(DayReached(utc_day, day, starts_at, ends_at))
    return reached


def milliseconds(instant: datetime) -> int:
    """Since EPOCH, rounded up: the end of time lies between two of them."""
    return -((EPOCH - instant) // ONE_MILLISECOND)


def rfc3339(instant: datetime) -> str:
    """An instant as our own files say it: 2026-11-21T03:15:00.000Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
