"""Forget persons: the steps of `mostwatched forget`, which may be killed at any point and run again.

    1. an erasure is landed in a folder of ours that every run reads, and is read: from here on every run publishes
       without them, whatever becomes of this command
    2. a keyed digest of the id is registered: from here on no landed file brings the id back (raw/erasure_register.py)
    3. their records are taken out of raw, erasures last (redaction.py): as if none of them had ever landed, which is
       what the erasure says as well
    4. the current snapshot is published again, over what it rested on; other snapshots that hold the id are removed
    5. derived files that nothing needs any more are removed: all that were made of the id
    6. the erasure of step 1 is emptied, and where it is asked for, so are the person's records in landed files
       (erase_landed.py)
    7. every file under home is searched for the id; only when none holds it does the register say that it is done

Given again, the same command finds what is left to do. Several persons take the steps together: whatever is stored is
looked through as often for all of them as for one. What was looked through is not remembered for the next command: a
note that a file holds none of some ids would have to name ids that are to be gone, and says nothing of another's.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines import remote
from pipelines.core import calendar_days, durable_files, shared_folders
from pipelines.core.errors import Damaged, RefusedToPublish, UsageError
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Policy, Settings
from pipelines.core.text import counted
from pipelines.jobs import prune, redaction, retention
from pipelines.jobs.erase_landed import LandedRecords, empty_own, landed_records, landed_records_in_buckets
from pipelines.jobs.id_matcher import IdMatchers
from pipelines.jobs.id_search import (
    FileMatch,
    find_files,
    find_unread,
)
from pipelines.jobs.nightly import locked_home, open_lake
from pipelines.lake import plan
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import (
    find_landed,
)
from pipelines.raw import erasure_register
from pipelines.raw.catalog import every_raw_file, raw_files
from pipelines.raw.erasure_register import Register
from pipelines.raw.ingest import ingest
from pipelines.raw.raw_file import RawFile
from pipelines.remote import Landing
from pipelines.snapshots import landed_list, manifest
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


Counts = dict[tuple[str, tuple[tuple[str, Any], ...]], dict[str, Any]]  # columns by table and key


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
    landing: Sequence[Landing] | None = None,
    *,
    landing_too: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> ForgetReport:
    """Erase a person from everything under home: see `forget_all`."""
    (done,) = forget_all(settings, [user], now, landing, landing_too=landing_too, dry_run=dry_run, progress=progress)
    return done


def forget_all(
    settings: Settings,
    users: Sequence[str],
    now: datetime,
    landing: Sequence[Landing] | None = None,
    *,
    landing_too: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> list[ForgetReport]:
    """Erase different persons from everything under home, or report what that would remove; a report of each.

    `landing_too`: also out of landed files, which else are only named. Raises UsageError for what is no id, Busy, and
    Damaged or RefusedToPublish where a step cannot be taken: then nothing is said to be done, and the same command
    goes on once that is put right.
    """
    if not users or not all(users):
        raise UsageError("An id of a user is needed, as it landed.")
    urls = [each for each in landing or () if isinstance(each, str)]
    folders = [each for each in landing or () if not isinstance(each, str)]
    for root in folders:
        if not root.is_dir():
            raise UsageError(f"The landing folder {root} does not exist.")
    roots = list(dict.fromkeys([*folders, settings.landing]))
    ids = IdMatchers.of(users)
    reports = {user: ForgetReport(is_dry_run=dry_run) for user in users}
    if dry_run:
        _foresee(settings, ids, roots, urls, reports)
    else:
        with locked_home(settings):
            remote.complete(settings)
            for root in roots:
                shared_folders.sweep(root)
            _forget(settings, ids, roots, urls, now, reports, progress, landing_too=landing_too)
    return [reports[user] for user in users]


Reports = Mapping[str, ForgetReport]  # by user


def _forget(
    settings: Settings,
    ids: IdMatchers,
    roots: Sequence[Path],
    urls: Sequence[str],
    now: datetime,
    reports: Reports,
    progress: Progress,
    *,
    landing_too: bool,
) -> None:
    register = erasure_register.lock(settings)
    entries: dict[str, dict[str, Any]] = {
        user: dict(register.entries.get(register.digest(user), {})) for user in reports
    }
    counted: dict[str, Counts] = {}  # by snapshot
    for user, done in reports.items():
        done.was_forgotten = bool(entries[user].get("done_at"))
        if before := _before(settings, entries[user]):
            done.snapshot_before = before.id
            if before.id not in counted:
                counted[before.id] = _counts(before)
    if new := [user for user in reports if not entries[user]]:
        _land_erasures(settings, register, new, now)
        for user in new:
            entries[user] = {
                "digest": register.digest(user),
                "length": len(user),
                "requested_at": calendar_days.rfc3339(now),
                "snapshot_before": reports[user].snapshot_before,
            }
        erasure_register.add_entries(settings, [entries[user] for user in new])

    progress("redact what landed", 0, 6)
    _redact(settings, ids, reports)
    progress("publish without them", 1, 6)
    with open_lake(settings, progress) as lake:
        after, raw = None, None
        if (pointer := manifest.current(settings.snapshots)) is not None:
            current = manifest.open_snapshot(settings.snapshots, pointer.snapshot_id, pointer.manifest_sha256)
            raw = _inputs_with_erasures(settings, current, manifest.accepted_keys(settings.snapshots, pointer))
            policy = Policy.from_json(current.manifest["policy"])
            _require_days(raw, policy, current)
            built = plan.build(lake, plan.arranged(raw), policy, current.as_of)
            after = publish(settings, lake, built, raw, replace_current=True).snapshot
            left = _counts(after)
            for done in reports.values():
                done.snapshot_after = after.id
                done.changes = list(_changes(counted[done.snapshot_before] if done.snapshot_before else {}, left))
        progress("look through the snapshots", 2, 6)
        _remove_snapshots(settings, ids, after, reports)
        progress("remove what was made of them", 3, 6)
        derived, _ = prune.prune_derived(settings, lake, raw)  # safeguard: derived-of-forgotten-removed
    notes = _remove_notes(settings, ids)
    progress("look through what landed", 4, 6)
    empty_own(settings, ids)
    landed = landed_records(settings, ids, roots, is_to_be_emptied=landing_too)
    in_buckets = landed_records_in_buckets(settings, ids, urls)
    for user, done in reports.items():
        done.lake_files = derived + notes[user]
        done.landed_files = landed[user] + in_buckets[user]
    progress("look through every file", 5, 6)
    _look_through(settings, ids, roots, reports, landing_too=landing_too)
    progress("look through every file", 6, 6)
    for done in reports.values():
        done.is_forgotten = not done.remaining  # safeguard: forgotten-once-nothing-remains
    remote.tidy(settings)
    _register_done(settings, entries, reports, now)


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


def _land_erasures(settings: Settings, register: Register, users: Iterable[str], now: datetime) -> None:
    """Land the erasures where every run reads them, and read them."""
    token = secrets.token_hex(16)
    # The token makes the sha256 of these bytes, which the lake keeps, say nothing about the ids.
    erased = {"erasedAt": calendar_days.rfc3339(now), "requestId": token}
    lines = "".join(f"{json.dumps({'userId': user} | erased)}\n" for user in users)
    path = erasure_register.prepare(settings, register) / f"forget-{token[:12]}.ndjson"
    durable_files.write_bytes(path, lines.encode())
    report = ingest(settings, [])
    name = f"erasures/{path.name}"
    if any(file.name == name for file in report.postponed) or any(
        raw.rejected for raw in report.new if raw.landed_name == name
    ):
        raise UsageError(f"An erasure of this id cannot land: see {path} and `mostwatched rejects`.")


def _redact(settings: Settings, ids: IdMatchers, reports: Reports) -> None:
    """Replace the raw folders that hold the ids; erasures last, so that a run in between still erases."""
    raw = every_raw_file(settings)
    with engine.session(settings, "forget") as connection:
        found = list(redaction.find_records(connection, raw, ids.users, ids.owners_of))
    for each in sorted(found, key=lambda each: each.folder.entity == "erasures"):
        redaction.redact(each, ids.users, ids.owners_of)
    _count_records(reports, found)


def _count_records(reports: Reports, found: Iterable[redaction.Redaction]) -> None:
    for each in found:
        counts = Counter[str]()
        for records in each.records.values():
            counts.update(records)
        for user in {*counts, *each.rejected}:
            done = reports[user]
            done.raw_folders += 1
            done.rejected_records += each.rejected.get(user, 0)
            if counts[user]:
                done.records[each.folder.entity] = done.records.get(each.folder.entity, 0) + counts[user]


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


def _remove_snapshots(settings: Settings, ids: IdMatchers, after: Snapshot | None, reports: Reports) -> None:
    names = [name for name in manifest.snapshot_ids(settings.snapshots) if after is None or name != after.id]
    _find_snapshots(settings, ids, names, reports)
    doomed = {name for done in reports.values() for name in done.snapshots}
    manifest.remove(settings.snapshots, [name for name in names if name in doomed])


def _find_snapshots(settings: Settings, ids: IdMatchers, names: Iterable[str], reports: Reports) -> None:
    """Report the snapshots that hold an id where it is not public, they or the list of what landed for them."""
    with engine.session(settings, "forget") as connection:
        listed = _holding(connection, settings.snapshots / landed_list.FOLDER, ids)
        for name in names:
            found = _holding(connection, settings.snapshots / name, ids)
            if listed:  # safeguard: lists-of-landed-files-looked-into
                found |= {path: users for path, users in listed.items() if path in _list_of(settings, name)}
            for user in {user for users in found.values() for user in users}:
                reports[user].snapshots.append(name)


def _list_of(settings: Settings, name: str) -> set[Path]:
    """The files of the list of landed files that a snapshot rests on; none of one that lists them itself."""
    try:
        sha256 = manifest.open_snapshot(settings.snapshots, name).listed_files.sha256
        return set() if sha256 is None else landed_list.paths(settings.snapshots, sha256)
    except (Damaged, UsageError):
        return set()


def _holding(
    connection: engine.Connection, folder: Path, ids: IdMatchers, *, but: Path | None = None
) -> dict[Path, set[str]]:
    """The files under a folder, `but` those under one in it, that hold ids where they are not public, and which."""
    files = [path for path in _files(folder) if but is None or not path.is_relative_to(but)]
    found: dict[Path, set[str]] = {}
    for trace in find_files(connection, files, ids):
        if not trace.is_public:
            found.setdefault(trace.path, set()).add(trace.user)
    return found


def _find_notes(settings: Settings, ids: IdMatchers) -> dict[Path, set[str]]:
    with engine.session(settings, "forget") as connection:
        return _holding(connection, settings.lake, ids, but=settings.lake / "raw")


def _remove_notes(settings: Settings, ids: IdMatchers) -> Counter[str]:
    """Remove files of the lake, other than raw, that hold an id: all of them can be made again, or missed."""
    doomed = _find_notes(settings, ids)
    for path in doomed:
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
        durable_files.fsync(path.parent)
    return Counter(user for users in doomed.values() for user in users)


# --- what is left ----------------------------------------------------------------------------------------------------


def _look_through(
    settings: Settings, ids: IdMatchers, roots: Sequence[Path], reports: Reports, *, landing_too: bool
) -> None:
    """Note every file under home that holds an id, and every landed file that was to be emptied and was not."""
    read = {file.path for file in find_landed([root for root in roots if root.is_dir()])[0]}
    apart = [root for root in roots if landing_too and not root.is_relative_to(settings.home)]
    others = [path for folder in (settings.home, *apart) for path in _files(folder) if path not in read]
    unread = {root: [path for path in others if path.is_relative_to(root)] for root in roots}
    ours = [path for path in others if not any(path.is_relative_to(root) for root in roots)]
    with engine.session(settings, "forget") as connection:
        found = [*_by_name((settings.home, *apart), ids), *find_files(connection, ours, ids)]
    for root, paths in unread.items():
        found += find_unread(paths, root, ids)
    for trace in found:
        done = reports[trace.user]
        if trace.is_public:
            done.public_files += 1
        else:
            done.remaining.append({"path": str(trace.path), "why": trace.problem or "it holds the id"})
    for done in reports.values():
        for landed in done.landed_files:
            is_to_go = landing_too or Path(landed.file).is_relative_to(settings.home)
            if is_to_go and not landed.is_emptied:  # safeguard: landed-files-emptied-where-asked
                why = landed.problem or f"it holds {counted(landed.records, 'record')} of theirs"
                done.remaining.append({"path": landed.file, "why": why})


def _by_name(folders: Iterable[Path], ids: IdMatchers) -> Iterator[FileMatch]:
    """What has an id in its name, or in what is noted of it: files, folders, links and what those lead to."""
    for folder in folders:
        for path in _everything(folder):
            parts = path.relative_to(folder).parts
            for user in sorted({user for part in parts for user in ids.in_name(part)}):
                yield FileMatch(path, user, is_public=False, problem="its name holds the id")
            for user in sorted(ids.in_bytes(_attributes(path))):
                yield FileMatch(path, user, is_public=False, problem="an attribute, or what it links to, holds the id")


def _everything(folder: Path) -> list[Path]:
    found = [Path(at, name) for at, folders, names in os.walk(folder) for name in (*folders, *names)]
    return sorted(found)


def _attributes(path: Path) -> bytes:
    """What a link leads to, and the extended attributes of a file, one a line."""
    try:
        if path.is_symlink():
            return os.fsencode(path.readlink())
        names = os.listxattr(path) if hasattr(os, "listxattr") else []
        return b"\n".join(part for name in names for part in (os.fsencode(name), os.getxattr(path, name)))
    except OSError:
        return b""


def _files(folder: Path) -> list[Path]:
    """The files under a folder. What goes away meanwhile is passed over. Raises OSError for what cannot be listed."""

    def raise_unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    found = [Path(at, name) for at, _, names in os.walk(folder, onerror=raise_unless_gone) for name in names]
    return [path for path in sorted(found) if path.is_file() and not path.is_symlink()]


def _register_done(
    settings: Settings, entries: Mapping[str, Mapping[str, Any]], reports: Reports, now: datetime
) -> None:
    """Keep what was done, in numbers; what a person watched is not to be read out of it."""
    changed = []
    for user, done in reports.items():
        if done.was_forgotten and done.is_forgotten:
            continue
        entry = entries[user]
        changed.append(
            {
                **entry,
                "done_at": calendar_days.rfc3339(now) if done.is_forgotten else None,
                "snapshot_after": done.snapshot_after,
                "records": sum(done.records.values()) + entry.get("records", 0),
                "rejected_records": done.rejected_records + entry.get("rejected_records", 0),
                "changed_counts": len(done.changes),
                "removed_snapshots": sorted({*entry.get("removed_snapshots", ()), *done.snapshots}),
            }
        )
    if changed:
        erasure_register.add_entries(settings, changed)


def _foresee(settings: Settings, ids: IdMatchers, roots: Sequence[Path], urls: Sequence[str], reports: Reports) -> None:
    """Report what `forget` would do, as far as that can be known without doing it."""
    register = erasure_register.read(settings)
    pointer = manifest.current(settings.snapshots)
    for user, done in reports.items():
        done.was_forgotten = bool(register.entries.get(register.digest(user), {}).get("done_at"))
        done.snapshot_before = pointer.snapshot_id if pointer else None
    with engine.session(settings, "forget") as connection:
        _count_records(reports, redaction.find_records(connection, every_raw_file(settings), ids.users, ids.owners_of))
    _find_snapshots(settings, ids, manifest.snapshot_ids(settings.snapshots), reports)
    notes = Counter(user for users in _find_notes(settings, ids).values() for user in users)
    landed = landed_records(settings, ids, roots, is_to_be_emptied=False)
    in_buckets = landed_records_in_buckets(settings, ids, urls)
    for user, done in reports.items():
        done.lake_files = notes[user]
        done.landed_files = landed[user] + in_buckets[user]


# --- published counts ------------------------------------------------------------------------------------------------


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
