"""Which days of viewing sessions were delivered: present, empty, missing.

The platform lands its sessions every day, so a day of which nothing landed is not an empty one, unless a landed file
says so: its own. A day's own file is the one that is named for it: its path holds one date, 2026-01-05, 20260105 or
2026/01/05. Whether such a name means the day itself or, as where files are named when they are exported, the day
before, is learned from the files that hold sessions.

    present   sessions of the day landed: in its own file, or in one that names no day
    empty     its own file landed, was read without a rejected record, and holds no session of the day
    unread    its own file landed and has not been read yet
    missing   anything else, also when the files of other days held a few late sessions of it

Days before the first one that is present, and a day that the time zone left out, are none of these.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache, partial
from itertools import groupby
from typing import Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core import calendar_days
from pipelines.core.durable_files import checked_table
from pipelines.landing.named_day import named_day
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import LEARNED_FROM, NamedTogether, RawFolder, RowsOfFile, by_folder

PRESENT, EMPTY, UNREAD, MISSING = "present", "empty", "unread", "missing"


class Delivery(Protocol):
    """A landed file of viewing sessions."""

    @property
    def name(self) -> str:
        """Its path under the landing folder."""

    @property
    def is_read(self) -> bool:
        """Whether it is known what it holds."""

    @property
    def rejected(self) -> int:
        """Its rejected records."""

    def may_hold(self) -> Iterable[date]:
        """The days of which it may hold sessions: all of which it does, and few others."""

    def count(self, day: date) -> int:
        """Its accepted records that start on a day."""


def judge(days: Sequence[date], deliveries: Sequence[Delivery]) -> dict[date, str]:
    """The state of each of some consecutive days, from the first that is present on."""
    own, others = _by_day(deliveries)

    def state(day: date) -> str:
        return _state(own.get(day, ()), others.get(day, ()), day)

    found = {day: state(day) for day in days}
    if any(state(day) == PRESENT for day in {*own, *others} if day < days[0]):
        return found
    first = next((day for day in days if found[day] == PRESENT), None)
    return {} if first is None else {day: found[day] for day in days if day >= first}


def states(days: Iterable[date], deliveries: Sequence[Delivery]) -> dict[date, str]:
    """The state of each of some days, whether or not anything had landed before them."""
    own, others = _by_day(deliveries)
    return {day: _state(own.get(day, ()), others.get(day, ()), day) for day in days}


def all_rejected(states: Mapping[date, str], deliveries: Sequence[Delivery]) -> set[date]:
    """Return the days that are missing though their own file landed and was read: its records were rejected."""
    own, _ = _by_day(deliveries)
    return {day for day, state in states.items() if state == MISSING and own.get(day)}


def usual_shift(deliveries: Iterable[tuple[date, Delivery]]) -> int:
    """Return by how many days file names are later than the day in the file, by most of the latest: (named day,
    file)."""
    shifts: Counter[int] = Counter()
    for named, pairs in groupby(sorted(deliveries, key=lambda pair: pair[0], reverse=True), key=lambda pair: pair[0]):
        for file in _one_by_one([file for _, file in pairs]):
            held = {day: count for day in file.may_hold() if (count := file.count(day))}
            if held:
                shifts[(named - max(held, key=lambda day: (held[day], day))).days] += 1
            if shifts.total() == LEARNED_FROM:  # so that it is soon understood that files are named otherwise
                return _commonest(shifts)
    return _commonest(shifts)


def _commonest(shifts: Mapping[int, int]) -> int:
    return max(shifts, key=lambda shift: (shifts[shift], -abs(shift)), default=0)


def _one_by_one(files: Sequence[Delivery]) -> Sequence[Delivery]:
    """The first of some files that hold sessions, as many as are learned from: in the order of their keys, also of
    those that are known together."""
    together = [file for file in files if isinstance(file, LandedTogether)]
    if not together:
        return files
    apart: list[LandedSessions | RowsOfPack] = [file for file in files if isinstance(file, LandedSessions)]
    apart += (each for file in together for each in file.first)
    return sorted(apart, key=lambda file: file.key)


_Files = Mapping[date, Sequence[Delivery]]


def _by_day(deliveries: Sequence[Delivery]) -> tuple[_Files, _Files]:
    """(the own files of each day, the files that name no day and may hold sessions of it)."""
    dated: list[tuple[date, Delivery]] = []
    own: dict[date, list[Delivery]] = defaultdict(list)
    others: dict[date, list[Delivery]] = defaultdict(list)
    for file in deliveries:
        named = named_day(file.name)
        if named is not None:
            dated.append((named, file))
            continue
        for day in file.may_hold():
            others[day].append(file)
    shift = usual_shift(dated)
    for named, file in dated:
        if date.min.toordinal() <= named.toordinal() - shift <= date.max.toordinal():
            own[date.fromordinal(named.toordinal() - shift)].append(file)
    return own, others


def _state(own: Sequence[Delivery], others: Sequence[Delivery], day: date) -> str:
    if any(file.count(day) for file in (*own, *others)):
        return PRESENT
    if any(not file.is_read for file in own):
        return UNREAD
    return EMPTY if own and not any(file.rejected for file in own) else MISSING


# --- from raw -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LandedSessions:
    """A landed file of viewing sessions, under one of its names; `raw` is None until it has been read."""

    name: str
    raw: RawFile | None
    zone: ZoneInfo

    @property
    def key(self) -> str:
        """Of what it came to."""
        return self.raw.key if self.raw else ""

    @property
    def is_read(self) -> bool:
        """See Delivery."""
        return self.raw is not None

    @property
    def rejected(self) -> int:
        """See Delivery."""
        return (self.raw.rejected or int(self.raw.unreadable is not None)) if self.raw else 0

    def may_hold(self) -> list[date]:
        """See Delivery."""
        return list(self._utc_days)

    def count(self, day: date) -> int:
        """See Delivery. Raises Damaged where the raw file that tells is not what was written."""
        return sum(self._count(name).get(day, 0) for name in self._utc_days.get(day, ()))

    @cached_property
    def _utc_days(self) -> dict[date, list[str]]:
        return _touched(self.raw.files if self.raw else (), self.zone)

    @cached_property
    def _counts(self) -> dict[str, dict[date, int]]:
        return {}

    def count_of(self, name: str, day: date) -> int:
        """Its accepted records of a UTC day that start on a day."""
        return self._count(name).get(day, 0) if self.raw and name in self.raw.files else 0

    def _count(self, name: str) -> dict[date, int]:
        """The records of a UTC day by the day of the zone on which they start."""
        assert self.raw is not None
        if name not in self._counts:
            raw = self.raw
            starts = partial(raw.table, name, ("started_at",))
            self._counts[name] = _rows_by_day(name, raw.files[name].rows, starts, self.zone)
        return self._counts[name]


@dataclass(frozen=True)
class RowsOfPack:
    """A landed file of sessions of which no more is known than where its rows stand in a pack."""

    name: str
    folder: RawFolder
    of: RowsOfFile
    zone: ZoneInfo
    is_read = True  # see Delivery
    rejected = 0

    @property
    def key(self) -> str:
        """Of what it came to."""
        return self.of.key

    def may_hold(self) -> list[date]:
        """See Delivery."""
        return list(_touched(self.of.rows, self.zone))

    def count(self, day: date) -> int:
        """See Delivery. Raises Damaged where the raw file that tells is not what was written."""
        return sum(self._count(name).get(day, 0) for name in _touched(self.of.rows, self.zone).get(day, ()))

    def _count(self, name: str) -> dict[date, int]:
        rows = self.of.rows[name]
        return _rows_by_day(name, rows[1], partial(self.folder.part, name, rows, ("started_at",)), self.zone)


@dataclass(frozen=True)
class LandedTogether:
    """The landed files of sessions of one folder of raw by whose names they are of the same day, or of none."""

    folder: RawFolder
    named: NamedTogether
    zone: ZoneInfo
    is_read = True  # see Delivery

    @property
    def name(self) -> str:
        """See Delivery: that of one of them, which says the same of the day as those of all others."""
        return self.named.name

    @property
    def rejected(self) -> int:
        """See Delivery."""
        return self.named.rejected

    def may_hold(self) -> list[date]:
        """See Delivery."""
        return list(self._utc_days)

    def count(self, day: date) -> int:
        """See Delivery. Raises Damaged where the raw file that tells is not what was written."""
        return sum(self._count(name, day) for name in self._utc_days.get(day, ()))

    @property
    def first(self) -> Sequence[LandedSessions | RowsOfPack]:
        """The first files by key that hold sessions, as many as are learned from, or all of them."""
        if self.named.first is None:
            return self.apart
        return [RowsOfPack(self.name, self.folder, each, self.zone) for each in self.named.first]

    @cached_property
    def apart(self) -> list[LandedSessions]:
        """The files, one by one."""
        day = named_day(self.name)
        landed = (file for file in self.folder.landed if named_day(file.landed_name) == day)
        return [LandedSessions(file.landed_name, file, self.zone) for file in landed]

    @cached_property
    def _utc_days(self) -> dict[date, list[str]]:
        return _touched(self.named.rows, self.zone)

    @cached_property
    def _counts(self) -> dict[str, dict[date, int]]:
        return {}

    def _count(self, name: str, day: date) -> int:
        """How many of the records of a UTC day start on a day of the zone."""
        rows, stored = self.named.rows[name], self.folder.files[name]
        if rows < stored.rows and len(_reached(name, self.zone)) > 1:  # the file holds rows of others as well
            return sum(file.count_of(name, day) for file in self.apart)
        if name not in self._counts:
            starts = partial(checked_table, self.folder.path(name), stored.sha256, ("started_at",))
            self._counts[name] = _rows_by_day(name, rows, starts, self.zone)
        return self._counts[name].get(day, 0)


@lru_cache(maxsize=10_000)  # of a UTC day of which many files have sessions
def _reached(name: str, zone: ZoneInfo) -> Sequence[calendar_days.DayReached]:
    """The days of the zone on which sessions of a UTC day start."""
    return calendar_days.days_reached(date.fromisoformat(name), timedelta(0), zone)


def _touched(names: Iterable[str], zone: ZoneInfo) -> dict[date, list[str]]:
    """The days of the zone that some UTC days touch, each with those."""
    touched: dict[date, list[str]] = {}
    for name in names:
        for each in _reached(name, zone):
            touched.setdefault(each.day, []).append(name)
    return touched


def _rows_by_day(name: str, rows: int, read_starts: Callable[[], pa.Table], zone: ZoneInfo) -> dict[date, int]:
    """The `rows` of a UTC day by the day of the zone on which they start."""
    reached = _reached(name, zone)
    if len(reached) == 1:  # as the index says
        return {reached[0].day: rows}
    starts = pc.cast(read_starts()["started_at"], "int64")  # milliseconds since 1970
    return {
        each.day: sum(
            pc.sum(pc.and_(pc.greater_equal(starts, start), pc.less(starts, end))).as_py() or 0
            for start, end in each.ranges()
        )
        for each in reached
    }


def landed_sessions(
    raw: Sequence[RawFile], unread: Iterable[str], empty: Iterable[str], zone: ZoneInfo
) -> list[LandedSessions]:
    """Every landed file of viewing sessions that is known of, by each name that tells something.

    Those in the lake; the names of those that are not read yet; and the names of `empty` ones, which are all the same
    bytes, of which the lake keeps one name.
    """
    sessions = [file for file in raw if file.entity == "viewing_sessions"]
    files = [LandedSessions(file.landed_name, file, zone) for file in sessions]
    nothing = next((file for file in sessions if not file.records), None)
    if nothing:
        files += [LandedSessions(name, nothing, zone) for name in empty]
    return files + [LandedSessions(name, None, zone) for name in unread]


def landed_by_folder(
    raw: Iterable[RawFile], unread: Iterable[str], empty: Iterable[str], zone: ZoneInfo
) -> list[LandedSessions | LandedTogether]:
    """The same, but that those of one folder whose names hold the same day are told of together."""
    folders = [folder for folder in by_folder(raw) if folder.entity == "viewing_sessions"]
    files: list[LandedSessions | LandedTogether] = [
        LandedTogether(folder, named, zone) for folder in folders for named in folder.named
    ]
    empty = list(empty)
    without = next((folder for folder in folders if folder.has_empty), None) if empty else None
    nothing = [file for file in without.landed if not file.records][:1] if without else []
    return files + landed_sessions(nothing, unread, empty, zone)[len(nothing) :]
