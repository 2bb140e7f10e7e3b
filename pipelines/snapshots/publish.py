"""From built tables to a published snapshot: judge, write whole, verify, then move the pointer.

The pointer's move is the only commit point that readers see. Five things refuse it, and leave the last snapshot
where it is: too many rejected records in what newly landed, a last day that is probably incomplete, landed files
that the last snapshot rests on and that are gone, a published table that fails one of its checks, and some creators who
are counted otherwise when they are counted again from raw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from pipelines import __version__
from pipelines.core import calendar_days, durable_files
from pipelines.core.completeness import Completeness
from pipelines.core.errors import Damaged, RefusedToPublish, UsageError
from pipelines.core.home_modes import share_like
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Settings
from pipelines.core.text import counted, printable
from pipelines.lake import models, plan
from pipelines.lake.derive import Lake, Stored
from pipelines.lake.engines import duckdb as engine
from pipelines.lake.plan import PUBLIC_TABLES, Built, cube_days, totalled_days
from pipelines.landing.files import Ignored
from pipelines.raw import deliveries, erasure_register
from pipelines.raw.ingest import NONE_UNREADABLE, UnreadableFiles
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import by_folder
from pipelines.raw.unknown_fields import UnknownField
from pipelines.snapshots import (
    changed_days,
    delivered_days,
    gates,
    kept_warehouses,
    landed_list,
    publish_warnings,
    warehouse,
)
from pipelines.snapshots import manifest as snapshots
from pipelines.snapshots.audit import spot_check
from pipelines.snapshots.changed_days import ShrunkDay
from pipelines.snapshots.gates import Lost
from pipelines.snapshots.inputs import LandedFiles
from pipelines.snapshots.landed_list import Entry, ListedFiles
from pipelines.snapshots.manifest import Snapshot
from pipelines.snapshots.signals import Signals, find_signals, of_single_writers

PRIVATE_TABLES = ("follows", "funded_streams", "replay_rentals")
REPORT = "report.html"  # of the run that published the snapshot

# Records that are accepted but not ranked, and the ones that are; with `conflict` apart they add up to all accepted.
FUNNEL = (
    "ranked",
    "superseded",
    "duplicate",
    "deleted",
    "erased",
    "own_view",
    "under_minimum",
    "banned_or_deleted_creator",
    "outside_window",
    "not_yet",
    "expired",
)


@dataclass(frozen=True)
class Published:
    """The outcome of publishing."""

    snapshot: Snapshot
    funnel: dict[str, int]  # of the lake as it is now; a snapshot that had been published keeps that of its day
    is_new: bool  # False: the same rows had been published before
    is_current: bool  # False: the pointer stayed, on a later as_of or pinned
    warnings: tuple[str, ...]
    lost: Mapping[str, Lost]  # of the lake, by entity
    unknown_fields: Sequence[UnknownField]  # of files that the snapshot before did not rest on
    completeness: Completeness  # of the days that it holds, as the lake is now


class RunObserver(Protocol):
    """What is called while a run is judged and published."""

    def judged(
        self,
        funnel: Mapping[str, int],
        newest_session: datetime | None,
        results: Sequence[CheckResult],
        refusals: Sequence[str],
        lost: Mapping[str, Lost],
        newly_lost: Mapping[str, Lost],
        signals: Signals,
    ) -> None:
        """Called with what was found, before anything is published or refused."""

    def page(self, snapshot: Snapshot) -> bytes:
        """The page about the run that goes into a snapshot, all of which is there but its manifest and its name."""


def publish(
    settings: Settings,
    lake: Lake,
    built: Built,
    raw: Sequence[RawFile],
    *,
    observer: RunObserver | None = None,
    progress: Progress = no_progress,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    replace_current: bool = False,
    unreadable: UnreadableFiles = NONE_UNREADABLE,
    unread: Iterable[str] = (),
    empty: Iterable[str] = (),
    ignored: Iterable[Ignored] = (),
) -> Published:
    """Publish `built` and point `current.json` to it, unless that would mislead.

    With `replace_current` it takes the place of the current snapshot, over the same raw. Nothing has newly landed, so
    only a check can refuse it; a pinned pointer moves too, and stays pinned.
    `unread` and `empty` name landed files of sessions that are not in raw, or under another name: see judge_days.
    `ignored` is what lies in the landing folders and is not read.
    Raises RefusedToPublish, naming every ground at once.
    """
    progress("check what is to be published", 0, 1)
    pointer, is_lost = _pointer(settings.snapshots)
    newest = newest_snapshot(settings.snapshots)
    landed = LandedFiles(settings.snapshots, raw)
    lists = _lists(pointer, newest)
    funnel, newest_session = read_funnel(lake, built, raw)
    lost = read_lost(lake, built)
    completeness = judge_days(lake, built, raw, unread, empty)
    files = _tables_of(built)
    files = dict(zip(files, lake.checked(files.values()), strict=True))  # each proved against its sha256
    digests = {name: stored.digest for name, stored in files.items()}
    snapshot_id = snapshots.snapshot_id_of(built.as_of, built.policy.as_json(), digests)
    snapshot = _published_before(settings, snapshot_id)
    results = list(_checks(lake, built))
    differing: list[str] = []
    if snapshot is None:
        progress("count some creators again", 0, 1)
        differing = list(_spot_check(settings, lake, built, raw, snapshot_id))
    # safeguard: gate-of-checks
    refusals = [f"{result.message} {_CORRECT}" for result in results if result.offenders and result.check.fails]
    refusals += differing
    newly_lost = lost_since(settings.snapshots, pointer, lost)
    before: Snapshot | None = None
    shrunk_days: list[ShrunkDay] = []
    signals = Signals()
    unusual: tuple[str, ...] = ()
    if not replace_current:
        before = _snapshot_before(settings.snapshots, pointer)
        shrunk_days = list(changed_days.shrunk_days(before, lake, built, raw)) if before else []
        # safeguard: gate-of-missing-records
        gone = landed.no_longer_there(newest) if newest else []
        refusals += gates.missing_inputs(gone, raw, erasure_register.read(settings))
        seen_before = landed.accepted_before(pointer, newest)
        signals = find_signals(raw, seen_before, partial(_count_commonest, settings, lake))
        unusual = (
            *publish_warnings.mostly_rejected(signals.new),
            *publish_warnings.far_from_all_others(signals.new, raw),
            *of_single_writers(signals.new),
        )
        if not accept_rejects:
            refusals += gates.unreadable_files(raw, seen_before, unreadable.replaced)
            refusals += signals.unread  # safeguard: gate-of-renamed-fields
            refusals += gates.too_many_lost(settings, raw, seen_before, newly_lost)
        if not allow_incomplete:
            refusals += gates.incomplete_last_day(*_last_days(lake, built, raw))  # safeguard: gate-of-the-last-day
            refusals += gates.shrunk(shrunk_days)  # safeguard: gate-of-days-that-shrank
            refusals += signals.refusals  # safeguard: gate-of-signals-that-are-gone
        else:
            signals.weaker = [*signals.gone, *signals.weaker]  # what is published all the same is worth a look
    if observer is not None:
        observer.judged(funnel, newest_session, results, refusals, lost, newly_lost, signals)
    if refusals:
        raise RefusedToPublish("Not published, the last snapshot stays. " + " ".join(refusals))
    warnings = tuple(result.message for result in results if result.offenders)
    warnings += tuple(gates.unreadable_files(unreadable.there, frozenset(), frozenset()))  # also those accepted before
    warnings += tuple(publish_warnings.ignored_data(ignored))
    warnings += unusual
    warnings += tuple(publish_warnings.retracted(shrunk_days))
    warnings += tuple(_unlike(before, lake, built, files))
    warnings += tuple(f"{sentence} {_LIST_LOST}" for sentence in dict.fromkeys(landed.problems))
    zone = ZoneInfo(built.policy.day_timezone)
    warnings += tuple(publish_warnings.days_without_sessions(newest_session, built.as_of, zone, snapshot_id))
    is_new = snapshot is None
    if snapshot is None:
        made_at = snapshots.made_at(settings.snapshots, built.as_of, datetime.now(UTC))
        listed = landed.in_manifest(lists)
        manifest = _manifest(snapshot_id, made_at, lake, built, raw, listed, funnel, newest_session, results, lost)
        manifest["completeness"] = completeness.as_json()
        progress("write the snapshot", 0, 1)
        _write(settings, built, files, snapshot_id, manifest, observer, progress)
        progress("read the snapshot back", 0, 1)
        snapshot = snapshots.open_snapshot(settings.snapshots, snapshot_id)
        damage = snapshot.damage()
        if damage:  # safeguard: snapshot-read-back
            raise Damaged(f"Snapshot {snapshot_id} does not read back as it was written: {damage[0]} Run again.")
    progress("move the pointer", 0, 1)
    if is_lost:  # to the newest whole snapshot, which may be this one; readers saw none
        snapshots.release(settings.snapshots, kept_warehouses.restored(settings))
        pointer = snapshots.current(settings.snapshots)
        warnings += (_POINTER_LOST,)
    # safeguard: pointer-moves-forward, rollback-stays
    stays = pointer is not None and (pointer.pinned or pointer.as_of > built.as_of)
    lost_as_json = {entity: asdict(each) for entity, each in lost.items()}
    moves = replace_current or not stays or (pointer is not None and pointer.snapshot_id == snapshot_id)
    warnings += tuple(_mistaken(settings, pointer, moves))
    # safeguard: what-becomes-current-has-a-warehouse
    snapshot = kept_warehouses.restore(settings, snapshot) if moves else snapshot
    # A snapshot that was damaged and written again has another manifest: the pointer must name that one.
    says = (snapshot.manifest_sha256, landed.keys_sha256, lost_as_json, completeness)
    if moves and (
        pointer is None
        or (pointer.manifest_sha256, pointer.keys_sha256, pointer.lost, pointer.completeness) != says
        or _is_list_lost(settings.snapshots, pointer, snapshot)
    ):
        accepted = snapshot.listed_files
        if accepted.keys_sha256 != landed.keys_sha256:  # more has landed, and changed no row
            accepted = landed.write(lists)
        snapshots.point_to(
            settings.snapshots,
            snapshot,
            landed=accepted,
            pinned=pointer is not None and pointer.pinned,
            lost=lost_as_json,
            completeness=completeness,
        )
    return Published(
        snapshot,
        funnel,
        is_new,
        is_current=moves,
        warnings=warnings,
        lost=lost,
        unknown_fields=signals.unknown,
        completeness=completeness,
    )


def _unlike(before: Snapshot | None, lake: Lake, built: Built, files: Mapping[str, Stored]) -> Iterator[str]:
    """Yield what is strange beside the snapshot before."""
    if before is not None:
        rows = {name: stored.rows for name, stored in files.items()}
        longest = _longest_window(lake, built)
        yield from changed_days.unlike_before(
            before, built, rows, longest.get("creators", 0), longest.get("unknown_creators", 0)
        )


def _mistaken(settings: Settings, pointer: snapshots.Pointer | None, moves: bool) -> Iterator[str]:
    """Yield a sentence if the current snapshot stays for its later as_of, which may have been asked for by mistake."""
    if moves or pointer is None or pointer.pinned:
        return
    with suppress(Damaged, UsageError):  # a run of its own as_of says so
        current = snapshots.open_snapshot(settings.snapshots, pointer.snapshot_id)
        if said := publish_warnings.current_is_mistaken(current):
            yield said


_LIST_LOST = "What is listed there is taken for newly landed; this run lists it again."


def _lists(pointer: snapshots.Pointer | None, snapshot: Snapshot | None) -> list[ListedFiles]:
    """The lists of landed files that the pointer and a snapshot name."""
    accepted = [pointer.landed] if pointer is not None else []
    return [each for each in accepted if isinstance(each, ListedFiles)] + ([snapshot.listed_files] if snapshot else [])


def _is_list_lost(folder: Path, pointer: snapshots.Pointer, snapshot: Snapshot) -> bool:
    """Whether the pointer names a list of its own, beside that of its `snapshot`, that is not what was written."""
    sha256 = None if isinstance(pointer.landed, tuple) else pointer.landed.sha256
    return sha256 not in (None, snapshot.listed_files.sha256) and bool(landed_list.damage(folder, str(sha256)))


def _last_days(lake: Lake, built: Built, raw: Sequence[RawFile]) -> tuple[dict[date, int], date, date | None]:
    """(the sessions of each of the last days, as_of, the first UTC day of which any landed)."""
    totals = _sessions_by_day(lake, built)
    days = totalled_days(built.as_of, built.policy)
    return {day: totals.get(day, 0) for day in days}, built.as_of, gates.first_day_landed(raw)


def _sessions_by_day(lake: Lake, built: Built) -> dict[date, int]:
    """The sessions that start on each day that the snapshot holds, of days with any."""
    return {row["day"]: row["sessions_started"] for row in lake.table(built.day_totals).to_pylist()}


def judge_days(
    lake: Lake, built: Built, raw: Sequence[RawFile], unread: Iterable[str] = (), empty: Iterable[str] = ()
) -> Completeness:
    """Which days of the snapshot are all there. `unread` and `empty` name landed files of sessions: see deliveries."""
    policy = built.policy
    return delivered_days.judge(
        list(cube_days(built.as_of, policy)),
        set(calendar_days.rolling(built.as_of, max(policy.windows))),
        _sessions_by_day(lake, built),
        lambda: deliveries.landed_by_folder(raw, unread, empty, ZoneInfo(policy.day_timezone)),
        gates.first_day_landed(raw),
    )


ROWS_SAMPLED = 10_000


def _count_commonest(
    settings: Settings, lake: Lake, files: Sequence[RawFile], days: AbstractSet[str]
) -> tuple[int, dict[str, int]]:
    """(sessions, how many of them have the commonest value of each column) of some files of raw on some days."""
    stored = lake.checked(plan.raw_sessions(files, days))
    with engine.run_session(settings, "signals") as connection:
        engine.register(connection, "sessions", [each.path for each in stored], with_place=True)
        one_in = max(1, sum(each.rows for each in stored) // ROWS_SAMPLED)
        row = engine.query(connection, _COMMONEST, {"one_in": one_in}).to_pylist()[0]
    return row.pop("sessions"), row


# The candidates from a sample, in which what nearly all have is the commonest, and how many rows have them exactly. Not
# every so many lines of landed files: of short ones that would be none.
_COMMONEST = """
    with likely as (
        select
            mode(creator_id) as creator_id, mode(viewer_id) as viewer_id, mode(started_at) as started_at,
            mode(ended_at) as ended_at, mode(device_id) as device_id, mode(stream_id) as stream_id
        from sessions
        where (file_row_number + hash(parse_path(filename)[-2:]) % 1_000_000::ubigint) % $one_in = 0
    )
    select
        count(*) as sessions,
        count(*) filter (sessions.creator_id = likely.creator_id) as creator_id,
        count(*) filter (sessions.viewer_id = likely.viewer_id) as viewer_id,
        count(*) filter (sessions.started_at = likely.started_at) as started_at,
        count(*) filter (sessions.ended_at = likely.ended_at) as ended_at,
        count(*) filter (sessions.device_id = likely.device_id) as device_id,
        count(*) filter (sessions.stream_id = likely.stream_id) as stream_id,
        count(*) filter (sessions.ended_at = sessions.started_at) as no_length
    from sessions, likely
