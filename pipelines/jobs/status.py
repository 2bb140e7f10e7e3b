"""The state of a home: what is published, which days are present, what the next run would do, and why the last one did
not publish.

It only reads: it takes no lock, writes nothing, parses no landed file, and answers while a run is at work. A dry run of
the lake finds what the next run would build. The clock is an argument.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import remote
from pipelines.core import calendar_days, durable_files, home_modes
from pipelines.core.errors import Damaged, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs import last_audit, last_run
from pipelines.jobs.nightly import require_possible
from pipelines.jobs.retention import require_days
from pipelines.lake import plan
from pipelines.lake.derive import Lake
from pipelines.lake.plan import Built
from pipelines.landing import printable_name
from pipelines.landing.files import UNFINISHED
from pipelines.landing.schema import ENTITIES
from pipelines.raw import deliveries, erasure_register
from pipelines.raw.catalog import is_in_raw, raw_files
from pipelines.raw.deliveries import LandedSessions
from pipelines.raw.erasure_register import Register
from pipelines.raw.ingest import FoundFile, IngestReport, find_unreadable, inspect, is_new_name_of_empty_file
from pipelines.raw.raw_file import RawFile
from pipelines.remote import Landing
from pipelines.snapshots import changed_days, gates, manifest, publish
from pipelines.snapshots.gates import Lost
from pipelines.snapshots.inputs import LandedFiles, new_keys
from pipelines.snapshots.manifest import Pointer, Snapshot
from pipelines.snapshots.signals import find_signals

if TYPE_CHECKING:
    from pipelines.remote.landing import Pending

INCOMPLETE = "incomplete"  # a day that is present, but has under half of what its weekday usually has
FRESH_SECONDS = 60  # a file written so short a time ago may still grow


def status(settings: Settings, as_of: date, landing: Sequence[Landing] | None, now: datetime) -> dict[str, Any]:
    """The documented object of `mostwatched status --json`.

    Raises UsageError for a landing folder that does not exist and for an impossible as_of; all else, damage too, is an
    answer, with a sentence among `problems`.
    """
    require_possible(settings, as_of)
    roots = [settings.landing] if landing is None else [each for each in landing if isinstance(each, Path)]
    lake = Lake(settings.lake, _no_engine)
    seen = _Seen()
    with _noted(seen):
        seen.raw = raw_files(settings)
    seen.found, seen.listing = inspect(settings, roots, seen.raw)
    seen.in_buckets = remote.list_pending(settings, landing or (), is_in_raw(settings), seen.raw)
    seen.found = [*seen.found, *(file for each in seen.in_buckets for file in each.found)]
    _look_at_snapshots(settings, seen)
    with _noted(seen):
        seen.last_run = last_run.read(settings.lake)
    with _noted(seen):
        seen.last_audit = last_audit.read(settings.lake)
    with _noted(seen):
        seen.problems += home_modes.too_wide(settings)
    seen.at_work = _at_work(settings, seen.last_run)
    landed = _landed_sessions(settings, seen)
    with _noted(seen), lake.dry_run():
        if seen.raw:
            seen.built = plan.build(lake, plan.arranged(seen.raw), settings.policy, as_of)
            seen.sessions = dict(_sessions(lake, seen.built, landed))
    changed: list[dict[str, Any]] = []
    with _noted(seen), lake.dry_run():
        changed += _revised_days(seen, lake, landed)
    return {
        "home": str(settings.home),
        "as_of": as_of.isoformat(),
        "snapshot": _published(settings, seen, now),
        "days": _days(settings, as_of, seen, landed),
        "late": changed,
        "landing": _landing(roots, seen, now),
        "last_run": _last_run(seen),
        "last_audit": seen.last_audit and asdict(seen.last_audit),
        "next_run": _next_run(settings, as_of, landing, seen, now),
        "problems": seen.problems,
    }


@dataclass
class _Seen:
    """What there is, read once."""

    raw: Sequence[RawFile] = ()
    found: Sequence[FoundFile] = ()
    listing: IngestReport = field(default_factory=lambda: IngestReport(0, (), (), ()))
    in_buckets: Sequence[Pending] = ()  # landing folders there
    pointer: Pointer | None = None
    snapshot: Snapshot | None = None  # the current one
    before: Snapshot | None = None  # the one that was published before it
    last_run: last_run.LastRun | None = None
    last_audit: last_audit.LastAudit | None = None
    at_work: int | None = None  # the process that holds the lock
    built: Built | None = None  # what a run over these raw files would publish, as far as it is there
    sessions: dict[date, int | None] = field(default_factory=dict)  # that count, by the day on which they start
    problems: list[str] = field(default_factory=list)

    @property
    def unread(self) -> list[FoundFile]:
        """Landed files whose bytes are not in the lake."""
        return [file for file in self.found if file.sha256 is None]


@contextmanager
def _noted(seen: _Seen) -> Iterator[None]:
    """Note as a problem what is damaged, or taken away by a run at work, and go on with the next question."""
    try:
        yield
    except (Damaged, UsageError, OSError) as error:
        seen.problems.append(str(error))


def _look_at_snapshots(settings: Settings, seen: _Seen) -> None:
    with _noted(seen):
        seen.pointer = manifest.current(settings.snapshots)
        if seen.pointer:
            vouched = (seen.pointer.snapshot_id, seen.pointer.manifest_sha256)
            seen.snapshot = manifest.open_snapshot(settings.snapshots, *vouched)
            seen.before = changed_days.previous_snapshot(settings.snapshots, seen.snapshot)


def _landed_sessions(settings: Settings, seen: _Seen) -> list[LandedSessions]:
    """Every landed file of viewing sessions that is known of, by each name that tells something."""
    zone = ZoneInfo(settings.day_timezone)
    raw = {file.identity: file for file in seen.raw if file.entity == "viewing_sessions"}
    found = [file for file in seen.found if file.landed.entity == "viewing_sessions"]
    unread = [file.landed.name for file in found if file.identity not in raw]
    empty = list(seen.last_run.empty_files) if seen.last_run else []
    empty += [file.landed.name for file in found if is_new_name_of_empty_file(raw.get(file.identity), file.landed)]
    return deliveries.landed_sessions(list(raw.values()), unread, empty, zone)


def _no_engine() -> Any:
    raise Damaged("A derived file is damaged. The next run builds it again.")


# --- what is published ----------------------------------------------------------------------------------------------


def _published(settings: Settings, seen: _Seen, now: datetime) -> dict[str, Any] | None:
    pointer = seen.pointer
    if pointer is None:
        return None
    age = (now - datetime.fromisoformat(pointer.published_at)).total_seconds()
    newest = seen.snapshot and seen.snapshot.manifest["freshness"]["newest_session_at"]
    return {
        "snapshot_id": pointer.snapshot_id,
        "as_of": pointer.as_of.isoformat(),
        "published_at": pointer.published_at,
        "age_seconds": round(age),
        "is_stale": age > settings.stale_hours * 3600,
        "is_pinned": pointer.pinned,
        "newest_session_at": newest,
        "newest_session_age_seconds": newest and round((now - datetime.fromisoformat(newest)).total_seconds()),
    }


# --- the days -------------------------------------------------------------------------------------------------------


def _days(settings: Settings, as_of: date, seen: _Seen, landed: Sequence[LandedSessions]) -> list[dict[str, Any]]:
    zone = ZoneInfo(settings.day_timezone)
    held = [day for day in plan.cube_days(as_of, settings.policy) if len(set(calendar_days.day_bounds(day, zone))) == 2]
    states: dict[date, str] = {}
    in_vain: set[date] = set()
    with _noted(seen):
        states = deliveries.judge(held, landed)
        in_vain = deliveries.all_rejected(states, landed)
    known = {day: count for day, count in seen.sessions.items() if count is not None}
    first_landed = gates.first_day_landed(seen.raw)
    rows = []
    for day, delivered in states.items():
        state, why = delivered, None
        if state == deliveries.PRESENT and {day - timedelta(days=back) for back in range(8)} <= known.keys():
            why = gates.probably_incomplete(known, day, first_landed)
            state = INCOMPLETE if why else state
        elif day in in_vain:
            why = "its file has landed, and no session of it was accepted: see `mostwatched rejects`"
        rows.append(
            {
                "day": day.isoformat(),
                "state": state,
                "sessions": seen.sessions.get(day),
                "why": why,
            }
        )
    return rows


def _sessions(lake: Lake, built: Built, landed: Sequence[LandedSessions]) -> Iterator[tuple[date, int | None]]:
    """Sessions that count and start on each day that a snapshot holds; None where that is not worked out yet."""
    lake.checked(stored for stored in built.creator_reach.values() if stored.is_there)
    for day, stored in built.creator_reach.items():
        if stored.is_there:
            column = pq.read_table(stored.path, columns=["sessions_started"])["sessions_started"]
            yield day, pc.sum(column).as_py() or 0
        else:
            yield day, None if any(file.count(day) for file in landed) else 0


def _revised_days(seen: _Seen, lake: Lake, landed: Sequence[LandedSessions]) -> Iterator[dict[str, Any]]:
    """Days that are no longer what had been published of them: in the current snapshot, and since."""
    if seen.snapshot is None:
        return
    now, before = seen.snapshot, seen.before
    if before is not None and before.manifest["policy"] == now.manifest["policy"]:
        arrived = new_keys(before, now)
        tables = {name: partial(now.table, name) for name in now.files if name.startswith(now.cube)}
        digests = {name: now.files[name]["rows_sha256"] for name in tables}
        for changed in changed_days.changed_days(before, digests, tables, _reached(landed, arrived)):
            yield changed | {"is_published": True}
    if seen.built is not None and seen.built.policy.as_json() == now.manifest["policy"]:
        files = {f"{now.cube}{day}.parquet": stored for day, stored in seen.built.creator_reach.items()}
        files = {name: stored for name, stored in files.items() if stored.is_there}
        tables = {name: partial(lake.table, stored) for name, stored in files.items()}
        digests = {name: stored.digest for name, stored in files.items()}
        arrived = {file.key for file in seen.raw} - {file["key"] for file in now.landed}
        for changed in changed_days.changed_days(now, digests, tables, _reached(landed, arrived)):
            yield changed | {"is_published": False}


def _reached(landed: Sequence[LandedSessions], keys: Collection[str]) -> set[date]:
    return {day for file in landed if file.raw and file.raw.key in keys for day in file.may_hold()}


# --- what landed, and the runs --------------------------------------------------------------------------------------


def _landing(roots: Sequence[Path], seen: _Seen, now: datetime) -> dict[str, Any]:
    """What the next run would find there: new and changed files, and what it would leave alone."""
    unread = [
        {
            "entity": file.landed.entity,
            "file": file.landed.name,
            "bytes": file.size,
            "is_changed": file.was_read,
            "may_grow": abs(now.timestamp() - file.modified) < FRESH_SECONDS,
        }
        for file in seen.unread
    ]
    unfinished = sorted(each.path for each in seen.listing.ignored if each.reason == UNFINISHED)
    inside = [path.relative_to(root) for root in roots for path in unfinished if path.is_relative_to(root)]
    postponed = [
        {"entity": path.parts[0], "file": printable_name(path), "reason": UNFINISHED}
        for path in inside
        if path.parts[0] in ENTITIES
    ]
    postponed += [
        {"entity": entity, "file": name, "reason": UNFINISHED}
        for each in seen.in_buckets
        for entity, name in each.unfinished
    ]
    postponed += [{"entity": each.entity, "file": each.name, "reason": each.reason} for each in seen.listing.postponed]
    there = {(file.landed.entity, file.sha256) for file in seen.found}
    names = {(file.landed.entity, file.landed.name) for file in seen.found}
    gone = [
        {"entity": file.entity, "file": file.landed_name}
        for file in seen.raw
        if (file.entity, file.landed_sha256) not in there and (file.entity, file.landed_name) not in names
    ]
    ignored = [
        {"path": printable_name(each.path), "reason": each.reason}
        for each in seen.listing.ignored
        if each.reason != UNFINISHED  # which are among the postponed
    ]
    ignored += [{"path": url, "reason": why} for each in seen.in_buckets for url, why in each.ignored]
    return {"files": len(seen.found), "unread": unread, "gone": gone, "postponed": postponed, "ignored": ignored}


def _last_run(seen: _Seen) -> dict[str, Any] | None:
    if seen.last_run is None:
        return None
    said = asdict(seen.last_run)
    for name in ("empty_files", "missing_days"):
        del said[name]
    if said["outcome"] == last_run.RUNNING and seen.at_work is None:
        said |= {"outcome": "died", "why": "It was killed, or the machine went down. Nothing is lost: run again."}
    return said | {"postponed": list(said["postponed"])}


def _next_run(
    settings: Settings, as_of: date, landing: Sequence[Landing] | None, seen: _Seen, now: datetime
) -> dict[str, Any]:
    """What a run with the same arguments would do, as far as that can be known without reading what is new."""
    grounds, flags = _grounds(settings, as_of, seen)
    if ahead := list(gates.too_far_ahead(as_of, now.astimezone(ZoneInfo(settings.day_timezone)).date())):
        grounds, flags = [*ahead, *grounds], [*flags, "--allow-future"]
    register = _register(settings, seen)
    if register and (found := list(_missing_inputs(settings, seen, register))):
        grounds, flags = [*found, *grounds], []  # which nothing overrides
    removed = list(_removed(settings, seen, as_of))
    if removed:
        grounds, flags = [*removed, *grounds], []
    days: list[date] = []
    if seen.built and not removed:
        days = [day for day, stored in seen.built.creator_reach.items() if not stored.is_there]
    snapshot_id = publish.id_of(seen.built) if seen.built else None
    is_current = _would_be_current(seen, as_of)
    if register is None:
        outcome = "unknown"
    elif ahead:
        outcome = "refuses"
    elif seen.unread:
        outcome = "reads"
    elif seen.built is None:
        outcome = "unknown" if seen.raw or seen.problems else "nothing"
    elif grounds:
        outcome = "refuses"
    elif seen.pointer and snapshot_id in (
        [seen.pointer.snapshot_id] if is_current else manifest.snapshot_ids(settings.snapshots)
    ):
        outcome = "nothing new"
    else:
        outcome = "publishes"
    command = ["mostwatched", "--home", str(settings.home), "run", "--as-of", as_of.isoformat()]
    command += [part for root in landing or () for part in ("--landing", str(root))]
    return {
        "at_work": seen.at_work,
        "outcome": outcome,
        "reads_files": len(seen.unread),
        "builds_days": [day.isoformat() for day in days],
        "snapshot_id": snapshot_id,
        "is_current": is_current,
        "refused_because": grounds,
        "command": shlex.join(command),
        "command_to_override": shlex.join([*command, *flags]) if flags else None,
    }


def _grounds(settings: Settings, as_of: date, seen: _Seen) -> tuple[list[str], list[str]]:
    """(why what has been read would be refused, the options that override it)."""
    grounds: list[str] = []
    flags: list[str] = []
    seen_before: AbstractSet[str] = frozenset()
    if seen.pointer:
        landed = LandedFiles(settings.snapshots, seen.raw)
        seen_before = landed.accepted_before(seen.pointer, seen.snapshot)
        seen.problems += dict.fromkeys(landed.problems)
    replaced = find_unreadable(seen.raw, [(file.landed, file.sha256 or "") for file in seen.found]).replaced
    with _noted(seen):
        grounds += gates.unreadable_files(seen.raw, seen_before, replaced)
    grounds += gates.too_many_lost(settings, seen.raw, seen_before, _newly_lost(settings, seen))
    if grounds:
        flags = ["--accept-rejects"]
    signals = find_signals(seen.raw, seen_before)
    if signals.unread:
        grounds, flags = grounds + signals.unread, [*flags, "--accept-rejects"]
    if signals.gone:
        grounds, flags = grounds + signals.gone, [*flags, "--allow-incomplete"]
    totalled = plan.totalled_days(as_of, settings.policy)
    if seen.sessions and all(seen.sessions.get(day) is not None for day in totalled):
        known = {day: count for day, count in seen.sessions.items() if count is not None}
        if found := list(gates.incomplete_last_day(known, as_of, gates.first_day_landed(seen.raw))):
            grounds, flags = grounds + found, [*flags, "--allow-incomplete"]
    return grounds, list(dict.fromkeys(flags))


def _newly_lost(settings: Settings, seen: _Seen) -> Mapping[str, Lost]:
    """The accepted records that are lost and were not before; nothing while that is not worked out."""
    lake, built = Lake(settings.lake, _no_engine), seen.built
    if built is not None and all(
        each.is_there for each in (built.funnel, built.version_conflicts, built.rejected_pledges)
    ):
        with _noted(seen):
            return publish.lost_since(settings.snapshots, seen.pointer, publish.read_lost(lake, built))
    return {}


def _register(settings: Settings, seen: _Seen) -> Register | None:
    """Who was forgotten; None where that cannot be read, without which no run is done."""
    try:
        return erasure_register.read(settings)
    except (Damaged, OSError) as error:
        seen.problems.append(str(error))
        return None


def _removed(settings: Settings, seen: _Seen, as_of: date) -> Iterator[str]:
    """Why a run refuses an as_of that rests on days whose sessions were removed."""
    try:
        require_days(seen.raw, settings.policy, as_of)
    except UsageError as error:
        yield str(error)


def _missing_inputs(settings: Settings, seen: _Seen, register: Register) -> Iterator[str]:
    """The sentence of `gates.missing_inputs`, if what a run would find is not all that the newest snapshot rests on.

    A landed file that is not read yet is taken for the one of its name: the run reads it.
    """
    if not seen.raw and seen.problems:  # nothing is known of the lake
        return
    with _noted(seen):
        unread = {(file.landed.entity, file.landed.name) for file in seen.unread}
        newest = publish.newest_snapshot(settings.snapshots)
        gone = LandedFiles(settings.snapshots, seen.raw).no_longer_there(newest) if newest else []
        asked = [file for file in gone if (file["entity"], file["name"]) not in unread]
        yield from gates.missing_inputs(asked, seen.raw, register)


def _would_be_current(seen: _Seen, as_of: date) -> bool:
    """Whether the pointer would move to what is published: not from a later as_of, nor while it is pinned."""
    return seen.pointer is None or not (seen.pointer.pinned or seen.pointer.as_of > as_of)


def _at_work(settings: Settings, record: last_run.LastRun | None) -> int | None:
    """The process that holds the lock of the home, without touching the lock.

    Where the kernel does not list locks: the process that began a run and has not ended, if it is alive.
    """
    path = durable_files.home_lock(settings.home)
    try:
        inode, holder = path.stat().st_ino, path.read_text().strip()  # whoever took the lock last has written its id
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, pid, where, *_ = line.split()
            if kind == "FLOCK" and pid == holder and where.endswith(f":{inode}"):
                return int(pid)
        return None
    except (OSError, ValueError):
        pass
    if record is None or record.outcome != last_run.RUNNING:
        return None
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return record.pid
