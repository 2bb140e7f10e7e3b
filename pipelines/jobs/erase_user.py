"""Forget a person: the steps of `mostwatched forget USER`, which may be killed at any point and run again.

    1. an erasure is landed in a folder of ours that every run reads, and is read: from here on every run publishes
       without them, whatever becomes of this command
    2. a keyed digest of the id is registered: from here on no landed file brings the id back (raw/erasure_register.py)
    3. their records are taken out of raw, erasures last (redaction.py): as if none of them had ever landed, which is
       what the erasure says as well
    4. the current snapshot is published again, over what it rested on; other snapshots that hold the id are removed
    5. derived files that nothing needs any more are removed: all that were made of the id
    6. the erasure of step 1 is emptied, and where it is asked for, so are the person's records in landed files
    7. every file under home is searched for the id; only when none holds it does the register say that it is done

Given again, the same command finds what is left to do.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipelines import remote
from pipelines.core import calendar_days, durable_files, shared_folders
from pipelines.core.errors import Damaged, RefusedToPublish, UsageError
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Policy, Settings
from pipelines.core.text import counted
from pipelines.jobs import prune, redaction, retention
from pipelines.jobs.id_search import (
    UNREADABLE,
    FileMatch,
    IdMatcher,
    NotLookedInto,
    find_files,
    find_unread,
    is_in_unread,
    may_hold,
    owned_ranges,
    owned_rows,
)
from pipelines.jobs.nightly import locked_home, open_lake
from pipelines.lake import plan
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import (
    Ignored,
    LandedFile,
    Stamp,
    content_of,
    find_landed,
    open_landed,
    printable_name,
    rewrite,
)
from pipelines.raw import erasure_register
from pipelines.raw.erasure_register import PERSON, Register
from pipelines.raw.index import RawFile, every_raw_file, raw_files
from pipelines.raw.ingest import ingest
from pipelines.snapshots import manifest
from pipelines.snapshots.inputs import snapshot_inputs
from pipelines.snapshots.manifest import Snapshot
from pipelines.snapshots.publish import publish

# What a person can change in what is published: the counts, by the table and what tells its rows apart.
COUNTS = {
    "creator_rankings": (
        ("window_days", "creator_id"),
        ("viewers", "anonymous_viewers", "sessions", "watched_seconds"),
    ),
    "live_stream_funding": (("stream_id",), ("collected_funding", "funding_percentage", "backers")),
}
PRIVATE = ("follows", "funded_streams", "replay_rentals")  # of these the rows are counted


@dataclass(frozen=True)
class LandedRecords:
    """A landed file that holds records of the person, or held them."""

    file: str  # its path
    records: int  # of theirs
    is_emptied: bool
    problem: str | None = None  # why they could not be taken out


@dataclass
class ForgetReport:
    """What `forget` did, or would do."""

    is_dry_run: bool = False
    is_forgotten: bool = False  # no file under home holds the id
    was_forgotten: bool = False  # it had been done before
    snapshot_before: str | None = None
    snapshot_after: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)  # published counts: {table, key, column, before, after}
    raw_folders: int = 0
    records: dict[str, int] = field(default_factory=dict)  # accepted records that are gone, by entity
    rejected_records: int = 0  # whose text is gone
    snapshots: list[str] = field(default_factory=list)  # removed
    lake_files: int = 0  # derived, removed
    landed_files: list[LandedRecords] = field(default_factory=list)
    remaining: list[dict[str, str]] = field(
        default_factory=list
    )  # {path, why}: files under home that hold the id still
    public_files: int = 0  # that hold it only as what is public, such as a creator's id

    def as_json(self) -> dict[str, Any]:
        """The documented object of `mostwatched forget --json`. It does not hold the id."""
        return asdict(self)


def forget(
    settings: Settings,
    user: str,
    now: datetime,
    landing: Sequence[Path] | None = None,
    *,
    landing_too: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> ForgetReport:
    """Erase a person from everything under home, or report what that would remove.

    `landing_too`: also out of landed files, which else are only named. Raises UsageError for what is no id, Busy, and
    Damaged or RefusedToPublish where a step cannot be taken: then nothing is said to be done, and the same command
    goes on once that is put right.
    """
    if not user:
        raise UsageError("An id of a user is needed, as it landed.")
    for root in landing or ():
        if not root.is_dir():
            raise UsageError(f"The landing folder {root} does not exist.")
    roots = list(dict.fromkeys([*(landing or ()), settings.landing]))
    matcher = IdMatcher(user)
    if dry_run:
        return _foreseen(settings, matcher, roots)
    with locked_home(settings):
        remote.complete(settings)
        for root in roots:
            shared_folders.sweep(root)
        return _forget(settings, matcher, roots, now, landing_too, progress)


def _forget(
    settings: Settings, matcher: IdMatcher, roots: Sequence[Path], now: datetime, landing_too: bool, progress: Progress
) -> ForgetReport:
    done = ForgetReport()
    register = erasure_register.lock(settings)
    entry: dict[str, Any] = dict(register.entries.get(register.digest(matcher.user), {}))
    done.was_forgotten = bool(entry.get("done_at"))
    before = _before(settings, entry)
    done.snapshot_before = before.id if before else None
    counted = _counts(before) if before else {}
    if not entry:
        _land_erasure(settings, register, matcher.user, now)
        entry = {
            "digest": register.digest(matcher.user),
            "length": len(matcher.user),
            "requested_at": calendar_days.rfc3339(now),
            "snapshot_before": done.snapshot_before,
        }
        erasure_register.add_entry(settings, entry)

    progress("redact what landed", 0, 6)
    _redact(settings, matcher, done)
    progress("publish without them", 1, 6)
    with open_lake(settings, progress) as lake:
        after, raw = None, None
        if (pointer := manifest.current(settings.snapshots)) is not None:
            current = manifest.open_snapshot(settings.snapshots, pointer.snapshot_id)
            raw = _inputs_with_erasures(settings, current, pointer.landed)
            policy = Policy.from_json(current.manifest["policy"])
            _require_days(raw, policy, current)
            built = plan.build(lake, plan.arranged(raw), policy, current.as_of)
            after = publish(settings, lake, built, raw, replace_current=True).snapshot
            done.snapshot_after = after.id
            done.changes = list(_changes(counted, _counts(after)))
        progress("look through the snapshots", 2, 6)
        done.snapshots = _remove_snapshots(settings, matcher, after)
        progress("remove what was made of them", 3, 6)
        done.lake_files, _ = prune.prune_derived(settings, lake, raw)  # safeguard: derived-of-forgotten-removed
    done.lake_files += _remove_notes(settings, matcher)
    progress("look through what landed", 4, 6)
    _empty_own(settings, matcher)
    done.landed_files = list(_landed(settings, matcher, roots, is_to_be_emptied=landing_too))
    progress("look through every file", 5, 6)
    _look_through(settings, matcher, roots, done, landing_too=landing_too)
    progress("look through every file", 6, 6)
    done.is_forgotten = not done.remaining  # safeguard: forgotten-once-nothing-remains
    remote.tidy(settings)
    _register_done(settings, entry, done, now)
    return done


def _before(settings: Settings, entry: dict[str, Any]) -> Snapshot | None:
    """The snapshot that the counts are compared with: what was current when the command was given first."""
    if (first := entry.get("snapshot_before")) and not entry.get("done_at"):
        try:
            return manifest.open_snapshot(settings.snapshots, first)
        except (Damaged, UsageError):
            pass  # it is gone already
    pointer = manifest.current(settings.snapshots)
    return (
        None
        if pointer is None
        else manifest.open_snapshot(settings.snapshots, pointer.snapshot_id, pointer.manifest_sha256)
    )


def _land_erasure(settings: Settings, register: Register, user: str, now: datetime) -> None:
    """Land the erasure where every run reads it, and read it."""
    token = secrets.token_hex(16)
    # The token makes the sha256 of these bytes, which the lake keeps, say nothing about the id.
    line = json.dumps({"userId": user, "erasedAt": calendar_days.rfc3339(now), "requestId": token}) + "\n"
    path = erasure_register.prepare(settings, register) / f"forget-{token[:12]}.ndjson"
    durable_files.write_bytes(path, line.encode())
    report = ingest(settings, [])
    name = f"erasures/{path.name}"
    if any(file.name == name for file in report.postponed) or any(
        raw.rejected for raw in report.new if raw.landed_name == name
    ):
        raise UsageError(f"An erasure of this id cannot land: see {path} and `mostwatched rejects`.")


def _redact(settings: Settings, matcher: IdMatcher, done: ForgetReport) -> None:
    """Replace the raw folders that hold the id; erasures last, so that a run in between still erases."""
    raw = every_raw_file(settings)
    with engine.session(settings, "forget") as connection:
        found = list(redaction.find_records(connection, raw, matcher.user, matcher.is_owned))
    for each in sorted(found, key=lambda each: each.folder.entity == "erasures"):
        redaction.redact(each, matcher.user, matcher.is_owned)
    _count_records(done, found)


def _count_records(done: ForgetReport, found: Iterable[redaction.Redaction]) -> None:
    for each in found:
        done.raw_folders += 1
        done.rejected_records += each.rejected
        if count := sum(each.records.values()):
            done.records[each.folder.entity] = done.records.get(each.folder.entity, 0) + count


def _inputs_with_erasures(settings: Settings, snapshot: Snapshot, landed: Iterable[str]) -> list[RawFile]:
    """Return the raw folders that a snapshot depends on, as they are now, and every erasure."""
    found = snapshot_inputs(
        settings,
        snapshot,
        "So it cannot be published again without this person: land them again, run, and give the command again.",
    )
    keys = {*landed, *(each.key for each in found)}
    return [each for each in raw_files(settings) if each.entity == "erasures" or each.key in keys]


def _require_days(raw: Sequence[RawFile], policy: Policy, current: Snapshot) -> None:
    try:
        retention.require_days(raw, policy, current.as_of)
    except UsageError as error:
        raise RefusedToPublish(
            f"Not yet forgotten: raw holds none of their records any more, and no run will count them, but the current "
            f"snapshot {current.id} still does and cannot be published again without them. {error} Publish one that "
            "can be (`mostwatched run`; if an earlier one is pinned, first `mostwatched snapshots rollback "
            "--release`), then give this command again."
        ) from error


def _remove_snapshots(settings: Settings, matcher: IdMatcher, after: Snapshot | None) -> list[str]:
    with engine.session(settings, "forget") as connection:
        doomed = [
            name
            for name in manifest.snapshot_ids(settings.snapshots)
            if (after is None or name != after.id) and any(_holding(connection, settings.snapshots / name, matcher))
        ]
    manifest.remove(settings.snapshots, doomed)
    return doomed


def _holding(
    connection: engine.Connection, folder: Path, matcher: IdMatcher, *, but: Path | None = None
) -> Iterator[Path]:
    """The files under a folder, `but` those under one in it, that hold the id where it is not public."""
    files = [path for path in _files(folder) if but is None or not path.is_relative_to(but)]
    return (trace.path for trace in find_files(connection, files, matcher) if not trace.is_public)


def _remove_notes(settings: Settings, matcher: IdMatcher) -> int:
    """Remove files of the lake, other than raw, that hold the id: all of them can be made again, or missed."""
    with engine.session(settings, "forget") as connection:
        doomed = list(_holding(connection, settings.lake, matcher, but=settings.lake / "raw"))
    for path in doomed:
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
        durable_files.fsync(path.parent)
    return len(doomed)


# --- landed files ----------------------------------------------------------------------------------------------------


def _empty_own(settings: Settings, matcher: IdMatcher) -> None:
    own = erasure_register.landing(settings)
    for root in own:
        shared_folders.sweep(root)
    for landed in _landed(settings, matcher, own, is_to_be_emptied=True):
        if landed.problem:
            raise Damaged(f"{landed.file} holds an erasure and cannot be emptied: {landed.problem}.")


def _landed(
    settings: Settings, matcher: IdMatcher, roots: Sequence[Path], *, is_to_be_emptied: bool
) -> Iterator[LandedRecords]:
    """The landed files that hold records of the person, emptied of them if that is asked for.

    Whoever lands files does so meanwhile: what came, changed or was moved while others were looked at is looked at
    again, so that nothing is said to be emptied that was not.
    """
    seen: dict[str, Stamp | None] = {}  # of each file, as it was when nothing of the person was left in it
    found: dict[str, LandedRecords] = {}
    for _ in range(2 if is_to_be_emptied else 1):  # safeguard: landed-files-looked-at-again
        files, ignored = find_landed([root for root in roots if root.is_dir()])
        for file in files:
            if file.entity not in PERSON:  # what creators publish is public
                continue
            if file.location not in seen or seen[file.location] != _stamp(file):
                seen[file.location], now = _look_at(settings, matcher, file, is_to_be_emptied=is_to_be_emptied)
                before = found.pop(file.location, None)
                if before and before.is_emptied:
                    now = replace(now, records=before.records + now.records) if now else before
                if now:
                    found[file.location] = now
        if is_to_be_emptied:
            found |= {each.file: each for each in _hidden(settings, roots, ignored)}
    yield from found.values()


def _stamp(file: LandedFile) -> Stamp | None:
    try:
        return Stamp.of(os.lstat(file.location))
    except OSError:
        return None


def _look_at(
    settings: Settings, matcher: IdMatcher, file: LandedFile, *, is_to_be_emptied: bool
) -> tuple[Stamp | None, LandedRecords | None]:
    """What a landed file holds of the person, emptied of it if that is asked for, and the stamp of what was left."""

    def record(done: rewrite.Rewritten) -> None:
        erasure_register.record_rewrite(settings, done.sha256_before, done.sha256)
        for raw in every_raw_file(settings):
            entity, landed_sha256, how = raw.identity
            if (entity, how) == (file.entity, file.read_as) and (
                done.sha256_before in (landed_sha256, *raw.also_landed)
            ):
                redaction.record_replacement(raw, done.sha256, done.bytes)

    matcher = matcher.of_file(file)
    of_text = partial(owned_ranges, entity=file.entity, matcher=matcher)
    selection = rewrite.Selection(of_text, partial(owned_rows, matcher=matcher))
    records = 0
    try:
        with open_landed(file.path, file.root) as source:
            stamp: Stamp | None = source.stamp
            content = content_of(file.entity, file.read_as, source, file.mapping)
            if content.problem is not None:  # safeguard: unreadable-files-looked-into
                problem = f"it holds the id and cannot be rewritten: {content.problem}"
                is_held = is_in_unread(source, matcher)
                source.check_unchanged()
                return stamp, LandedRecords(str(file.path), 0, is_emptied=False, problem=problem) if is_held else None
            is_held = may_hold(content, source, matcher)
            source.check_unchanged()
        if is_held:
            found = rewrite.find(file, selection)
            stamp, records = found.stamp, found.records
            if records and is_to_be_emptied:
                stamp = rewrite.rewrite(file, selection, found, record).stamp
    except NotLookedInto as error:
        return None, LandedRecords(str(file.path), 0, is_emptied=False, problem=f"it may hold the id: {error}")
    except UNREADABLE as error:
        return None, LandedRecords(str(file.path), records, is_emptied=False, problem=str(error))
    if matcher.owns_all:
        problem = "its folder is named by the id: remove the folder"
        return stamp, LandedRecords(str(file.path), records, is_emptied=False, problem=problem)
    return stamp, LandedRecords(str(file.path), records, is_emptied=is_to_be_emptied) if records else None


def _hidden(settings: Settings, roots: Sequence[Path], ignored: Sequence[Ignored]) -> Iterator[LandedRecords]:
    """What is no file, or no folder, where files of people have landed: what they became cannot be told."""
    names = {name for raw in raw_files(settings) if raw.entity in PERSON for name in _with_folders(raw.landed_name)}
    for each in ignored:
        for root in roots:
            if each.path.is_relative_to(root) and printable_name(each.path.relative_to(root)) in names:
                problem = f"files have landed by this name, and now it is {each.reason}"
                yield LandedRecords(str(each.path), 0, is_emptied=False, problem=problem)


def _with_folders(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition("/")[0]


# --- what is left ----------------------------------------------------------------------------------------------------


def _look_through(
    settings: Settings, matcher: IdMatcher, roots: Sequence[Path], done: ForgetReport, *, landing_too: bool
) -> None:
    """Note every file under home that holds the id, and every landed file that was to be emptied and was not."""
    read = {file.path for file in find_landed([root for root in roots if root.is_dir()])[0]}
    apart = [root for root in roots if landing_too and not root.is_relative_to(settings.home)]
    others = [path for folder in (settings.home, *apart) for path in _files(folder) if path not in read]
    unread = {root: [path for path in others if path.is_relative_to(root)] for root in roots}
    ours = [path for path in others if not any(path.is_relative_to(root) for root in roots)]
    with engine.session(settings, "forget") as connection:
        found = [*_by_name(settings, matcher), *find_files(connection, ours, matcher)]
    for root, paths in unread.items():
        found += find_unread(paths, root, matcher)
    done.public_files = sum(trace.is_public for trace in found)
    done.remaining = [
        {"path": str(trace.path), "why": trace.problem or "it holds the id"} for trace in found if not trace.is_public
    ]
    for landed in done.landed_files:
        is_to_go = landing_too or Path(landed.file).is_relative_to(settings.home)
        if is_to_go and not landed.is_emptied:  # safeguard: landed-files-emptied-where-asked
            why = landed.problem or f"it holds {counted(landed.records, 'record')} of theirs"
            done.remaining.append({"path": landed.file, "why": why})


def _by_name(settings: Settings, matcher: IdMatcher) -> Iterator[FileMatch]:
    for path in _files(settings.home):
        if any(matcher.is_in(part) for part in path.relative_to(settings.home).parts):
            yield FileMatch(path, is_public=False, problem="its name holds the id")


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _register_done(settings: Settings, entry: dict[str, Any], done: ForgetReport, now: datetime) -> None:
    """Keep what was done, in numbers; what the person watched is not to be read out of it."""
    if done.was_forgotten and done.is_forgotten:
        return
    entry = {
        **entry,
        "done_at": calendar_days.rfc3339(now) if done.is_forgotten else None,
        "snapshot_after": done.snapshot_after,
        "records": sum(done.records.values()) + entry.get("records", 0),
        "rejected_records": done.rejected_records + entry.get("rejected_records", 0),
        "changed_counts": len(done.changes),
        "removed_snapshots": sorted({*entry.get("removed_snapshots", ()), *done.snapshots}),
    }
    erasure_register.add_entry(settings, entry)


def _foreseen(settings: Settings, matcher: IdMatcher, roots: Sequence[Path]) -> ForgetReport:
    """What `forget` would do, as far as that can be known without doing it."""
    done = ForgetReport(is_dry_run=True)
    register = erasure_register.read(settings)
    done.was_forgotten = bool(register.entries.get(register.digest(matcher.user), {}).get("done_at"))
    pointer = manifest.current(settings.snapshots)
    done.snapshot_before = pointer.snapshot_id if pointer else None
    with engine.session(settings, "forget") as connection:
        _count_records(
            done, redaction.find_records(connection, every_raw_file(settings), matcher.user, matcher.is_owned)
        )
        for name in manifest.snapshot_ids(settings.snapshots):
            if any(_holding(connection, settings.snapshots / name, matcher)):
                done.snapshots.append(name)
        done.lake_files = sum(1 for _ in _holding(connection, settings.lake, matcher, but=settings.lake / "raw"))
    done.landed_files = list(_landed(settings, matcher, roots, is_to_be_emptied=False))
    return done


# --- published counts ------------------------------------------------------------------------------------------------

Counts = dict[tuple[str, tuple[tuple[str, Any], ...]], dict[str, Any]]


def _counts(snapshot: Snapshot) -> Counts:
    """The counts of a snapshot that a person can change, by table and key."""
    found: Counts = {}
    for table, (keys, columns) in COUNTS.items():
        rows = snapshot.table(f"{table}.parquet").select([*keys, *columns]).to_pylist()
        for row in rows:
            found[table, tuple((key, row[key]) for key in keys)] = {column: row[column] for column in columns}
    for table in PRIVATE:
        found[f"private/{table}", ()] = {"rows": snapshot.files[f"private/{table}.parquet"]["rows"]}
    return found


def _changes(before: Counts, after: Counts) -> Iterator[dict[str, Any]]:
    for table, key in sorted(before.keys() | after.keys(), key=str):
        was, now = before.get((table, key), {}), after.get((table, key), {})
        for column in was or now:
            if was.get(column) != now.get(column):
                yield {
                    "table": table,
                    "key": dict(key),
                    "column": column,
                    "before": was.get(column),
                    "after": now.get(column),
                }
