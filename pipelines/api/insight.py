"""Queries over one snapshot, for the pages and their endpoints: rankings of any range, movement, one creator over time.

Plain values in, plain values out, worked out from the cube and the public tables; no HTTP, no clock. It never reads
the private tables. What every query needs is worked out before (`prepare`) and mapped by all workers.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.api import cube as cubes
from pipelines.api.answers import (
    Creator,
    Figures,
    Page,
    Profile,
    Range,
    RangeNotHeld,
    Row,
    Stream,
    Totals,
    TrendPoint,
    UnknownCreator,
)
from pipelines.api.cube import Cube, Ints
from pipelines.api.mapped_files import map_arrays, map_table, whole, write_arrays, write_table
from pipelines.api.responses import ids, rows_of
from pipelines.snapshots.manifest import Snapshot

UNLISTED = ("banned", "deleted")  # creators who are left out before ranking, and are shown nowhere
SCHEDULED = "scheduled"
KEPT_BYTES = 64 << 20  # of rankings that were asked for, besides those of the published windows
KEPT_AT_LEAST = 4  # a range and the three that it is compared with
ORDERS = ("viewers", "sessions", "hours")  # that the page shows; the first is that of the ranking
BYTES_EACH = 8 * 7  # of a creator in a ranking

_PROFILE = ("username", "name", "surname", "expertise")


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

    def figures_of(self, creator: int) -> Figures:
        """The figures of a creator; 0 of one who is not in it."""
        position = int(self.position_of[creator])
        if position < 0:
            return Figures(0, 0, 0, 0)
        columns = (self.viewers, self.anonymous_viewers, self.sessions, self.watched_seconds)
        return Figures(*(int(column[position]) for column in columns))


def _totals(ranked: Ranked) -> Totals:
    return Totals(len(ranked.creators), int(ranked.sessions.sum()), int(ranked.watched_seconds.sum()))


class Insight:
    """Queries over one snapshot. For one thread at a time."""

    def __init__(
        self,
        as_of: date,
        windows: Sequence[int],
        cube: Cube,
        creators: pa.Table,
        streams: pa.Table,
        watched: Sequence[int] = (),
    ) -> None:
        """`creators`, `streams` and `watched` are those of `prepare`."""
        self.watched = tuple(watched)  # seconds of all listed creators, of each day that is held
        self.as_of = as_of
        self.windows = tuple(windows)
        self.cube = cube
        self._profiles = creators.select(_PROFILE)
        self._is_listed = whole(creators["is_listed"]).to_numpy(zero_copy_only=False)
        self._id_order = whole(creators["id_order"]).to_numpy()
        self._search_keys = whole(creators["search_key"])
        self._streams = streams
        self._streams_of = whole(streams["creator_id"])
        self._given: dict[Range, Ranked] = {}
        self._kept: OrderedDict[Range, Ranked] = OrderedDict()
        self._orders: OrderedDict[tuple[Range, str], Ints] = OrderedDict()

    def add_ranking(self, ranked: Ranked) -> None:
        """Keep a ranking that was worked out before."""
        self._given[ranked.range] = ranked

    def usual_ranges(self) -> list[Range]:
        """The published windows, as far as they are held."""
        found = []
        for days in self.windows:
            with suppress(RangeNotHeld):
                found.append(self.window(days))
        return found

    def compared(self, asked: Range) -> list[Range]:
        """A range, and those that it is compared with (a day and a week earlier, the period before), where held."""
        others = (self._before(asked, 1), self._before(asked, 7), self.period_before(asked))
        return [asked, *(one for one in others if one is not None)]

    def period_before(self, asked: Range) -> Range | None:
        """As many days just before a range. None where they are not held, or begin before there was any data."""
        before = self._before(asked, asked.days)
        if before is None or self.cube.min_cell:  # the snapshot shows its own windows alone
            return None
        return before if before.first.toordinal() >= self._first_with_data else None

    @cached_property
    def _first_with_data(self) -> int:
        days = self.cube.days
        found = next((day for day in sorted(days) if len(days[day].creators)), None)
        return date.max.toordinal() if found is None else found.toordinal()

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

    # --- the platform ---

    def watched_by_day(self) -> Ints:
        """The seconds watched of all listed creators, of each day that is held; nothing as in `Cube.trend_ends`."""
        if self.cube.min_cell:
            return np.array([], dtype=np.int64)
        days = (self.cube.days[day] for day in sorted(self.cube.days))
        seconds = [int(day.watched_milliseconds[self._is_listed[day.creators]].sum()) // 1000 for day in days]
        return np.array(seconds, dtype=np.int64)

    # --- rankings ---

    def ranked(self, asked: Range) -> Ranked:
        """The ranking of a range that is held."""
        found = self._given.get(asked)
        if found is not None:
            return found
        found = self._kept.get(asked)
        if found is None:
            found = self._kept[asked] = self._rank(asked)
        self._kept.move_to_end(asked)
        bytes_each = max(1, len(self.cube.ids)) * BYTES_EACH
        while len(self._kept) > max(KEPT_AT_LEAST, min(KEPT_BYTES // bytes_each, 1000)):
            self._kept.popitem(last=False)
        return found

    def drop_rankings(self) -> None:
        """Free the rankings that were worked out."""
        self._kept.clear()
        self._orders.clear()

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

    def page(
        self,
        asked: Range,
        offset: int,
        limit: int,
        search: str = "",
        *,
        with_trend: bool = False,
        order: str = ORDERS[0],
        with_before: bool = False,
    ) -> Page:
        """Return rows of the ranking of a range, only those that match a search; positions are of the whole ranking.

        They come in one of ORDERS. `with_before` compares them with the period before.
        """
        if self.cube.first_day is None:
            return Page(asked, None, None, 0, 0, 0, 0, None, 0, [])
        ranked = self.ranked(asked)
        positions = self._ordered(ranked, order)
        if wanted := search_key(search):
            is_match = pc.match_substring(self._search_keys, wanted).to_numpy(zero_copy_only=False)
            positions = np.flatnonzero(is_match[ranked.creators])
        yesterday, last_week = self._before(asked, 1), self._before(asked, 7)
        before = self._ranked_before(asked) if with_before else None
        return Page(
            range=asked,
            yesterday=yesterday,
            last_week=last_week,
            total=len(ranked.creators),
            sessions=int(ranked.sessions.sum()),
            watched_seconds=int(ranked.watched_seconds.sum()),
            anonymous_viewers=int(ranked.anonymous_viewers.sum()),
            before=None if before is None else _totals(before),
            matched=len(positions),
            rows=self._rows(
                ranked, positions[offset : offset + limit].tolist(), yesterday, last_week, with_trend, before
            ),
        )

    def _ranked_before(self, asked: Range) -> Ranked | None:
        """The ranking of the period before, where that is held."""
        earlier = self.period_before(asked)
        return None if earlier is None else self.ranked(earlier)

    def _ordered(self, ranked: Ranked, order: str) -> Ints:
        """The positions of a ranking in one of ORDERS; of equals the one ranked higher comes first."""
        if order == ORDERS[0]:
            return np.arange(len(ranked.creators))
        key = (ranked.range, order)
        found = self._orders.get(key)
        if found is None:
            values = ranked.sessions if order == "sessions" else ranked.watched_seconds
            found = self._orders[key] = np.argsort(-values, kind="stable")
            while len(self._orders) > KEPT_AT_LEAST:
                self._orders.popitem(last=False)
        return found

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
        earlier: Ranked | None = None,
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
                before=None if earlier is None else earlier.figures_of(creator),
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

    def creator(self, creator_id: str, asked: Range, *, with_before: bool = False) -> Creator:
        """One creator. Raises UnknownCreator when the cube does not know them, and when they are not listed.

        `with_before` compares the figures with those of the period before.
        """
        creator = pc.index(self.cube.ids, pa.scalar(creator_id, pa.large_string())).as_py()
        if creator < 0 or not self._is_listed[creator]:  # safeguard: unlisted-creator-has-no-page
            raise UnknownCreator(creator_id)
        ranked = self.ranked(asked)
        yesterday, last_week = self._before(asked, 1), self._before(asked, 7)
        position = int(ranked.position_of[creator])
        row = None
        if position >= 0:
            before = self._ranked_before(asked) if with_before else None
            row = self._rows(ranked, [position], yesterday, last_week, False, before)[0]
        return Creator(
            profile=self._profiles_of([creator])[0],
            row=row,
            range=asked,
            yesterday=yesterday,
            last_week=last_week,
            total=len(ranked.creators),
            days=self.cube.days_of(creator),
            trend=self._trend(creator),
            streams=self._scheduled(creator_id),
        )

    def _trend(self, creator: int) -> list[TrendPoint]:
        own = self.cube.trend[creator]
        ahead = ((self.cube.trend > own) & self._is_listed[:, None]).sum(axis=0)
        points = zip(self.cube.trend_ends, own.tolist(), ahead.tolist(), self.cube.is_in_trend(creator), strict=True)
        return [TrendPoint(end, viewers, above + 1 if is_in else None) for end, viewers, above, is_in in points]

    def _scheduled(self, creator_id: str) -> list[Stream]:
        """Their scheduled streams, the soonest planned start first; those without one last."""
        rows = rows_of(self._streams_of, creator_id)
        return [_stream(row) for row in self._streams.slice(rows.start, rows.stop - rows.start).to_pylist()]


_CREATORS, _STREAMS, _WATCHED = "creators.arrow", "scheduled.arrow", "watched.arrow"
_ARRAYS = ("creators", "ranks", "viewers", "anonymous_viewers", "sessions", "watched_seconds", "position_of")


def prepare(snapshot: Snapshot, folder: Path, before: Path | None = None) -> None:
    """Write what queries over a snapshot need into a folder, as `load` reads it; see `cube.prepare_cube` on `before`.

    Raises Damaged, NoSnapshot when it is pruned meanwhile.
    """
    with snapshot.being_read():
        cubes.prepare_cube(snapshot, folder, before)
        creator_ids = cubes.map_cube(snapshot, folder).ids
        write_table(folder / _CREATORS, creators_of(creator_ids, snapshot.table("creators.parquet")))
        streams, funding = snapshot.table("live_streams.parquet"), snapshot.table("live_stream_funding.parquet")
        write_table(folder / _STREAMS, scheduled(streams, funding))
    insight = load(snapshot, folder)
    write_arrays(folder / _WATCHED, {"seconds": insight.watched_by_day()})
    for asked in {one: None for usual in insight.usual_ranges() for one in insight.compared(usual)}:
        ranked = insight.ranked(asked)
        write_arrays(_ranking_path(folder, asked), {name: getattr(ranked, name) for name in _ARRAYS})


def load(snapshot: Snapshot, folder: Path) -> Insight:
    """A snapshot for queries, from the folder of `prepare`."""
    insight = Insight(
        as_of=snapshot.as_of,
        windows=snapshot.manifest["windows"],
        cube=cubes.map_cube(snapshot, folder),
        creators=map_table(folder / _CREATORS),
        streams=map_table(folder / _STREAMS),
        watched=map_arrays(folder / _WATCHED)["seconds"].tolist() if (folder / _WATCHED).exists() else (),
    )
    for asked in (one for usual in insight.usual_ranges() for one in insight.compared(usual)):
        if (path := _ranking_path(folder, asked)).exists():
            insight.add_ranking(Ranked(asked, **map_arrays(path)))
    return insight


def _ranking_path(folder: Path, asked: Range) -> Path:
    return folder / f"ranking-{asked.first}-{asked.end}.arrow"


def creators_of(creator_ids: pa.Array, creators: pa.Table) -> pa.Table:
    """Of each id, the names, whether it is listed, its place in the order of ids, and the text that a search reads."""
    profiles = creators.take(pc.index_in(creator_ids, value_set=ids(creators, "creator_id").combine_chunks()))
    unlisted = pc.is_in(profiles["status"], value_set=pa.array(UNLISTED, profiles["status"].type))
    order = pc.sort_indices(creator_ids).to_numpy()  # by their bytes
    id_order = np.empty(len(order), dtype=np.int64)
    id_order[order] = np.arange(len(order))
    columns = {name: profiles[name] for name in _PROFILE}
    columns["is_listed"] = pc.invert(pc.fill_null(unlisted, False))
    columns["id_order"] = pa.array(id_order)
    columns["search_key"] = search_keys(creator_ids, *(ids(profiles, name) for name in ("username", "name", "surname")))
    return pa.table(columns)


def search_keys(*columns: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The `search_key` of the texts of each row that are neither null nor empty, with spaces between."""
    empty, space = (pa.scalar(text, pa.large_string()) for text in ("", " "))
    present = [pc.fill_null(column, empty) for column in columns]
    parts = [
        pc.if_else(pc.equal(part, empty), empty, pc.binary_join_element_wise(part, space, empty)) for part in present
    ]
    texts = pc.binary_join_element_wise(*parts, empty)  # the space at the end goes with those around the text
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    keys = pc.ascii_trim_whitespace(pc.ascii_lower(texts))
    # what is not plain ASCII, character by character
    rest = pc.invert(pc.match_substring_regex(texts, "^[ -~]*$"))
    others = pa.array([search_key(text) for text in texts.filter(rest).to_pylist()], pa.large_string())
    return pc.replace_with_mask(keys, rest, others)


