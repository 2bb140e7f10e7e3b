"""Why a creator's number is what it is: from the landed records that name the creator to the published figure.

The whole nightly job runs again in a temporary lake, over nothing but the records of the sessions that name this
creator: the same models, so the same definitions. What was left out on the way is counted at the step that left it out,
and what remains must be exactly what the snapshot published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from pipelines.core import calendar_days, durable_files
from pipelines.core.calendar_days import InclusiveRange, Window
from pipelines.core.errors import UsageError
from pipelines.core.scratch import scratch_folder
from pipelines.core.settings import Policy, Settings
from pipelines.jobs.retention import require_days
from pipelines.lake import models, plan
from pipelines.lake.derive import RELATIONS, Lake, Stored
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import Batch
from pipelines.landing.schema import RAW_SCHEMAS
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder
from pipelines.raw.writer import RawWriter
from pipelines.snapshots import ranking
from pipelines.snapshots.inputs import snapshot_inputs
from pipelines.snapshots.manifest import Snapshot

# Why an accepted record that names the creator is none of the sessions in the window, in the order of asking.
LEFT_OUT = (
    "duplicate",
    "superseded",
    "deleted",
    "erased",
    "own_view",
    "under_minimum",
    "not_yet",
    "outside_window",
)
SESSIONS = "viewing_sessions"


@dataclass(frozen=True)
class Day:
    """What one day of the window added."""

    day: date
    sessions: int  # that started on it, or were carried into the first day
    viewers: int  # signed-in viewers of the day
    new_viewers: int  # those of them whom no earlier day of the window had seen


@dataclass(frozen=True)
class Explanation:
    """One creator's figure, step by step."""

    snapshot_id: str
    creator_id: str
    days: Window
    landed_files: int  # that hold records which name the creator
    records: int  # accepted records that name the creator, of the days rested on = sum of `left_out` + sessions
    left_out: dict[str, int]  # by reason, in the order of LEFT_OUT
    moved_away: int  # sessions that an older version gave to this creator, and the newest to another
    mentioned_in_rejects: int  # rejected session records whose text holds the id
    sessions: int
    watched_seconds: int
    viewer_days: int  # signed-in viewers, counted once a day = viewers + those seen on an earlier day of the window
    viewers: int
    device_days: int  # the same of anonymous devices
    anonymous_viewers: int
    by_day: tuple[Day, ...]
    status: str | None  # of the creator's profile
    published: dict[str, Any] | None  # the snapshot's row; None: not ranked
    min_cell: int  # people that a published figure of the snapshot rests on, at least

    @property
    def is_left_out_of_the_ranking(self) -> bool:
        """Whether the creator is banned or deleted."""
        return self.status in ("banned", "deleted")

    @property
    def agrees(self) -> bool:
        """Whether what landed gives exactly what was published."""
        if self.published is None:
            return self.is_left_out_of_the_ranking or self.sessions == 0 or self.viewers < self.min_cell
        anonymous_viewers = 0 if self.anonymous_viewers < self.min_cell else self.anonymous_viewers
        return self.published["anonymous_viewers"] == anonymous_viewers and all(
            self.published[name] == getattr(self, name) for name in ("viewers", "sessions", "watched_seconds")
        )

    def as_json(self) -> dict[str, Any]:
        """The documented object of `mostwatched explain --json`."""
        content = {name: value for name, value in vars(self).items() if name not in ("days", "by_day", "min_cell")}
        content["first_day"], content["end_day"] = self.days.first_day.isoformat(), self.days.end_day.isoformat()
        content["by_day"] = [vars(day) | {"day": day.day.isoformat()} for day in self.by_day]
        return content | {"agrees": self.agrees}


