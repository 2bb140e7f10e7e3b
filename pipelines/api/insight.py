"""Queries over one snapshot, for the pages and their endpoints: rankings of any range, movement, one creator over time.

Plain values in, plain values out, worked out from the cube and the public tables; no HTTP, no clock. It never reads
the private tables.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.api import cube as cubes
from pipelines.api.cube import Cube, DayOfCreator, Ints
from pipelines.api.responses import ids
from pipelines.snapshots.manifest import Snapshot

UNLISTED = ("banned", "deleted")  # creators who are left out before ranking, and are shown nowhere
SCHEDULED = "scheduled"
KEPT_BYTES = 64 << 20  # of rankings that were asked for; the ranges of the page are nearly always the same
KEPT_AT_LEAST = 12

_PROFILE = ("username", "name", "surname", "expertise")


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


@dataclass(frozen=True, eq=False)
class Ranked:
    """The ranking of one range, by position: who, and what they reached."""

    range: Range
    creators: Ints  # positions in Cube.ids
    ranks: Ints
    viewers: Ints
    anonymous_viewers: Ints
    sessions: Ints
    watched_seconds: Ints
    position_of: Ints  # of every creator of the cube; -1: not in it

    def rank_of(self, creator: int) -> int | None:
        """The rank of a creator."""
        position = int(self.position_of[creator])
        return None if position < 0 else int(self.ranks[position])


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
    trend: list[int]  # viewers in every window of TREND_DAYS days, as in Cube.trend_ends; empty unless asked for


@dataclass(frozen=True)
class Page:
    """A part of the ranking of a range."""

    range: Range
    yesterday: Range | None  # what the movement is compared with; None: not held
    last_week: Range | None
    total: int  # creators in the ranking
    sessions: int  # of all of them
    watched_seconds: int
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


class Insight:
    """Queries over one snapshot. For one thread at a time."""

    def __init__(
        self, as_of: date, windows: Sequence[int], cube: Cube, creators: pa.Table, streams: Mapping[str, list[Stream]]
    ) -> None:
        self.as_of = as_of
        self.windows = tuple(windows)
        self.cube = cube
        profiles = creators.take(pc.index_in(cube.ids, value_set=ids(creators, "creator_id").combine_chunks()))
        self._profiles = profiles.select(_PROFILE)
        unlisted = pc.is_in(profiles["status"], value_set=pa.array(UNLISTED, profiles["status"].type))
        self._is_listed = ~pc.fill_null(unlisted, False).to_numpy()
        # the order of creator ids, by their bytes, as a number each
        order = pc.sort_indices(cube.ids).to_numpy()
        self._id_order = np.empty(len(order), dtype=np.int64)
        self._id_order[order] = np.arange(len(order))
        self._streams = streams
        self._kept: OrderedDict[Range, Ranked] = OrderedDict()

    def prepare(self) -> None:
        """Compute what nearly every query needs, so that the first one is as fast as the next."""
        _ = self.cube.trend
        for days in self.windows:
            try:
                self.page(self.window(days), 0, 0)
            except RangeNotHeld:
                continue

    # --- which range ---

    def window(self, days: int) -> Range:
        """The last `days` days."""
        return self.checked_range(self.as_of.toordinal() - days, self.as_of.toordinal())

    def checked_range(self, first: int, end: int) -> Range:
        """The range between two days, as ordinals. Raises RangeNotHeld."""
        cube = self.cube
        if cube.first_day is None or cube.end_day is None:
            raise RangeNotHeld("this snapshot holds no days")
        if end <= first:
            raise RangeNotHeld("to is exclusive and must be after from")
        if end - first > cube.max_window_days:
            raise RangeNotHeld(f"a range may hold at most {cube.max_window_days} days")
        if first < cube.first_day.toordinal() or end > cube.end_day.toordinal():  # safeguard: range-within-the-snapshot
            raise RangeNotHeld(f"this snapshot holds the days from {cube.first_day} to {cube.end_day} (exclusive)")
        asked = Range(date.fromordinal(first), date.fromordinal(end))
        if not cube.holds(asked.first, asked.end):
            raise RangeNotHeld("this snapshot lacks a day of that range")
        # safeguard: no-difference-of-asked-ranges
        if cube.min_cell and (end != self.as_of.toordinal() or end - first not in self.windows):
            windows = ", ".join(map(str, self.windows))
            raise RangeNotHeld(f"this snapshot answers for its own windows alone: {windows} days before {self.as_of}")
        return asked

    # --- rankings ---

    def ranked(self, asked: Range) -> Ranked:
        """The ranking of a range that is held."""
        found = self._kept.get(asked)
        if found is None:
            found = self._kept[asked] = self._rank(asked)
        self._kept.move_to_end(asked)
        bytes_each = max(1, len(self.cube.ids)) * 8 * 7
        while len(self._kept) > max(KEPT_AT_LEAST, min(KEPT_BYTES // bytes_each, 1000)):
            self._kept.popitem(last=False)
        return found

    def _rank(self, asked: Range) -> Ranked:
        reach = self.cube.reach(asked.first, asked.end)
        is_shown = (reach.sessions > 0) & self._is_listed  # safeguard: unlisted-creators-in-no-range
        is_shown &= reach.viewers >= self.cube.min_cell  # safeguard: small-audiences-in-no-range
        there = np.flatnonzero(is_shown)
        anonymous = np.where(reach.anonymous_viewers >= self.cube.min_cell, reach.anonymous_viewers, 0)
        order = np.lexsort((self._id_order[there], -reach.watched_seconds[there], -reach.viewers[there]))
        creators = there[order]
        viewers = reach.viewers[creators]
        positions = np.arange(len(creators), dtype=np.int64)
        begins = np.ones(len(creators), dtype=bool)  # of those with the same number of viewers
        begins[1:] = viewers[1:] != viewers[:-1]
        position_of = np.full(len(self.cube.ids), -1, dtype=np.int64)
        position_of[creators] = positions
        return Ranked(
            range=asked,
            creators=creators,
            ranks=np.maximum.accumulate(np.where(begins, positions + 1, 0)),
            viewers=viewers,
            anonymous_viewers=anonymous[creators],
            sessions=reach.sessions[creators],
            watched_seconds=reach.watched_seconds[creators],
            position_of=position_of,
        )

    def page(self, asked: Range, offset: int, limit: int, search: str = "", *, with_trend: bool = False) -> Page:
        """Return rows of the ranking of a range, only those that match a search; positions are of the whole ranking."""
        if self.cube.first_day is None:
            return Page(asked, None, None, 0, 0, 0, 0, [])
        ranked = self.ranked(asked)
        positions = np.arange(len(ranked.creators))
        if wanted := search_key(search):
            names = self._names
            positions = positions[[wanted in names[creator] for creator in ranked.creators.tolist()]]
        yesterday, last_week = self._before(asked, 1), self._before(asked, 7)
        return Page(
            range=asked,
            yesterday=yesterday,
            last_week=last_week,
            total=len(ranked.creators),
            sessions=int(ranked.sessions.sum()),
            watched_seconds=int(ranked.watched_seconds.sum()),
            matched=len(positions),
            rows=self._rows(ranked, positions[offset : offset + limit].tolist(), yesterday, last_week, with_trend),
        )

    def _before(self, asked: Range, days: int) -> Range | None:
        earlier = asked.earlier(days)
        return earlier if earlier is not None and self.cube.holds(earlier.first, earlier.end) else None

    def _rows(
        self,
        ranked: Ranked,
        positions: Sequence[int],
        yesterday: Range | None,
        last_week: Range | None,
        with_trend: bool,
    ) -> list[Row]:
        before = self.ranked(yesterday) if yesterday is not None else None
        long_before = self.ranked(last_week) if last_week is not None else None
        creators = ranked.creators[positions].tolist()
        return [
            Row(
                position=position + 1,
                rank=int(ranked.ranks[position]),
                rank_yesterday=before.rank_of(creator) if before is not None else None,
                rank_last_week=long_before.rank_of(creator) if long_before is not None else None,
                profile=profile,
                viewers=int(ranked.viewers[position]),
                anonymous_viewers=int(ranked.anonymous_viewers[position]),
                sessions=int(ranked.sessions[position]),
                watched_seconds=int(ranked.watched_seconds[position]),
                trend=self.cube.trend[creator].tolist() if with_trend else [],
            )
            for position, creator, profile in zip(positions, creators, self._profiles_of(creators), strict=True)
        ]

    # --- creators ---

    def _profiles_of(self, creators: Sequence[int]) -> list[Profile]:
        at = pa.array(creators, pa.int64())
        names = self.cube.ids.take(at).to_pylist()
        return [
            Profile(creator_id, **row)
            for creator_id, row in zip(names, self._profiles.take(at).to_pylist(), strict=True)
        ]

    @cached_property
    def _names(self) -> list[str]:
        """Of every creator of the cube, what a search looks at."""
        columns = [self.cube.ids, *(self._profiles[name] for name in ("username", "name", "surname"))]
        texts = (" ".join(part for part in row if part) for row in zip(*(c.to_pylist() for c in columns), strict=True))
        return [search_key(text) for text in texts]

    def creator(self, creator_id: str, asked: Range) -> Creator:
        """One creator. Raises UnknownCreator when the cube does not know them, and when they are not listed."""
        creator = pc.index(self.cube.ids, pa.scalar(creator_id, pa.large_string())).as_py()
        if creator < 0 or not self._is_listed[creator]:  # safeguard: unlisted-creator-has-no-page
            raise UnknownCreator(creator_id)
        ranked = self.ranked(asked)
        yesterday, last_week = self._before(asked, 1), self._before(asked, 7)
        position = int(ranked.position_of[creator])
        row = self._rows(ranked, [position], yesterday, last_week, False)[0] if position >= 0 else None
        return Creator(
            profile=self._profiles_of([creator])[0],
            row=row,
            range=asked,
            yesterday=yesterday,
            last_week=last_week,
            total=len(ranked.creators),
            days=self.cube.days_of(creator),
            trend=self._trend(creator),
            streams=self._streams.get(creator_id, []),
        )

    def _trend(self, creator: int) -> list[TrendPoint]:
        own = self.cube.trend[creator]
        ahead = ((self.cube.trend > own) & self._is_listed[:, None]).sum(axis=0)
        points = zip(self.cube.trend_ends, own.tolist(), ahead.tolist(), self.cube.is_in_trend(creator), strict=True)
        return [TrendPoint(end, viewers, above + 1 if is_in else None) for end, viewers, above, is_in in points]


def load(snapshot: Snapshot, before: Insight | None = None) -> Insight:
    """Load a snapshot for queries. Raises Damaged, NoSnapshot when it is pruned meanwhile."""
    with snapshot.being_read():
        return Insight(
            as_of=snapshot.as_of,
            windows=snapshot.manifest["windows"],
            cube=cubes.load(snapshot, before.cube if before is not None else None),
            creators=snapshot.table("creators.parquet"),
            streams=scheduled(snapshot.table("live_streams.parquet"), snapshot.table("live_stream_funding.parquet")),
        )


def scheduled(streams: pa.Table, funding: pa.Table) -> dict[str, list[Stream]]:
    """The scheduled streams of every creator, the soonest planned start first; those without one last."""
    chosen = streams.filter(pc.equal(streams["status"], SCHEDULED))
    at = pc.index_in(ids(chosen, "stream_id"), value_set=ids(funding, "stream_id").combine_chunks())
    columns = ["stream_id", "creator_id", "title", "planned_start_date", "access_type", "interest"]
    funded = funding.select(["funding_goal", "collected_funding", "currency", "funding_percentage", "backers"])
    found: dict[str, list[Stream]] = {}
    for row, funds in zip(chosen.select(columns).to_pylist(), funded.take(at).to_pylist(), strict=True):
        found.setdefault(row["creator_id"], []).append(_stream(row, funds))
    for each in found.values():
        each.sort(key=lambda one: (one.planned_start is None, one.planned_start, one.stream_id))
    return found


def _stream(row: Mapping[str, Any], funds: Mapping[str, Any]) -> Stream:
    return Stream(
        stream_id=row["stream_id"],
        title=row["title"],
        planned_start=row["planned_start_date"],
        access_type=row["access_type"],
        interest=row["interest"],
        goal=funds["funding_goal"] or None,  # 0: no goal
        collected=funds["collected_funding"],
        currency=funds["currency"],
        percentage=funds["funding_percentage"],
        backers=funds["backers"] or 0,
    )


def search_key(text: str) -> str:
    """Return a text as a search compares it: without case, accents, the dot of an i, and surrounding space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)).replace("ı", "i").strip()