"""


def read_lost(lake: Lake, built: Built) -> dict[str, Lost]:
    """The accepted records of the lake that are lost, by entity: of those of which any are."""
    conflicting = {row["entity"]: row["conflicts"] for row in lake.table(built.version_conflicts).to_pylist()}
    sessions = sum(row["records"] for row in lake.table(built.funnel).to_pylist() if row["outcome"] == "lost")
    if sessions:
        conflicting["viewing_sessions"] = sessions
    pledges = sum(lake.table(built.rejected_pledges)["records"].to_pylist())
    found = {entity: Lost(conflicting=count) for entity, count in conflicting.items()}
    if pledges:
        found["pledges"] = Lost(pledges, conflicting.get("pledges", 0))
    return dict(sorted(found.items()))


def lost_since(folder: Path, pointer: snapshots.Pointer | None, lost: Mapping[str, Lost]) -> dict[str, Lost]:
    """What of `lost` was not lost yet of what the current snapshot rests on, by entity.

    Where an earlier version published it, nobody noted that: then nothing is new.
    """
    newest = None if pointer else newest_snapshot(folder)
    said = pointer.lost if pointer else newest.manifest.get("lost", {}) if newest else {}
    before = lost if said is None else {entity: Lost(**counts) for entity, counts in said.items()}
    return {entity: each.since(before.get(entity, Lost())) for entity, each in lost.items()}


def read_funnel(lake: Lake, built: Built, raw: Sequence[RawFile]) -> tuple[dict[str, int], datetime | None]:
    """What became of every accepted viewing session, and the newest session that counts.

    Raises Damaged when the books do not balance: then a number somewhere is wrong and nothing may be published.
    """
    rows = lake.table(built.funnel).to_pylist()
    counts = {row["outcome"]: row["records"] for row in rows}
    sessions = [folder for folder in by_folder(raw) if folder.entity == "viewing_sessions"]
    counts["erased"] = counts.get("erased", 0) + sum(file.erased for file in sessions)
    counts["expired"] = sum(rows for file in sessions for rows in file.removed_days.values())
    accepted = sum(file.accepted for file in sessions)
    funnel = {"accepted": accepted} | {outcome: counts.get(outcome, 0) for outcome in FUNNEL}
    if sum(funnel[outcome] for outcome in FUNNEL) != accepted:  # safeguard: books-balance
        raise Damaged(f"The books do not balance: {accepted} accepted sessions, but {funnel}. Please report this.")
    in_ranking = _longest_window(lake, built).get("sessions", 0)
    if in_ranking != funnel["ranked"]:
        raise Damaged(
            f"The books do not balance: {funnel['ranked']} sessions are ranked, the ranking holds {in_ranking}. "
            "Please report this."
        )
    newest = [row["newest_started_at"] for row in rows if row["newest_started_at"] is not None]
    return funnel | {"conflicts": counts.get("conflict", 0)}, max(newest, default=None)


def _longest_window(lake: Lake, built: Built) -> dict[str, int]:
    """The totals of the ranking of the longest window, which holds the creators of all others; none of an empty one."""
    totals: dict[int, dict[str, int]] = {
        row["window_days"]: row for row in lake.table(built.ranking_totals).to_pylist()
    }
    return totals.get(max(built.policy.windows), {})


# --- the checks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of a published table."""

    check: models.Check
    offenders: int
    example: dict[str, Any] | None

    @property
    def message(self) -> str:
        """What is wrong, with the first offender."""
        rows, example = counted(self.offenders, "row"), ", ".join(f"{k} {v}" for k, v in (self.example or {}).items())
        return f'{self.check.model}: "{self.check.title}" does not hold for {rows}, such as {printable(example)}.'