def explain(settings: Settings, snapshot: Snapshot, creator_id: str, days: Window) -> Explanation:
    """Explain the figure of `creator_id` over `days` in `snapshot`, step by step.

    Raises UsageError for a creator of whom nothing is known or a range that the snapshot does not hold, Damaged when
    raw files that the snapshot rests on are damaged or gone.
    """
    ranking.require_held(snapshot, days)
    policy = Policy.from_json(snapshot.manifest["policy"])
    raw = snapshot_inputs(settings, snapshot, "Land them again and run, or explain another snapshot.")
    require_days(raw, policy, snapshot.as_of)
    profile = _profile(snapshot, creator_id)
    with (
        scratch_folder(settings.home, "explain") as folder,
        closing(engine.connect(settings.memory_limit, settings.threads, folder / "spill")) as connection,
    ):
        records, landed = _records_of(connection, raw, plan.input_days(snapshot.as_of, policy), creator_id, folder)
        if not landed.records and profile is None:
            raise UsageError(f"Snapshot {snapshot.id} rests on no session and no profile of a creator {creator_id!r}.")
        alone = [*(file for file in raw if file.entity == "erasures"), *records]
        with _lake(settings, folder) as lake:
            files_of, reach = plan.reach(lake, plan.arranged(alone), policy, snapshot.as_of, days)
            outcomes = _outcomes(
                connection,
                {model: _rows_of(lake, model, files, creator_id) for model, files in files_of.items()},
                days,
            )
            cube = _rows_of(lake, "creator_reach", [reach[day] for day in days], creator_id)
            reached = _reached(connection, cube, days, ZoneInfo(policy.day_timezone))
    newest = sum(count for outcome, count in outcomes.items() if outcome not in _NOT_OF_SESSIONS)
    rows = ranking.ranking(settings, snapshot, days)
    return Explanation(
        snapshot_id=snapshot.id,
        creator_id=creator_id,
        days=days,
        landed_files=landed.files,
        records=landed.records,
        left_out={reason: outcomes.get(reason, 0) for reason in LEFT_OUT},
        moved_away=max(0, landed.sessions - newest),  # one key is several sessions where they lie far apart
        mentioned_in_rejects=_mentioned(raw, creator_id),
        status=profile["status"] if profile else None,
        published=next((row for row in rows if row["creator_id"] == creator_id), None),
        min_cell=snapshot.min_cell,
        **reached,
    )


# --- the records -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Landed:
    """Accepted session records that name the creator."""

    records: int = 0
    sessions: int = 0  # without those of erased viewers alone
    files: int = 0


def _records_of(
    connection: engine.Connection, raw: Sequence[RawFile], input_days: InclusiveRange, creator_id: str, folder: Path
) -> tuple[list[RawFile], _Landed]:
    """Every version of every session that any version gives to the creator, as a raw folder of its own if any.

    Of the days that the snapshot rests on: what lies before and after them says nothing of what is published.
    """
    folders = folders_of(raw)
    files = [
        (file, name)
        for file in folders
        if file.entity == SESSIONS
        for name in file.files
        if date.fromisoformat(name) in input_days
    ]
    for file, name in files:
        durable_files.verify(file.path(name), file.files[name].sha256)
    if not files:
        return [], _Landed()
    engine.register(connection, "landed", [file.path(name) for file, name in files], with_place=True)
    engine.register(connection, "places", _places(files))
    erasures = [(file, name) for file in folders if file.entity == "erasures" for name in file.files]
    for file, name in erasures:
        durable_files.verify(file.path(name), file.files[name].sha256)
    erased = [file.path(name) for file, name in erasures] or RAW_SCHEMAS["erasures"].empty_table()
    engine.register(connection, "erasures", erased)
    named = {"creator_id": creator_id}
    landed = _Landed(**engine.query(connection, _LANDED, named).to_pylist()[0])
    if not landed.records:
        return [], landed
    target = folder / "raw"
    target.mkdir()
    writer = RawWriter(SESSIONS, target)
    schema = RAW_SCHEMAS[SESSIONS]
    for batch in engine.batches(connection, _RECORDS, named):
        rows = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        writer.append(Batch(rows, [], 0, Counter()))
    written, _ = writer.finish()
    explained = replace(
        files[0][0].landed[0], location=str(target), key="explained", files=written, rejects=None, landed_files=1
    )
    return [explained], landed


def _places(files: Sequence[tuple[RawFolder, str]]) -> pa.Table:
    """The rows of each landed file in each file of raw."""
    rows = [
        {"filename": str(folder.path(name)), "landed": each.key, "first": at.first_row, "end": at.first_row + at.rows}
        for folder, name in files
        for each in folder.landed
        if (at := each.files.get(name)) is not None
    ]
    kinds = [("filename", pa.string()), ("landed", pa.string()), ("first", pa.int64()), ("end", pa.int64())]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


