"""The cube of one snapshot as arrays in memory: any creator's exact reach in any range of days, in milliseconds.

The rows of a day are kept in order of their gap, the longest first. A viewer counts in a range on the first day inside
it, where the gap reaches back past the range's start: those rows are the first so many of every day, and a range is a
few slices that are added up. The definition is sql/cube/creator_windows.sql; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.snapshots.manifest import Snapshot

Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]

NEVER = np.iinfo(np.int16).max  # the gap of a viewer who was not there before; longer than any that is stored
TREND_DAYS = 30  # the length of the windows whose reach is followed over time
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Visits:
    """The rows of one day and one kind of viewer: a creator, a gap, and how many viewers returned after it."""

    creators: Small  # positions in Cube.ids
    gaps: npt.NDArray[np.int16]  # in days, descending; NEVER first
    viewers: Small

    def since(self, days: int) -> tuple[Small, Small]:
        """Return creators and viewers of the rows whose viewers were absent in the `days` days before."""
        # safeguard: viewer-of-a-range-counts-once
        behind = len(self.gaps) - int(np.searchsorted(self.gaps[::-1], days, side="right"))
        return self.creators[:behind], self.viewers[:behind]


@dataclass(frozen=True)
class Day:
    """One day of the cube."""

    signed_in: Visits
    anonymous: Visits
    creators: Small  # each creator with a row once; the columns below follow it
    sessions_started: Ints
    sessions_carried_in: Ints
    watched_milliseconds: Ints


@dataclass(frozen=True)
class Reach:
    """What every creator of the cube reached in a range, by position in Cube.ids; no sessions: not there."""

    viewers: Ints
    anonymous_viewers: Ints
    sessions: Ints
    watched_seconds: Ints


@dataclass(frozen=True)
class DayOfCreator:
    """What one creator reached on one day."""

    day: date
    new_viewers: int  # signed in, and not there in all the days that a gap can reach back
    returning_viewers: int
    anonymous_viewers: int
    sessions: int
    watched_seconds: int

    @property
    def viewers(self) -> int:
        """Distinct signed-in viewers of the day."""
        return self.new_viewers + self.returning_viewers


@dataclass(frozen=True, eq=False)
class Cube:
    """The days that a snapshot holds, one behind the other."""

    ids: pa.Array  # creator ids; grows from snapshot to snapshot, so that a day's positions stay right
    days: Mapping[date, Day]
    digests: Mapping[str, Day]  # the same days by the sha256 of their files
    max_window_days: int
    min_cell: int = 0  # people that a figure rests on at least, to be shown

    @property
    def first_day(self) -> date | None:
        """The first day that it holds."""
        return min(self.days, default=None)

    @property
    def end_day(self) -> date | None:
        """The day after the last one."""
        last = max(self.days, default=None)
        return None if last is None else last + ONE_DAY

    def holds(self, first: date, end: date) -> bool:
        """Whether it can answer for [first, end) exactly."""
        return 1 <= (end - first).days <= self.max_window_days and all(day in self.days for day in _range(first, end))

    def reach(self, first: date, end: date) -> Reach:
        """What every creator reached in [first, end), which must be held."""
        count = len(self.ids)
        signed_in, anonymous, sessions, watched = (np.zeros(count) for _ in range(4))  # whole numbers below 2**53
        begin: date | None = None
        for at in _range(first, end):
            day = self.days[at]
            if begin is None and len(day.creators):
                # a range may begin with days that hold nothing: sessions are carried into the first that does
                begin = at
                sessions += _sum(day.creators, day.sessions_carried_in, count)
            since = (at - (begin or at)).days
            signed_in += _sum(*day.signed_in.since(since), count)
            anonymous += _sum(*day.anonymous.since(since), count)
            sessions += _sum(day.creators, day.sessions_started, count)
            watched += _sum(day.creators, day.watched_milliseconds, count)
        whole = [total.astype(np.int64) for total in (signed_in, anonymous, sessions, watched)]
        return Reach(whole[0], whole[1], whole[2], whole[3] // 1000)

    @cached_property
    def trend_ends(self) -> list[date]:
        """The ends of all windows of TREND_DAYS days, the earliest first; none where small cells are not shown.

        The difference of two windows, one a day later, could be one person.
        """
        if self.first_day is None or self.end_day is None or self.min_cell:
            return []
        return list(_range(self.first_day + timedelta(days=TREND_DAYS), self.end_day + ONE_DAY))

    @cached_property
    def trend(self) -> Small:
        """The viewers of every creator (down) in every window of TREND_DAYS days (across, as in trend_ends).

        A row of day d with gap g counts in the windows that hold d and begin after d - g: a run of them. So every row
        is added where its run begins and taken off behind it, and the sum along the windows is the reach of each.
        """
        ends = self.trend_ends
        steps = np.zeros((len(self.ids), len(ends) + 1), dtype=np.int32)
        for at, day in enumerate(self.days[day] for day in sorted(self.days)):
            visits = day.signed_in
            begins = at + 1 - np.minimum(visits.gaps, TREND_DAYS).astype(np.int32)
            begins = np.maximum(begins, 0)
            behind = min(at, len(ends) - 1) + 1
            counted = begins < behind
            creators, viewers = visits.creators[counted], visits.viewers[counted]
            np.add.at(steps, (creators, begins[counted]), viewers)
            np.add.at(steps[:, behind], creators, -viewers)
        return np.cumsum(steps[:, :-1], axis=1, dtype=np.int32)

    def days_of(self, creator: int) -> list[DayOfCreator]:
        """What a creator (by position in `ids`) reached on every day that is held; nothing as in `trend_ends`."""
        return [] if self.min_cell else [_day_of(at, self.days[at], creator) for at in sorted(self.days)]

    def is_in_trend(self, creator: int) -> list[bool]:
        """Of every window of TREND_DAYS days, whether the creator had a session in it."""
        counts = [
            (bool(day.sessions_started[rows].sum()), bool(day.sessions_carried_in[rows].sum()), len(day.creators) > 0)
            for day in (self.days[at] for at in sorted(self.days))
            for rows in [day.creators == creator]
        ]
        found = []
        for at in range(len(self.trend_ends)):
            window = counts[at : at + TREND_DAYS]
            carried_into = next((carried for _, carried, holds_any in window if holds_any), False)
            found.append(carried_into or any(started for started, _, _ in window))
        return found

    @property
    def nbytes(self) -> int:
        """How much memory its days take."""
        arrays = (
            array
            for day in self.days.values()
            for part in (day, day.signed_in, day.anonymous)
            for array in vars(part).values()
            if isinstance(array, np.ndarray)
        )
        return sum(array.nbytes for array in arrays)


def load(snapshot: Snapshot, before: Cube | None = None) -> Cube:
    """The cube of a snapshot. Days whose files the cube `before` was made of are taken from there.

    Raises Damaged when a file is not as published.
    """
    files = {name: facts for name, facts in snapshot.files.items() if name.startswith(snapshot.cube)}
    ids = pa.array([], pa.large_string()) if before is None else before.ids
    days: dict[date, Day] = {}
    digests: dict[str, Day] = {}
    for name, facts in sorted(files.items()):
        # Days without a row are the same file: told apart by their names, they share one Day.
        day = digests.get(facts["sha256"]) or (before.digests.get(facts["sha256"]) if before is not None else None)
        if day is None:
            day, ids = _day(snapshot.table(name), ids)  # safeguard: day-of-the-cube-verified
        digests[facts["sha256"]] = day
        days[date.fromisoformat(PurePosixPath(name).stem)] = day
    return Cube(ids, days, digests, int(snapshot.manifest["policy"]["max_window_days"]), snapshot.min_cell)


def _day(table: pa.Table, ids: pa.Array) -> tuple[Day, pa.Array]:
    """The rows of one day, and the ids with those that are new behind."""
    encoded = table["creator_id"].cast(pa.large_string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    known = pc.index_in(encoded.dictionary, value_set=ids)
    unknown = encoded.dictionary.filter(pc.is_null(known))
    if len(unknown):
        ids = pa.concat_arrays([ids, unknown])
        known = pc.index_in(encoded.dictionary, value_set=ids)
    creators = _array(known, pa.int32())[_array(encoded.indices, pa.int64())]
    is_signed_in = _array(table["is_signed_in"], pa.bool_())
    gaps = _array(table["gap_days"].fill_null(NEVER), pa.int16())
    viewers = _array(table["viewers"], pa.int32())

    def visits(rows: npt.NDArray[np.bool_]) -> Visits:
        order = np.argsort(-gaps[rows], kind="stable")
        return Visits(creators[rows][order], gaps[rows][order], viewers[rows][order])

    unique, at = np.unique(creators, return_inverse=True)

    def sums(column: str) -> Ints:
        return _sum(at, _array(table[column], pa.int64()), len(unique)).astype(np.int64)

    day = Day(
        signed_in=visits(is_signed_in),
        anonymous=visits(~is_signed_in),
        creators=unique,
        sessions_started=sums("sessions_started"),
        sessions_carried_in=sums("sessions_carried_in"),
        watched_milliseconds=sums("watched_milliseconds"),
    )
    return day, ids


def _day_of(at: date, day: Day, creator: int) -> DayOfCreator:
    signed_in = day.signed_in.creators == creator
    is_new = day.signed_in.gaps[signed_in] == NEVER
    viewers = day.signed_in.viewers[signed_in]
    rows = day.creators == creator
    return DayOfCreator(
        day=at,
        new_viewers=int(viewers[is_new].sum()),
        returning_viewers=int(viewers[~is_new].sum()),
        anonymous_viewers=int(day.anonymous.viewers[day.anonymous.creators == creator].sum()),
        sessions=int(day.sessions_started[rows].sum() + day.sessions_carried_in[rows].sum()),
        watched_seconds=int(day.watched_milliseconds[rows].sum()) // 1000,
    )


def _range(first: date, end: date) -> Iterator[date]:
    return (first + timedelta(days=offset) for offset in range((end - first).days))


def _sum(groups: npt.NDArray[np.integer], values: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float64]:
    """The sum of the values of each group. In floating point, which is exact for whole numbers below 2**53."""
    sums: npt.NDArray[np.float64] = np.bincount(groups, weights=values, minlength=count)  # type: ignore[assignment]
    return sums


def _array(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> npt.NDArray[Any]:
    whole = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
    array: npt.NDArray[Any] = whole.cast(kind).to_numpy()
    return array