def _spot_check(
    settings: Settings, lake: Lake, built: Built, raw: Sequence[RawFile], snapshot_id: str
) -> Iterator[str]:
    """Return a sentence if a recount from raw of some creators, drawn by the snapshot's id, differs."""
    cube = {day: stored.path for day, stored in built.creator_reach.items()}
    with engine.run_session(settings, "checks") as connection:
        engine.register(connection, "creator_rankings", [lake.checked([built.tables["creator_rankings"]])[0].path])
        found = spot_check(connection, raw, built.policy, built.as_of, snapshot_id, cube)
    if found:
        first = found[0]
        yield (
            f"{first.table}: {printable(first.key)} has {first.column} {first.published} in {first.days}, but "
            f"{first.counted_again} when counted again from raw ({counted(len(found), 'such value')}). The derived "
            f"files are wrong: move every folder but raw out of {settings.home_url or settings.home}/lake and run "
            "again, which builds them again. If it comes back, report it."
        )


_CORRECT = "Land newer versions of the records behind it, with values that can be; nothing publishes it as it is."


def _checks(lake: Lake, built: Built) -> Iterator[CheckResult]:
    """The results of all checks, from the offenders that the lake holds."""
    for check, files in built.offenders.items():
        offenders = [stored for stored in files if stored.rows]
        first = lake.table(offenders[0]).slice(0, 1).to_pylist() if offenders else []
        yield CheckResult(check, sum(stored.rows for stored in offenders), first[0] if first else None)


