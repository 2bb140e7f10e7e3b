"""What queries over a snapshot answer, as plain values: the endpoints write them as JSON and CSV, the pages as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from pipelines.api.cube import DayOfCreator


class RangeNotHeld(ValueError):
    """The snapshot cannot answer for that range; the message says what it holds."""


class UnknownCreator(Exception):
    """No creator with this ID is listed."""


@dataclass(frozen=True)
class Range:
    """The days from `first` (inclusive) to `end` (exclusive)."""

    first: date
    end: date

    @property
    def days(self) -> int:
        """How many they are."""
        return (self.end - self.first).days

    @property
    def last(self) -> date:
        """The last day of it."""
        return self.end - timedelta(days=1)

    def earlier(self, days: int) -> Range | None:
        """The same range some days earlier; None before the calendar begins."""
        if self.first.toordinal() <= days:
            return None
        return Range(self.first - timedelta(days=days), self.end - timedelta(days=days))


@dataclass(frozen=True)
class Figures:
    """What a creator reached in a range."""

    viewers: int
    anonymous_viewers: int
    sessions: int
    watched_seconds: int


@dataclass(frozen=True)
class Profile:
    """The names of a creator; all but the id may be unknown."""

    creator_id: str
    username: str | None
    name: str | None
    surname: str | None
    expertise: str | None

    @property
    def title(self) -> str:
        """The name to show."""
        return " ".join(part for part in (self.name, self.surname) if part) or self.username or self.creator_id


@dataclass(frozen=True)
class Row:
    """One creator in the ranking of a range."""

    position: int
    rank: int
    rank_yesterday: int | None  # in the same range a day earlier; None: not in it, or not held
    rank_last_week: int | None
    profile: Profile
    viewers: int
    anonymous_viewers: int
    sessions: int
    watched_seconds: int
    before: Figures | None  # in the period before; None: it is not compared with
    trend: list[int]  # viewers in every window of TREND_DAYS days, as in Cube.trend_ends; empty unless asked for


@dataclass(frozen=True)
class Totals:
    """What all creators of a range have together."""

    total: int
    sessions: int
    watched_seconds: int


@dataclass(frozen=True)
class Page:
    """A part of the ranking of a range."""

    range: Range
    yesterday: Range | None  # what the movement is compared with; None: not held
    last_week: Range | None
    total: int  # creators in the ranking
    sessions: int  # of all of them
    watched_seconds: int
    anonymous_viewers: int  # of all of them, added up: whether there are any
    before: Totals | None  # of as many days just before; None: not held, not shown, or without data at its start
    matched: int  # those that were looked for
    rows: list[Row]


@dataclass(frozen=True)
class Stream:
    """A scheduled stream, and how far its funding has come."""

    stream_id: str
    title: str | None
    planned_start: datetime | None
    access_type: str | None
    interest: str | None
    goal: Decimal | None
    collected: Decimal | None
    currency: str | None
    percentage: int | None
    backers: int


@dataclass(frozen=True)
class TrendPoint:
    """The window of TREND_DAYS days that ends on a day."""

    end: date
    viewers: int
    rank: int | None  # None: no session in it


@dataclass(frozen=True)
class Creator:
    """One creator: in a range, and over all days that the snapshot holds."""

    profile: Profile
    row: Row | None  # None: no session in the range
    range: Range
    yesterday: Range | None
    last_week: Range | None
    total: int
    days: list[DayOfCreator]
    trend: list[TrendPoint]
    streams: list[Stream]
