"""What is strange about a night and may well be meant: it is said with the snapshot, and refuses nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pipelines.core.text import counted, first_named
from pipelines.landing.files import Ignored, printable_name
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder, by_folder
from pipelines.snapshots.changed_days import ShrunkDay
from pipelines.snapshots.gates import as_shrunk, rejected_for
from pipelines.snapshots.manifest import Snapshot

MAX_NAMED = 5  # files


def ignored_data(ignored: Iterable[Ignored]) -> Iterator[str]:
    """Yield a sentence for what lies in a landing folder, is not read, and probably holds records."""
    found = [each for each in ignored if each.holds]
    for each in found[:MAX_NAMED]:
        path = printable_name(each.path)
        yield (
            f"{path} is not read, and probably holds records of {each.holds}: land them in the folder {each.holds}, as "
            f"CSV, NDJSON or Parquet, or move {path} out of the landing folder. It is ignored as {each.reason}."
        )
    if len(found) > MAX_NAMED:
        yield f"{len(found) - MAX_NAMED:,} more ignored paths probably hold records: see `mostwatched status`."


def mostly_rejected(new: Iterable[RawFile]) -> Iterator[str]:
    """Yield a sentence for new files most of whose records were rejected, however few: a writer's are lost.

    Beside all that is read once more by a new mapping a whole day is under the limit.
    """
    found = [each for each in new if each.rejected * 2 > each.records and not each.unreadable]
    found.sort(key=lambda each: each.landed_name)
    for each in found[:MAX_NAMED]:
        records = f"{counted(each.records, 'record')} in {each.landed_name}"
        lost = f"{each.rejected:,} of the {records} were rejected"
        said = lost if each.accepted or each.erased else f"None of the {records} was accepted"
        yield f"{said}. {rejected_for([each])}See `mostwatched rejects`, then land them corrected."
    if len(found) > MAX_NAMED:
        yield f"Of {len(found) - MAX_NAMED:,} more files most records were rejected: see `mostwatched rejects`."


def far_from_all_others(new: Iterable[RawFile], raw: Iterable[RawFile]) -> Iterator[str]:
    """Yield a sentence for new sessions on days that lie more than a year from those on which most sessions start.

    So lies what was never set (1970-01-01, 0001-01-01), another calendar (2569), a year that was mistyped.
    """
    new = [each for each in new if each.entity == "viewing_sessions"]
    new_on = _rows_by_day(new)
    if not new_on:
        return
    spans: list[dict[str, int]] = []
    last = date.min
    for name, rows in sorted(
        _rows_by_day(each for each in by_folder(raw) if each.entity == "viewing_sessions").items()
    ):
        day = date.fromisoformat(name)
        if not spans or (day - last).days > MOST_DAYS_APART:
            spans.append({})
        spans[-1][name] = rows
        last = day
    usual = max(spans, key=lambda span: sum(span.values()))
    far = [name for span in spans if span is not usual for name in span if name in new_on]
    if far:
        where = first_named(sorted(each.landed_name for each in new if not each.files.keys().isdisjoint(far)))
        sessions = sum(new_on[name] for name in far)
        verb = "starts" if sessions == 1 else "start"
        days = f"on {far[0]}" + (f" and {counted(len(far) - 1, 'more day')}" if far[1:] else "")
        yield (
            f"{counted(sessions, 'newly landed session')} {verb} more than a year from all others, {days}, in {where}: "
            "see how their startedAt was written."
        )


MOST_DAYS_APART = 366


def _rows_by_day(files: Iterable[RawFile | RawFolder]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for each in files:
        for name, written in each.files.items():
            rows[name] += written.rows
    return rows


def retracted(days: Iterable[ShrunkDay]) -> Iterator[str]:
    """Yield a sentence if days lost most of their sessions, viewers or hours on purpose: it refuses nothing."""
    found = [day for day in days if day.is_deliberate]
    if sessions := [day for day in found if day.measure == "session"]:
        yield f"{as_shrunk(sessions)}: newer versions retract or move the others, or their viewers were erased."
    if others := [day for day in found if day.measure != "session"]:
        yield f"{as_shrunk(others)}: newer versions of its sessions say so, or viewers were erased."


def days_without_sessions(
    newest_session: datetime | None, as_of: date, zone: ZoneInfo, snapshot_id: str
) -> Iterator[str]:
    """Yield a sentence if no session starts on the last days before as_of.

    It refuses nothing. What refuses the first nights of an outage does not refuse later ones: the days that the last
    one is compared with are then empty as well.
    """
    first = _first_day_without(newest_session, zone)
    if first and first < as_of:
        yield (
            f"No session starts from {first} on, up to {as_of}: land what is missing and run again. If the day was "
            f"asked for by mistake, take its snapshot back with `mostwatched snapshots remove {snapshot_id}`."
        )


def current_is_mistaken(current: Snapshot) -> str | None:
    """Say that the snapshot that readers are on, or stay on whatever is published, may be of a mistaken day."""
    newest = current.manifest["freshness"]["newest_session_at"]
    zone = ZoneInfo(current.manifest["policy"]["day_timezone"])
    first = _first_day_without(newest and datetime.fromisoformat(newest), zone)
    if first is None or first >= current.as_of:
        return None
    return (
        f"Readers stay on {current.id}, of a later day, though no session starts from {first} on. If that day was "
        f"asked for by mistake, take it back with `mostwatched snapshots remove {current.id}`."
    )


def _first_day_without(newest_session: datetime | None, zone: ZoneInfo) -> date | None:
    """The day after the newest session; None without one, and after the last day of the calendar."""
    try:
        return newest_session and newest_session.astimezone(zone).date() + timedelta(days=1)
    except OverflowError:
        return None