# --- the snapshot's folder -----------------------------------------------------------------------------------------


def _tables_of(built: Built) -> dict[str, Stored]:
    """Every table file of the snapshot by its path inside it."""
    files = {f"{name}.parquet": built.shown[name] for name in PUBLIC_TABLES}
    files |= {f"private/{name}.parquet": built.shown[name] for name in PRIVATE_TABLES}
    cube = snapshots.cube_folder(built.policy.min_cell)
    return files | {f"{cube}{day}.parquet": stored for day, stored in built.creator_reach.items()}


def id_of(built: Built) -> str | None:
    """The id of the snapshot that `built` would be, or None while something that it rests on is not there."""
    files = _tables_of(built)
    if not all(stored.is_there for stored in (*files.values(), built.funnel, built.ranking_totals, built.day_totals)):
        return None
    digests = {name: stored.digest for name, stored in files.items()}
    return snapshots.snapshot_id_of(built.as_of, built.policy.as_json(), digests)


def _write(
    settings: Settings,
    built: Built,
    files: Mapping[str, Stored],
    snapshot_id: str,
    manifest: dict[str, Any],
    observer: RunObserver | None,
    progress: Progress,
) -> None:
    """Write the snapshot's folder beside its final name and rename it there, whole.

    What stands there is damaged. Readers keep what is left of it until they can have all of it.
    """
    with durable_files.new_folder(settings.snapshots / snapshot_id, replace=True) as folder:
        (folder / "private").mkdir(mode=0o700)  # until all of it is shared with a group, if it is
        (folder / snapshots.cube_folder(built.policy.min_cell)).mkdir()
        for name, stored in files.items():
            durable_files.link_or_copy(stored.path, folder / name)
        facts: dict[str, dict[str, Any]] = {
            name: {
                "rows": stored.rows,
                "bytes": (folder / name).stat().st_size,
                "sha256": stored.sha256,
                "rows_sha256": stored.digest,
            }
            for name, stored in sorted(files.items())
        }
        facts[warehouse.WAREHOUSE] = _add_warehouse(settings, built, files, folder)
        if observer is not None:
            # Not part of the snapshot's id, which is of rows alone: the same rows take another time on another day.
            progress("write the report", 0, 1)
            path = folder / REPORT
            path.write_bytes(observer.page(Snapshot(folder, manifest | {"files": facts}, "")))
            facts[path.name] = snapshots.facts_without_rows(path)
        (folder / snapshots.MANIFEST).write_bytes(
            durable_files.json_bytes(durable_files.with_checksum(manifest | {"files": facts}))
        )
        share_like(folder, settings.snapshots)


