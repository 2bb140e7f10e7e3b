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
    return next((day for day in days if day_parts(day, zone)), days.first_day)


def utc_days(first: datetime, end: datetime) -> list[date]:
    """The UTC calendar days that the instants [first, end) touch, oldest first; none when it is empty."""
    if first >= end:
        return []
    last = (end - ONE_MILLISECOND).astimezone(UTC).date()
    day = first.astimezone(UTC).date()
    return [day + timedelta(days=offset) for offset in range((last - day).days + 1)]


@dataclass(frozen=True)
class DayPart:
    """The part of a policy's day that falls on one UTC day: how an instant finds its day by an equality join."""

    utc_day: date
    day: date
    starts_at: datetime
    ends_at: datetime
    is_first: bool  # does the day itself begin with this part?


def day_parts(day: date, zone: ZoneInfo) -> list[DayPart]:
    """A day cut at every UTC midnight inside it, oldest part first; none for a day that the zone left out."""
    first, end = day_bounds(day, zone)
    parts = []
    for utc_day in utc_days(first, end):
        midnight = datetime.combine(utc_day, time.min, UTC)
        starts_at = max(first, midnight)
        ends_at = end if utc_day == date.max else min(end, midnight + ONE_DAY)
        parts.append(DayPart(utc_day, day, starts_at, ends_at, is_first=starts_at == first))
    return parts
