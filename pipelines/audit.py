"""Count a snapshot again the plain way, from raw, and compare what it says: `mostwatched audit`, and every publish.

An audit compares the published rankings, every creator with every column; what the cube answers for the published
windows, for each of its days alone, and for random ranges of days; and live_stream_funding. The other side is
recount.py. A file of the cube that was replaced by another right-looking one is found: its day is counted by itself.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines import build, forgotten, models, recount, store
from pipelines.engines import duckdb as engine
from pipelines.errors import Damaged
from pipelines.ingest import Progress, no_progress
from pipelines.lake import RELATIONS
from pipelines.raw import RawFile, raw_files, rested_on
from pipelines.settings import Policy, Settings
from pipelines.snapshots import Snapshot
from pipelines.window import Window, rolling

RANGES = 10
LISTED = 1000  # differences that are listed; all are counted
_MEASURES = ("viewers", "anonymous_viewers", "sessions", "watched_seconds")
_PLACES = ("position", "rank", "previous_rank")
_FUNDING = ("creator_id", "funding_goal", "collected_funding", "currency", "funding_percentage", "backers")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Difference:
    """One value that was published otherwise than it is counted again."""

    table: str  # creator_rankings, creator_reach or live_stream_funding
    key: str  # the creator or the stream
    days: str | None  # first_day/end_day, the end not included; null: of no range
    column: str
    published: Any  # null: no such row
    counted_again: Any


@dataclass
class Differences:
    """What differs, found table by table."""

    count: int = 0
    listed: list[Difference] = field(default_factory=list)  # at most LISTED

    def find(
        self, connection: engine.Connection, table: str, days: Window | None, columns: Sequence[str], published: str
    ) -> None:
        """Compare the rows of the tables `published` and `counted` of a connection, by creator or stream."""
        key = "stream_id" if days is None else "creator_id"
        pairs = [(f"published.{name}", f"counted.{name}") for name in columns]
        counts = ", ".join(
            f"count(*) filter ({one} is distinct from {other}) as n{at}" for at, (one, other) in enumerate(pairs)
        )
        joined = f"from {published} as published full join counted on published.{key} = counted.{key}"
        (counted,) = engine.query(connection, f"select {counts} {joined}").to_pylist()
        differing = sum(counted.values())
        self.count += differing
        if not differing or len(self.listed) >= LISTED:
            return
        values = ", ".join(
            f"{one} as {name}, {other} as {name}_again" for name, (one, other) in zip(columns, pairs, strict=True)
        )
        differ = " or ".join(f"{one} is distinct from {other}" for one, other in pairs)
        rows = engine.query(
            connection,
            f"select coalesce(published.{key}, counted.{key}) as key, {values} {joined} where {differ} order by key "
            f"limit {LISTED}",
        )
        for row in rows.to_pylist():
            for column in columns:
                one, other = row[column], row[f"{column}_again"]
                if one != other and len(self.listed) < LISTED:
                    self.listed.append(Difference(table, row["key"], str(days) if days else None, column, one, other))


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    snapshot_id: str
    seed: str
    ranges: Sequence[str]
    days: int  # of the cube, each counted by itself
    creators: int  # that were counted in the longest published window
    streams: int
    erased_records: int  # that raw no longer holds, since somebody was forgotten
    differing: int  # values
    differences: Sequence[Difference]  # the first LISTED of them

    def as_json(self) -> dict[str, Any]:
        """The documented object of `mostwatched audit --json`; amounts as text."""
        rows = [asdict(each) for each in self.differences]
        for row in rows:
            for side in ("published", "counted_again"):
                if not isinstance(row[side], int | str | None):
                    row[side] = str(row[side])
        return vars(self) | {"ranges": list(self.ranges), "agrees": not self.differing, "differences": rows}


def audit(
    settings: Settings,
    snapshot: Snapshot,
    ranges: int = RANGES,
    seed: str | None = None,
    *,
    progress: Progress = no_progress,
) -> Audit:
    """Compare a snapshot with raw; `ranges` random ranges are drawn by `seed`, or else by the snapshot's id.

    Raises Damaged when raw that the snapshot rests on is damaged or gone, naming what cannot be counted.
    """
    policy = Policy.from_json(snapshot.manifest["policy"])
    held = build.cube_days(snapshot.as_of, policy)
    raw = _raw_of(settings, snapshot, recount.scope(held.first_day, held.end_day, policy))
    for name, facts in snapshot.files.items():
        store.verify(snapshot.path / name, facts["sha256"])
    seed = snapshot.id if seed is None else seed
    drawn = _drawn(held, policy, ranges, random.Random(seed))
    windows = [rolling(snapshot.as_of, days) for days in policy.windows]
    asked = list(dict.fromkeys([*windows, *drawn, *(Window(day, day + _ONE_DAY) for day in held)]))
    cube = {day: snapshot.path / f"creator_reach/{day}.parquet" for day in held}
    found = Differences()
    with (
        tempfile.TemporaryDirectory(prefix="mostwatched-audit-") as folder,
        recount.opened(settings, raw, policy, snapshot.as_of, Path(folder)) as again,
    ):
        connection = again.connection
        for name in ("creator_rankings", "live_stream_funding"):
            engine.register(connection, name, [snapshot.path / f"{name}.parquet"])
        progress("find the newest versions", 0, 1)
        again.resolve(recount.scope(held.first_day, held.end_day, policy))
        for done, days in enumerate(asked):
            progress("count again", done, len(asked))
            again.count("counted", days.first_day, days.end_day)
            _answer(connection, "answered", cube, days, policy)
            found.find(connection, "creator_reach", days, _MEASURES, "answered")
            if days in windows:
                if days.days == max(policy.windows):
                    creators = _rows(connection, "counted")
                again.count("counted_before", days.first_day - _ONE_DAY, days.end_day - _ONE_DAY)
                again.rank("ranked", "counted", "counted_before")
                connection.execute("create or replace temp table counted as from ranked")
                published = f"(from creator_rankings where window_days = {days.days})"
                found.find(connection, "creator_rankings", days, (*_PLACES, *_MEASURES), published)
        again.funding("counted")
        found.find(connection, "live_stream_funding", None, _FUNDING, "live_stream_funding")
        streams = _rows(connection, "counted")
    return Audit(
        snapshot_id=snapshot.id,
        seed=seed,
        ranges=[str(days) for days in drawn],
        days=held.days,
        creators=creators,
        streams=streams,
        erased_records=sum(each.erased for each in raw),
        differing=found.count,
        differences=found.listed,
    )


def _raw_of(settings: Settings, snapshot: Snapshot, within: recount.Scope) -> list[RawFile]:
    """The raw folders that the snapshot rests on, every file that is read checked. Raises Damaged."""
    raw, gone = rested_on(raw_files(settings), snapshot.manifest["landed"], forgotten.read(settings))
    if gone:
        raise Damaged(
            f"Nothing of snapshot {snapshot.id} was counted again: raw no longer holds {len(gone)} of the landed files "
            f"that it rests on, such as {gone[0]}. Land them again and run, or audit a newer snapshot."
        )
    first, last = within.compared
    removed = [day for each in raw for day in each.removed_days if first <= date.fromisoformat(day) <= last]
    if removed:
        raise Damaged(
            f"Nothing of snapshot {snapshot.id} was counted again: the sessions of {min(removed)} to {max(removed)}, "
            "which it rests on, were removed from raw (MOSTWATCHED_KEEP_DAYS). Audit a newer snapshot."
        )
    _require_whole(raw, within)
    return raw


def _require_whole(raw: Sequence[RawFile], within: recount.Scope) -> None:
    """Raise Damaged for a file of raw that is read within a scope and is not what was parsed."""
    first, last = within.compared
    for each in raw:
        for name, facts in each.files.items():
            if name == "all" or first <= date.fromisoformat(name) <= last:
                try:
                    store.verify(each.path(name), facts.sha256)
                except Damaged as error:
                    raise Damaged(
                        f"{error} Move {each.folder} out of {each.folder.parent} and run: that parses "
                        f"{each.landed_name} again from what landed. Then audit again."
                    ) from error


def _drawn(held: Window, policy: Policy, ranges: int, draw: random.Random) -> list[Window]:
    """Random ranges that the cube can answer. With the longest published window the first covers every day."""
    cut = draw.randint(1, max(policy.windows))
    found = [Window(held.first_day, held.end_day - timedelta(days=cut))]
    while len(found) < ranges:
        length = draw.randint(1, policy.max_window_days)
        first = held.first_day + timedelta(days=draw.randint(0, held.days - length))
        found.append(Window(first, first + timedelta(days=length)))
    return found[:ranges]


def _answer(
    connection: engine.Connection,
    table: str,
    cube: Mapping[date, Path],
    days: Window,
    policy: Policy,
) -> None:
    """Make a table of what readers are told of a range: the files of the cube, by the published query."""
    rows = build.window_rows(days, ZoneInfo(policy.day_timezone))
    sources = {
        "creator_reach": [cube[day] for day in days],
        "windows": pa.Table.from_pylist(rows, schema=RELATIONS["windows"]),
    }
    with engine.registered(connection, sources):
        statement = models.model("creator_windows").statement
        connection.execute(f"create or replace temp table {table} as from ({statement}\n)")


def _rows(connection: engine.Connection, table: str) -> int:
    count: int = engine.query(connection, f"select count(*) as rows from {table}")["rows"][0].as_py()
    return count