def scheduled(streams: pa.Table, funding: pa.Table) -> pa.Table:
    """The scheduled streams with their funding, by creator, the soonest planned start first; those without one last."""
    chosen = streams.filter(pc.equal(streams["status"], SCHEDULED))
    at = pc.index_in(ids(chosen, "stream_id"), value_set=ids(funding, "stream_id").combine_chunks())
    chosen = chosen.select(["stream_id", "creator_id", "title", "planned_start_date", "access_type", "interest"])
    for name in ("funding_goal", "collected_funding", "currency", "funding_percentage", "backers"):
        chosen = chosen.append_column(name, funding[name].take(at))
    chosen = chosen.set_column(1, "creator_id", ids(chosen, "creator_id"))
    return chosen.sort_by(
        [("creator_id", "ascending"), ("planned_start_date", "ascending"), ("stream_id", "ascending")]
    )


def _stream(row: Mapping[str, Any]) -> Stream:
    return Stream(
        stream_id=row["stream_id"],
        title=row["title"],
        planned_start=row["planned_start_date"],
        access_type=row["access_type"],
        interest=row["interest"],
        goal=row["funding_goal"] or None,  # 0: no goal
        collected=row["collected_funding"],
        currency=row["currency"],
        percentage=row["funding_percentage"],
        backers=row["backers"] or 0,
    )


def search_key(text: str) -> str:
    """Return a text as a search compares it: without case, accents, the dot of an i, and surrounding space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)).replace("ı", "i").strip()