_LANDED = """
    select count(*) as records,
        count(distinct (source, session_id)) filter (
            viewer_id is null or viewer_id not in (select user_id from erasures)
        ) as sessions,
        count(distinct places.landed) as files
    from landed
    join places
        on landed.filename = places.filename
        and landed.file_row_number >= places."first" and landed.file_row_number < places."end"
    where creator_id = $creator_id
"""

_RECORDS = """
    select landed.* exclude (filename, file_row_number)
    from landed
    semi join (select distinct source, session_id from landed where creator_id = $creator_id) as named
        on landed.source = named.source and landed.session_id = named.session_id
"""


def _mentioned(raw: Iterable[RawFile], creator_id: str) -> int:
    """Rejected session records whose text holds the id: it could not be told of which creator they are."""
    found = 0
    for file in raw:
        if file.entity == SESSIONS and file.rejects is not None:
            for rows in file.rejected_records():
                found += pc.sum(pc.match_substring(rows["text"], creator_id)).as_py() or 0
    return found


def _profile(snapshot: Snapshot, creator_id: str) -> dict[str, Any] | None:
    creators = snapshot.table("creators.parquet")
    rows = creators.filter(pc.equal(creators["creator_id"], creator_id)).to_pylist()
    return rows[0] if rows else None


# --- the steps -------------------------------------------------------------------------------------------------------


@contextmanager
def _lake(settings: Settings, folder: Path) -> Iterator[Lake]:
    def start() -> engine.DuckDBEngine:
        return engine.DuckDBEngine(settings.memory_limit, settings.threads, folder / "lake-spill")

    lake = Lake(folder / "lake", start)
    try:
        yield lake
    finally:
        lake.close()


# What the funnel reads of others: no profile, since a ban is a step after the sessions.
_NOBODY = pa.schema([("creator_id", pa.string()), ("status", pa.string())]).empty_table()
_NOT_OF_SESSIONS = {"duplicate", "superseded", "conflict", "lost", "erased"}


def _outcomes(connection: engine.Connection, outcomes: Mapping[str, pa.Table], days: Window) -> dict[str, int]:
    """The records that name the creator, by what the funnel says of them for these days."""
    with engine.registered(connection, {**outcomes, "creators": _NOBODY}):
        params = {"first_day": days.first_day, "end_day": days.end_day}
        rows = engine.query(connection, models.model("funnel").statement, params).to_pylist()
    return {row["outcome"]: row["records"] for row in rows}


def _reached(connection: engine.Connection, cube: pa.Table, days: Window, zone: ZoneInfo) -> dict[str, Any]:
    """What the creator's own cube says of the days: totals by the model that ranks, and day by day."""
    windows = pa.Table.from_pylist(plan.window_rows(days, zone), schema=RELATIONS["windows"])
    with engine.registered(connection, {"creator_reach": cube, "windows": windows}):
        totals = engine.query(connection, models.model("creator_windows").statement).to_pylist()
    total = totals[0] if totals else dict.fromkeys(("viewers", "anonymous_viewers", "sessions", "watched_seconds"), 0)
    first_day = calendar_days.first_with_length(days, zone)
    by_day, kinds = {day: Day(day, 0, 0, 0) for day in days}, {True: 0, False: 0}
    for row in cube.to_pylist():
        day = by_day.get(row["day"])
        if day is None:
            continue
        kinds[row["is_signed_in"]] += row["viewers"]
        is_new = row["gap_days"] is None or row["gap_days"] > (day.day - first_day).days
        carried_in = row["sessions_carried_in"] if day.day == first_day else 0
        by_day[day.day] = Day(
            day.day,
            day.sessions + row["sessions_started"] + carried_in,
            day.viewers + row["viewers"] * row["is_signed_in"],
            day.new_viewers + row["viewers"] * (row["is_signed_in"] and is_new),
        )
    return {
        **{name: total[name] for name in ("viewers", "anonymous_viewers", "sessions", "watched_seconds")},
        "viewer_days": kinds[True],
        "device_days": kinds[False],
        "by_day": tuple(by_day.values()),
    }


def _rows_of(lake: Lake, model: str, files: Sequence[Stored], creator_id: str) -> pa.Table:
    tables = [lake.table(stored) for stored in files or [lake.empty(model)]]
    return pa.concat_tables(table.filter(pc.equal(table["creator_id"], creator_id)) for table in tables)