def _add_warehouse(settings: Settings, built: Built, files: Mapping[str, Stored], folder: Path) -> dict[str, Any]:
    """Give a snapshot's folder its warehouse, and return its facts: another snapshot's file, where that is the same.

    Only one of the same as_of can have the same: there are few of those.
    """
    path = folder / warehouse.WAREHOUSE
    public = warehouse.public_digests({name: stored.digest for name, stored in files.items()})
    held = warehouse.Facts(built.as_of, cube_days(built.as_of, built.policy), built.policy, public)
    key = held.key()
    for other in reversed(snapshots.listed(settings.snapshots, of=built.as_of)):
        known = other.files.get(path.name, {})
        # safeguard: warehouse-shared-for-the-same-rows
        is_same = known.get("key") == key
        if is_same and (other.path / path.name).exists():  # one in a bucket alone is made sooner than it is fetched
            with suppress(Damaged):
                existing = other.verified(path.name)  # safeguard: shared-warehouse-verified
                durable_files.link_or_copy(existing, path)
                return known
    warehouse.write(settings, path, folder, held)
    return snapshots.facts_without_rows(path) | {"key": key}


def _manifest(
    snapshot_id: str,
    made_at: datetime,
    lake: Lake,
    built: Built,
    raw: Sequence[RawFile],
    listed: list[Entry] | dict[str, Any],
    funnel: Mapping[str, int],
    newest_session: datetime | None,
    results: Sequence[CheckResult],
    lost: Mapping[str, Lost],
) -> dict[str, Any]:
    rejected: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for folder in by_folder(raw):
        for reason, count in folder.rejected_by_reason.items():
            rejected[folder.entity][reason] += count
    for entity, reasons in gates.rejected_later(lost).items():
        for reason, count in reasons.items():
            rejected[entity][reason] += count
    return {
        "schema_version": 1 if isinstance(listed, list) else snapshots.SCHEMA_VERSION,
        "snapshot_id": snapshot_id,
        "as_of": built.as_of.isoformat(),
        "windows": list(built.policy.windows),
        "policy": built.policy.as_json(),
        "code_version": __version__,
        "created_at": calendar_days.rfc3339(made_at),
        "freshness": {"newest_session_at": newest_session and calendar_days.rfc3339(newest_session)},
        "funnel": dict(funnel),
        # ranked, though no profile of theirs has landed
        "unknown_creators": _longest_window(lake, built).get("unknown_creators", 0),
        "rejected_by_reason": rejected,
        # versions of the same age, put in order by their content; those of sessions are the funnel's `conflicts`
        "version_conflicts": {
            row["entity"]: row["conflicts"] for row in lake.table(built.version_conflicts).to_pylist()
        },
        # of accepted records, by entity: what was rejected later, and versions of another viewing or of unknown age
        "lost": {entity: asdict(each) for entity, each in lost.items()},
        "landed": listed,
        "checks": [
            {
                "table": result.check.model,
                "check": result.check.title,
                "severity": "fail" if result.check.fails else "warn",
                "offenders": result.offenders,
            }
            for result in results
        ],
    }


