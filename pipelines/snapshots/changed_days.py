"""Days whose figures differ from the previous snapshot, which of them shrank, and which snapshot that is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core import calendar_days
from pipelines.core.text import counted
from pipelines.lake.derive import Lake
from pipelines.lake.plan import Built
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import by_folder
from pipelines.snapshots import manifest
from pipelines.snapshots.manifest import Snapshot

_MEASURES = ("viewers", "sessions_started", "sessions_carried_in", "watched_milliseconds")


def previous_snapshot(folder: Path, snapshot: Snapshot) -> Snapshot | None:
    """Return the snapshot before another one, which may be unnamed yet: of the same as_of, or of the latest before.

    Of those of one as_of the last that was made; of its own as_of, made before it.
    """
    as_ofs = {manifest.as_of_from_id(name) for name in manifest.snapshot_ids(folder)}
    for as_of in sorted((each for each in as_ofs if each <= snapshot.as_of), reverse=True):
        made = [one for one in manifest.listed(folder, of=as_of) if one.id != snapshot.id]
        if as_of == snapshot.as_of:
            made = [one for one in made if one.manifest["created_at"] < snapshot.manifest["created_at"]]
        if made:
            return made[-1]
    return None


def changed_days(
    published: Snapshot,
    digests: Mapping[str, str],
    tables: Mapping[str, Callable[[], pa.Table]],
    reached: Collection[date],
) -> Iterator[dict[str, Any]]:
    """Return the days of `published` whose figures differ in `tables`.

    A late session changes the gaps of many days after it, which is no news of those days: what counts is what their
    rows add up to; of the days that late files reached, also for each creator.
    """
    for name, digest in digests.items():
        facts = published.files.get(name)
        if facts is None or facts["rows_sha256"] == digest:
            continue
        day = date.fromisoformat(PurePosixPath(name).stem)
        was, now = published.table(name), tables[name]()
        if _totals(was) != _totals(now) or (day in reached and _by_creator(was) != _by_creator(now)):
            yield {
                "day": day.isoformat(),
                "sessions_before": _totals(was)["sessions_started"],
                "sessions": _totals(now)["sessions_started"],
            }


LEAST_LOST = 10  # sessions: a day of fewer may well lose most of them


@dataclass(frozen=True)
class ShrunkDay:
    """A day with under half of the sessions that it had, or of the signed-in viewers or watched hours of those."""

    day: date
    measure: str  # "session", "signed-in viewer" (of a creator) or "watched hour"
    before: int
    now: int
    lost: int  # sessions put aside as conflicting versions, or no longer in the lake
    # Whether most of what is not there any more was taken away on purpose: by newer versions, retractions or erasures.
    is_deliberate: bool


def shrunk_days(published: Snapshot, lake: Lake, built: Built, raw: Sequence[RawFile]) -> Iterator[ShrunkDay]:
    """Return the days that `published` holds as well and that have under half of their sessions or viewers left.

    A newer version may retract a session, or move it to another day, and an erasure takes it out: that is meant. What
    is not meant is that a version loses against another of the same age, as when ids are given out again every day, or
    that the lake has fewer records of the day than were counted. Nor is it that sessions stay without their viewers, or
    without their ends, and no newer version says so: as when landed files are read by another mapping.
    """
    if published.manifest["policy"]["day_timezone"] != built.policy.day_timezone:
        return
    zone = ZoneInfo(built.policy.day_timezone)
    is_same_policy = published.manifest["policy"] == built.policy.as_json()  # another one leaves out others on purpose
    for day, stored in built.creator_reach.items():
        facts = published.files.get(name := f"{published.cube}{day}.parquet")
        if facts is None or facts["rows_sha256"] == stored.digest:
            continue
        before, after = _measured(published.table(name)), _measured(lake.table(stored))
        fell = (each for each in before if after[each] * 2 < before[each] and before[each] - after[each] >= LEAST_LOST)
        if (measure := next(fell, None)) is None:
            continue
        was, now = before[measure], after[measure]
        days = calendar_days.utc_days(*calendar_days.day_bounds(day, zone))
        outcomes = [lake.table(file) for file in built.outcomes["session_outcomes"] if file.day in days]
        if measure != "session":
            newer = sum(_records(each, "superseded", "deleted", "erased") for each in outcomes)
            if is_same_policy:  # safeguard: viewers-that-vanish-noticed
                changed = was - now if measure == "signed-in viewer" else before["session"] // 2
                yield ShrunkDay(day, measure, was, now, 0, is_deliberate=newer * 2 >= changed)
            continue
        conflicts = sum(_records(each, "conflict") for each in outcomes)
        names = [str(each) for each in days]
        left = sum(folder.files[name].rows for folder in by_folder(raw) for name in names if name in folder.files)
        gone = max(0, was - left)
        found = ShrunkDay(day, measure, was, now, conflicts + gone, is_deliberate=(conflicts + gone) * 2 < was - now)
        if is_same_policy or not found.is_deliberate:
            yield found


DAYS_COMPARABLE = 7  # between two snapshots; what rolls out of the windows meanwhile is no loss
_COMPARED = ("creator_rankings", "creators", "live_streams", "lls_streams")
_COMPARED_PRIVATE = ("follows", "funded_streams", "replay_rentals")


def unlike_before(
    published: Snapshot, built: Built, rows: Mapping[str, int], ranked: int, unknown_creators: int
) -> Iterator[str]:
    """Yield sentences about what is strange beside the last snapshot, and refuses nothing.

    Those are tables that lost most of their rows, as when all creators are banned or all follows deleted, and creators
    most of whom are suddenly without a profile, as when their ids are spelled in another way. `rows` are those of the
    files to be published; `ranked` creators are in the longest window, `unknown_creators` of them without a profile.
    """
    is_next = 0 <= (built.as_of - published.as_of).days <= DAYS_COMPARABLE
    if not is_next or published.manifest["policy"] != built.policy.as_json():
        return
    for name in (*_COMPARED, *(f"private/{each}" for each in _COMPARED_PRIVATE)):
        was, now = published.files[f"{name}.parquet"]["rows"], rows[f"{name}.parquet"]
        if now * 2 < was and was - now >= LEAST_LOST:
            yield (
                f"{PurePosixPath(name).name} has {counted(now, 'row')}, of {was:,} in the last snapshot. If it was not "
                "meant that newer versions, bans, deletions or erasures take the others away, land them right."
            )
    newly = unknown_creators - published.manifest["unknown_creators"]
    if newly >= LEAST_LOST and newly * 2 >= ranked:
        yield (
            f"{newly:,} of {ranked:,} ranked creators have no profile, and were not ranked so in the last snapshot: "
            "land their profiles, or look whether ids are spelled in another way than before."
        )


def _records(outcomes: pa.Table, *which: str) -> int:
    return pc.sum(outcomes.filter(pc.is_in(outcomes["outcome"], pa.array(which)))["records"]).as_py() or 0


def _measured(table: pa.Table) -> dict[str, int]:
    """What a day may lose: see ShrunkDay.measure."""
    signed_in = _totals(table.filter(table["is_signed_in"]))
    totals = _totals(table)
    return {
        "session": totals["sessions_started"],
        "signed-in viewer": signed_in["viewers"],
        "watched hour": totals["watched_milliseconds"] // 3_600_000,
    }


def _totals(table: pa.Table) -> dict[str, int]:
    return {measure: pc.sum(table[measure]).as_py() or 0 for measure in _MEASURES}


def _by_creator(table: pa.Table) -> pa.Table:
    keys = ["creator_id", "is_signed_in"]
    sums = table.group_by(keys).aggregate([(measure, "sum") for measure in _MEASURES])
    return sums.sort_by([(key, "ascending") for key in keys])
