"""Count a snapshot again the plain way, from raw, and compare what it says: `mostwatched audit`, and every publish.

An audit compares the published rankings, every creator with every column; what the cube answers for the published
windows, for each of its days alone, and for random ranges of days; and live_stream_funding. The other side is
recount.py. A file of the cube that was replaced by another right-looking one is found: its day is counted by itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core import durable_files
from pipelines.core.calendar_days import Window, rolling
from pipelines.core.errors import Damaged
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Policy, Settings
from pipelines.lake import models, plan
from pipelines.lake.derive import RELATIONS, RawDamaged, Stored
from pipelines.lake.engines import Relation
from pipelines.lake.engines import duckdb as engine
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder, by_folder
from pipelines.snapshots import recount
from pipelines.snapshots.inputs import snapshot_inputs
from pipelines.snapshots.manifest import Snapshot

RANGES = 10
LISTED = 1000  # differences that are listed; all are counted
_MEASURES = ("viewers", "anonymous_viewers", "sessions", "watched_seconds")
_PLACES = ("position", "rank", "previous_rank")
_FUNDING = ("creator_id", "funding_goal", "collected_funding", "currency", "funding_percentage", "backers")
_ONE_DAY = timedelta(days=1)

# Of a spot check. What it costs is bounded by the records that it reads, whatever the home holds.
CREATORS = 3  # drawn from the ranking, and one more from raw, who may be missing there
ROWS = 35_000  # sessions that landed for the days of a range, if it has several: read in under a tenth of a second
_NEAR_DAYS = 1  # around a range, in which other versions of its sessions are looked for first


@dataclass(frozen=True)
class Difference:
    """A published value that differs from the recount."""

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
    held = plan.cube_days(snapshot.as_of, policy)
    raw = _checked_inputs(settings, snapshot, recount.scope(held.first_day, held.end_day, policy))
    for name, facts in snapshot.files.items():
        durable_files.verify(snapshot.path / name, facts["sha256"])
    seed = snapshot.id if seed is None else seed
    drawn = _drawn(held, policy, ranges, random.Random(seed))
    windows = [rolling(snapshot.as_of, days) for days in policy.windows]
    asked = list(dict.fromkeys([*windows, *drawn, *(Window(day, day + _ONE_DAY) for day in held)]))
    cube = {day: snapshot.path / f"{snapshot.cube}{day}.parquet" for day in held}
    found = Differences()
    with recount.opened(settings, raw, policy, snapshot.as_of) as again:
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
                for table in ("counted", "counted_before"):
                    _leave_out_small_cells(connection, table, policy.min_cell)
                again.rank("ranked", "counted", "counted_before")
                connection.execute("create or replace temp table counted as from ranked")
                published = f"(from creator_rankings where window_days = {days.days})"
                found.find(connection, "creator_rankings", days, (*_PLACES, *_MEASURES), published)
        again.funding("counted")
        connection.execute(
            "update counted set collected_funding = null, funding_percentage = null, backers = 0 "
            f"where backers between 1 and {policy.min_cell - 1}"
        )
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


def spot_check(
    connection: engine.Connection,
    raw: Sequence[RawFile],
    policy: Policy,
    as_of: date,
    seed: str,
    cube: Mapping[date, Path],
) -> list[Difference]:
    """Recount some creators in a published window and in a random range of the cube. Returns what differs.

    `connection` has the table creator_rankings. Creators and ranges are drawn by `seed`; where days hold many sessions,
    ranges are of few days. Newer versions are looked for on the days around a range, and on all within reach only if
    something differs: so what is found differs for sure, and a version that was moved far away is left to `audit`.
    Raises RawDamaged when raw is.
    """
    draw = random.Random(seed)
    held = plan.cube_days(as_of, policy)
    sessions: Counter[date] = Counter()
    for folder in by_folder(raw):
        for name, facts in folder.files.items() if folder.entity == "viewing_sessions" else ():
            sessions[date.fromisoformat(name)] += facts.rows
    windows = [rolling(as_of, days) for days in policy.windows]
    window = draw.choice([one for one in windows if _sessions_of(one, sessions) <= ROWS] or windows[:1])
    days = _shortened(_drawn(held, policy, 2, draw)[1], sessions)
    asked = [(window, "creator_rankings"), (days, "creator_reach")]
    if _sessions_of(window, sessions) + _sessions_of(days, sessions) > 2 * ROWS:
        asked = [draw.choice(asked)]
    exact = [recount.scope(days.first_day, days.end_day, policy) for days, _ in asked]
    near = [recount.around(each.counted, min(policy.revision_days, _NEAR_DAYS)) for each in exact]
    found = Differences()
    try:
        creators = sorted(_chosen(connection, draw) | _landed_creator(raw, window, draw))
        again = recount.Recount(connection, raw, policy, as_of)
        for within in (near, exact):
            found = Differences()
            again.resolve_only(creators, within)
            for days, table in asked:
                again.count("counted", days.first_day, days.end_day)
                if table == "creator_reach":
                    _answer(connection, "answered", cube, days, policy, creators)
                    found.find(connection, table, days, _MEASURES, "answered")
                else:
                    connection.execute("delete from counted where creator_id in (from unlisted)")
                    texts = ", ".join(map(engine.literal, creators))
                    published = f"(from creator_rankings where window_days = {days.days} and creator_id in ({texts}))"
                    found.find(connection, table, days, _MEASURES, published)
            if not found.count:
                return []
    except (engine.Error, pa.ArrowException):
        _require_whole(raw, exact)
        raise
    _require_whole(raw, exact)
    return found.listed


def _require_whole(raw: Sequence[RawFile], scopes: Sequence[recount.Scope]) -> None:
    """Raise RawDamaged for a file of raw that was read and is not what was parsed."""
    for scope in scopes:
        for each, name, error in _damaged(raw, scope):
            facts = each.files[name]
            path = each.path(name)
            raise RawDamaged(
                Stored(f"raw_{each.entity}", None, each.key, str(path), facts.rows, facts.sha256, facts.digest),
                str(error),
            )


def _chosen(connection: engine.Connection, draw: random.Random) -> set[str]:
    """Some creators of the longest published window, the first ones more often than the last."""
    longest = "from creator_rankings where window_days = (select max(window_days) from creator_rankings)"
    count: int = engine.query(connection, f"select count(*) as rows {longest}")["rows"][0].as_py()
    positions = [int((count + 1) ** draw.random()) for _ in range(CREATORS)]
    drawn = engine.query(
        connection, f"select creator_id {longest} and position in (select unnest($positions))", {"positions": positions}
    )
    return set(drawn["creator_id"].to_pylist())


def _landed_creator(raw: Sequence[RawFile], window: Window, draw: random.Random) -> set[str]:
    """A creator whom a session of the window names; none where nothing landed."""
    names = {str(day) for day in window}
    sessions = [each for each in folders_of(raw) if each.entity == "viewing_sessions"]
    files = [each.path(name) for each in sessions for name in each.files if name in names]
    if not files:
        return set()
    with pq.ParquetFile(durable_files.fetched(draw.choice(files))) as file:
        rows = file.read_row_group(draw.randrange(file.num_row_groups), columns=["creator_id"])
    return {draw.choice(rows["creator_id"].to_pylist())}


def _sessions_of(days: Window, sessions: Mapping[date, int]) -> int:
    return sum(sessions[day] for day in days)


def _shortened(days: Window, sessions: Mapping[date, int]) -> Window:
    """The first days of a range: as many as hold ROWS sessions at most, and one at least."""
    end, rows = days.first_day, 0
    for day in days:
        rows += sessions[day]
        if rows > ROWS and end > days.first_day:
            break
        end = day + _ONE_DAY
    return Window(days.first_day, end)


def _checked_inputs(settings: Settings, snapshot: Snapshot, within: recount.Scope) -> list[RawFile]:
    """The raw folders that the snapshot rests on, every file that is read checked. Raises Damaged."""
    raw = snapshot_inputs(settings, snapshot, "Land them again and run, or audit a newer snapshot.")
    first, last = within.compared
    removed = [day for each in raw for day in each.removed_days if first <= date.fromisoformat(day) <= last]
    if removed:
        raise Damaged(
            f"Nothing of snapshot {snapshot.id} was counted again: the sessions of {min(removed)} to {max(removed)}, "
            "which it rests on, were removed from raw (MOSTWATCHED_KEEP_DAYS). Audit a newer snapshot."
        )
    for each, _, error in _damaged(raw, within):
        raise Damaged(
            f"{error} Move {each.location} out of {each.path_of_folder.parent} and run: that parses "
            f"{each.landed[0].landed_name} again from what landed."
        ) from error
    return raw


def _damaged(raw: Sequence[RawFile], within: recount.Scope) -> Iterator[tuple[RawFolder, str, Damaged]]:
    """The files of raw that are read within a scope and are not what was parsed, and what is wrong with each."""
    first, last = within.compared
    for each in folders_of(raw):
        for name, facts in each.files.items():
            if name == "all" or first <= date.fromisoformat(name) <= last:
                try:
                    durable_files.verify(each.path(name), facts.sha256)
                except Damaged as error:
                    yield each, name, error


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
    creators: Sequence[str] | None = None,
) -> None:
    """Make a table of what readers are told of a range, or of some creators in it: by the published query."""
    rows = plan.window_rows(days, ZoneInfo(policy.day_timezone))
    reach: Relation = [cube[day] for day in days]
    if creators is not None:
        engine.register(connection, "creator_reach", reach)
        some = "from creator_reach where creator_id in (select unnest($creators))"
        reach = engine.query(connection, some, {"creators": list(creators)})
    sources: dict[str, Relation] = {
        "creator_reach": reach,
        "windows": pa.Table.from_pylist(rows, schema=RELATIONS["windows"]),
    }
    with engine.registered(connection, sources):
        statement = models.model("creator_windows").statement
        connection.execute(f"create or replace temp table {table} as from ({statement}\n)")


def _leave_out_small_cells(connection: engine.Connection, table: str, min_cell: int) -> None:
    connection.execute(f"delete from {table} where viewers < {min_cell}")
    connection.execute(f"update {table} set anonymous_viewers = 0 where anonymous_viewers < {min_cell}")


def _rows(connection: engine.Connection, table: str) -> int:
    count: int = engine.query(connection, f"select count(*) as rows from {table}")["rows"][0].as_py()
    return count