def _published_before(settings: Settings, snapshot_id: str) -> Snapshot | None:
    """The snapshot of that name, every byte of it read, if there is one and it is whole."""
    folder = settings.snapshots / snapshot_id
    if not folder.exists():
        return None
    try:
        snapshot = snapshots.open_snapshot(settings.snapshots, snapshot_id)
        if not snapshot.damage():
            return snapshot
    except Damaged:
        pass
    return None


_POINTER_LOST = (
    "current.json was damaged or missing and has been written again, to the newest whole snapshot. If an earlier one "
    "was pinned, pin it again with `mostwatched snapshots rollback ID`."
)


def _pointer(folder: Path) -> tuple[snapshots.Pointer | None, bool]:
    """The pointer, and whether there was one that cannot be read: a run writes a new one."""
    try:
        return snapshots.current(folder), False
    except Damaged:
        return None, True


def _snapshot_before(folder: Path, pointer: snapshots.Pointer | None) -> Snapshot | None:
    """The snapshot that readers see, or the newest while one is pinned; None where there is none that is whole."""
    if pointer is not None and pointer.pinned:
        return next(reversed(snapshots.listed(folder)), None)
    try:
        return snapshots.open_snapshot(folder, pointer.snapshot_id) if pointer else None
    except (Damaged, UsageError):  # damaged, or gone: a run that was killed had taken the damaged one away
        return None


def newest_snapshot(folder: Path) -> Snapshot | None:
    """The newest snapshot, of those of which the manifest is whole; None before the first."""
    for name in reversed(snapshots.snapshot_ids(folder)):
        try:
            return snapshots.open_snapshot(folder, name)
        except Damaged:
            continue
    return None
