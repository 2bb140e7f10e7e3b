"""The cube of one snapshot as arrays mapped into memory: any creator's exact reach in any range of days.

The rows of a day are kept in order of their gap, the longest first. A viewer counts in a range on the first day inside
it, where the gap reaches back past the range's start: those rows are the first so many of every day, and a range is a
few slices that are added up. The definition is sql/cube/creator_windows.sql; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.api.mapped_files import Array, map_arrays, map_table, whole, write_arrays, write_table
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
    def is_empty(self) -> bool:
        """Whether nobody watched."""
        return not (self.viewers or self.anonymous_viewers or self.sessions or self.watched_seconds)

    @property
    def viewers(self) -> int:
        """Distinct signed-in viewers of the day."""
        return self.new_viewers + self.returning_viewers


@dataclass(frozen=True, eq=False)
class Cube:
    """The days that a snapshot holds, one behind the other."""

    ids: pa.Array  # creator ids
    days: Mapping[date, Day]
    max_window_days: int
    min_cell: int  # people that a figure rests on at least, to be shown; 0: any
    trend: Small  # of `trend_of`

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
        """The ends of all windows of TREND_DAYS days, the earliest first; none where small cells are not shown."""
        return trend_ends(self.days, self.min_cell)

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


def trend_ends(days: Collection[date], min_cell: int) -> list[date]:
    """See `Cube.trend_ends`: the difference of two windows, one a day later, could be one person."""
    if not days or min_cell:
        return []
    return list(_range(min(days) + timedelta(days=TREND_DAYS), max(days) + 2 * ONE_DAY))


def trend_of(creators: int, days: Mapping[date, Day], ends: Sequence[date]) -> Small:
    """The viewers of every creator (down) in every window of TREND_DAYS days (across, as in trend_ends).

    A row of day d with gap g counts in the windows that hold d and begin after d - g: a run of them. So every row
    is added where its run begins and taken off behind it, and the sum along the windows is the reach of each.
    """
    steps = np.zeros((creators, len(ends) + 1), dtype=np.int32)
    for at, day in enumerate(days[day] for day in sorted(days)):
        visits = day.signed_in
        begins = at + 1 - np.minimum(visits.gaps, TREND_DAYS).astype(np.int32)
        begins = np.maximum(begins, 0)
        behind = min(at, len(ends) - 1) + 1
        counted = begins < behind
        rows, viewers = visits.creators[counted], visits.viewers[counted]
        np.add.at(steps, (rows, begins[counted]), viewers)
        np.add.at(steps[:, behind], rows, -viewers)
    return np.cumsum(steps[:, :-1], axis=1, dtype=np.int32)


def prepare_cube(snapshot: Snapshot, folder: Path, before: Path | None = None) -> None:
    """Write the cube of a snapshot into a folder, as `map_cube` reads it.

    Days whose files the cube in the folder `before` was made of are taken from there. Raises Damaged when a file is
    not as published.
    """
    ids = pa.array([], pa.large_string()) if before is None else whole(map_table(before / _IDS)["creator_id"])
    for name, facts in sorted(_files(snapshot).items()):
        path = _day_path(folder, facts)
        if before is not None and not path.exists() and (held := _day_path(before, facts)).exists():
            path.hardlink_to(held)
        if not path.exists():  # days without a row are the same file
            arrays, ids = _day(snapshot.table(name), ids)  # safeguard: day-of-the-cube-verified
            write_arrays(path, arrays)
    write_table(folder / _IDS, pa.table({"creator_id": ids}))
    days = _map_days(snapshot, folder)
    trend = trend_of(len(ids), days, trend_ends(days, snapshot.min_cell))
    write_arrays(folder / _TREND, {"trend": trend.reshape(-1)})


def map_cube(snapshot: Snapshot, folder: Path) -> Cube:
    """The cube of a snapshot from the folder of `prepare_cube`."""
    ids, days = whole(map_table(folder / _IDS)["creator_id"]), _map_days(snapshot, folder)
    across = len(trend_ends(days, snapshot.min_cell))
    trend = map_arrays(folder / _TREND)["trend"].reshape(len(ids), across)
    return Cube(ids, days, int(snapshot.manifest["policy"]["max_window_days"]), snapshot.min_cell, trend)


_IDS, _TREND = "ids.arrow", "trend.arrow"


def _files(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    return {name: facts for name, facts in snapshot.files.items() if name.startswith(snapshot.cube)}


def _day_path(folder: Path, facts: Mapping[str, Any]) -> Path:
    return folder / f"day-{facts['sha256']}.arrow"


def _map_days(snapshot: Snapshot, folder: Path) -> dict[date, Day]:
    digests: dict[str, Day] = {}
    days = {}
    for name, facts in sorted(_files(snapshot).items()):
        day = digests.get(facts["sha256"])
        if day is None:
            arrays = map_arrays(_day_path(folder, facts))
            signed_in, anonymous = (
                Visits(*(arrays[f"{kind}_{column}"] for column in ("creators", "gaps", "viewers"))) for kind in _KINDS
            )
            rest = (arrays[name] for name in ("creators", *_SUMS))
            day = digests[facts["sha256"]] = Day(signed_in, anonymous, *rest)
        days[date.fromisoformat(PurePosixPath(name).stem)] = day
    return days


_KINDS = ("signed_in", "anonymous")
_SUMS = ("sessions_started", "sessions_carried_in", "watched_milliseconds")


def _day(table: pa.Table, ids: pa.Array) -> tuple[dict[str, Array], pa.Array]:
    """The arrays of one day, by name, and the ids with those that are new behind: those that are known keep theirs."""
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
    arrays = {}
    for kind, rows in zip(_KINDS, (is_signed_in, ~is_signed_in), strict=True):
        order = np.argsort(-gaps[rows], kind="stable")
        arrays[f"{kind}_creators"] = creators[rows][order]
        arrays[f"{kind}_gaps"] = gaps[rows][order]
        arrays[f"{kind}_viewers"] = viewers[rows][order]
    unique, at = np.unique(creators, return_inverse=True)
    arrays["creators"] = unique
    for column in _SUMS:
        arrays[column] = _sum(at, _array(table[column], pa.int64()), len(unique)).astype(np.int64)
    return arrays, ids


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
