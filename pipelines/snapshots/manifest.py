"""Published snapshots: find, open, verify, list, roll back, prune.

A snapshot is a folder `snapshots/<as_of>-<12 hex>/` that never changes once it has its name. Which one readers see
is decided by one file, `current.json`, replaced atomically. Nothing here needs a database: the read API uses it too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from pipelines.core import calendar_days, durable_files
from pipelines.core.completeness import Completeness
from pipelines.core.errors import Damaged, NoSnapshot, UsageError, is_file_damage
from pipelines.core.home_modes import share_like
from pipelines.core.row_digest import combined_digest
from pipelines.snapshots import landed_list
from pipelines.snapshots.landed_list import Entry, ListedFiles

# Of manifest.json and the tables; readers refuse a newer one. Since 2 the list of landed files may stand beside the
# snapshots; a manifest that holds it itself is of version 1, which earlier versions read.
SCHEMA_VERSION = 2
POINTER = "current.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Pointer:
    """What `current.json` says: the snapshot that readers see."""

    snapshot_id: str
    published_at: str  # when the pointer was moved; UTC, RFC 3339
    manifest_sha256: str
    pinned: bool  # rolled back by hand: runs publish, but leave the pointer where it is
    # The landed files that the run behind it had accepted; where an earlier version wrote it, their keys.
    landed: ListedFiles | tuple[str, ...]
    # By entity, the accepted records that were lost then; None where an earlier version wrote it.
    lost: dict[str, dict[str, int]] | None = None
    completeness: Completeness | None = None  # of the days of its snapshot, as that run knew it; None likewise

    @property
    def keys_sha256(self) -> str:
        """Of the keys of the landed files that the run behind it had accepted."""
        return landed_list.keys_digest(self.landed) if isinstance(self.landed, tuple) else self.landed.keys_sha256

    @property
    def as_of(self) -> date:
        """The exclusive end of the snapshot's windows."""
        return as_of_from_id(self.snapshot_id)


@dataclass(frozen=True)
class Snapshot:
    """One published snapshot, its manifest already checked."""

    path: Path
    manifest: dict[str, Any]
    manifest_sha256: str
    known_since: Completeness | None = None  # as the pointer to it says

    @property
    def id(self) -> str:
        """Its name: `<as_of>-<12 hex>`."""
        return str(self.manifest["snapshot_id"])

    @property
    def as_of(self) -> date:
        """The exclusive end of its windows."""
        return date.fromisoformat(self.manifest["as_of"])

    @property
    def completeness(self) -> Completeness | None:
        """Which of its days are all there: as the last run knew it if it is current, else as when it was published.

        None where an earlier version published it."""
        said = self.manifest.get("completeness")
        return self.known_since or (Completeness.from_json(said) if said else None)

    @property
    def min_cell(self) -> int:
        """The least number of people that a figure of it rests on; 0: any."""
        return int(self.manifest["policy"].get("min_cell", 0))

    @property
    def cube(self) -> str:
        """Where the days of the cube stand in it: small cells are what makes the cube exact, so with a `min_cell` it is
        not public."""
        return cube_folder(self.min_cell)

    @cached_property
    def landed(self) -> Sequence[Entry]:
        """The landed files that it rests on. Raises Damaged when the list of them is not what was written."""
        said = self.manifest["landed"]
        if isinstance(said, list):
            return said
        with self._naming_the_remedy():
            found = landed_list.parts(self.path.parent, said["sha256"])
            return [file for part in found for file in landed_list.entries(self.path.parent, part)]

    @cached_property
    def listed_files(self) -> ListedFiles:
        """How many those are, the digest of their keys, and where they are listed."""
        said = self.manifest["landed"]
        if isinstance(said, list):
            return ListedFiles(len(said), landed_list.keys_digest(file["key"] for file in said), None)
        return ListedFiles(**said)

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of every file, by its path inside the snapshot."""
        return dict(self.manifest["files"])

    @property
    def removed(self) -> dict[str, dict[str, Any]]:
        """What the manifest said of the files that it counts as removed, likewise: see kept_warehouses."""
        return dict(self.manifest.get("removed", {}))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a Parquet file such as "creators.parquet", with `columns` only those.

        The very bytes that are parsed are checked first. Raises Damaged if they are not what was published.
        """
        with self._naming_the_remedy():
            return durable_files.checked_table(self.path / name, self._sha256(name), columns)

    def verified(self, name: str) -> Path:
        """Return the path of a file that may be too large for memory, checked just now. Raises Damaged."""
        with self._naming_the_remedy():
            durable_files.verify(self.path / name, self._sha256(name))
        return self.path / name

    def _sha256(self, name: str) -> str:
        facts = self.files.get(name)
        if facts is None:
            raise UsageError(f"Snapshot {self.id} has no file {name}. It has: {', '.join(sorted(self.files))}.")
        return str(facts["sha256"])

    @contextmanager
    def _naming_the_remedy(self) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            raise Damaged(f"{error} {_remedy(self.as_of)}") from error

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Inside, raise NoSnapshot for what fails because the snapshot has been pruned meanwhile."""
        try:
            yield
        except Exception as error:
            if self.path.exists():
                raise
            raise NoSnapshot(f"Snapshot {self.id} was removed while it was read. Ask again.") from error

    def damage(self) -> list[str]:
        """Return what is wrong with the stored files and the list of landed files, a sentence each; nothing when all
        match the manifest."""
        found = self.files_damage()
        if (listed := self.listed_files).sha256 is not None:  # safeguard: verify-reads-the-list-of-landed-files
            found += landed_list.damage(self.path.parent, listed.sha256)
        return found

    def files_damage(self) -> list[str]:
        """Return what is wrong with the files in its folder: all that readers see."""
        found = []
        for name, facts in self.files.items():
            try:
                durable_files.verify(self.path / name, facts["sha256"])
            except Damaged as error:
                found.append(str(error))
        known = {self.path / name for name in (*self.files, *self.removed, MANIFEST)}
        # safeguard: verify-finds-strange-files
        strangers = sorted(path for path in self.path.rglob("*") if path.is_file() and path not in known)
        return found + [f"{path} does not belong to the snapshot." for path in strangers]


def facts_without_rows(path: Path) -> dict[str, Any]:
    """What a manifest says of a file that is no table of its own."""
    return {"rows": None, "bytes": path.stat().st_size, "sha256": durable_files.sha256_of(path), "rows_sha256": None}


def cube_folder(min_cell: int) -> str:
    """See `Snapshot.cube`."""
    return "private/creator_reach/" if min_cell else "creator_reach/"  # safeguard: cube-with-small-cells-is-private


def as_of_from_id(snapshot_id: str) -> date:
    """The date that a snapshot id begins with. Raises UsageError when it is not an id."""
    try:
        if len(snapshot_id) != len("2026-11-21-0123456789ab") or snapshot_id[10] != "-":
            raise ValueError
        int(snapshot_id[11:], 16)
        return date.fromisoformat(snapshot_id[:10])
    except ValueError:
        raise UsageError(f"{snapshot_id!r} is not a snapshot id such as 2026-11-21-0123456789ab.") from None


def current(snapshots: Path) -> Pointer | None:
    """The pointer, or None when nothing has been published. Raises Damaged when it is not what was written."""
    path = snapshots / POINTER
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if not snapshot_ids(snapshots):
            return None
        raise _unusable(path, "is missing") from None
    except OSError as error:
        if not is_file_damage(error):
            raise
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    return pointer_of(path, content)


def pointer_of(path: Path, content: bytes) -> Pointer:
    """What the `content` of `current.json` says. Raises Damaged."""
    try:
        said = durable_files.verify_checksum(content)
        return Pointer(
            snapshot_id=said["snapshot_id"],
            published_at=said["published_at"],
            manifest_sha256=said["manifest_sha256"],
            pinned=said["pinned"],
            landed=ListedFiles(**said["landed"]) if isinstance(said["landed"], dict) else tuple(said["landed"]),
            lost=said.get("lost"),
            completeness=said.get("completeness") and Completeness.from_json(said["completeness"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(path, f"is damaged: {error}") from error


def _unusable(path: Path, problem: str) -> Damaged:
    return Damaged(f"{path} {problem}. Run again, or choose a snapshot with `mostwatched snapshots rollback ID`.")


def open_snapshot(snapshots: Path, snapshot_id: str, manifest_sha256: str | None = None) -> Snapshot:
    """A snapshot by its id. Its manifest is checked; tables are checked as they are read.

    Raises UsageError when there is none of that name, Damaged when its manifest is not what its own checksum, its own
    name, or the pointer (`manifest_sha256`, where given) says.
    """
    as_of = as_of_from_id(snapshot_id)
    path = snapshots / snapshot_id
    try:
        content = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        if manifest_sha256 is not None or path.is_dir():
            raise Damaged(f"{path / MANIFEST} is missing. {_remedy(as_of)}") from None
        known = ", ".join(snapshot_ids(snapshots)[-5:]) or "none"
        raise UsageError(f"There is no snapshot {snapshot_id} in {snapshots}. The newest are: {known}.") from None
    except OSError as error:
        if not is_file_damage(error):
            raise
        raise Damaged(f"{path / MANIFEST} cannot be read: {error.strerror}. {_remedy(as_of)}") from error
    found = hashlib.sha256(content).hexdigest()
    if manifest_sha256 is not None and found != manifest_sha256:  # safeguard: manifest-compared-with-pointer
        raise Damaged(f"{path / MANIFEST} is damaged: its sha256 is not the one in {POINTER}. {_remedy(as_of)}")
    try:
        manifest = _verified_once(content)
        version, stated = manifest["schema_version"], manifest["snapshot_id"]
        if version > SCHEMA_VERSION:
            raise UsageError(
                f"{path} was published by a newer version (schema {version}); this one reads {SCHEMA_VERSION}."
            )
        digests = {name: facts["rows_sha256"] for name, facts in manifest["files"].items() if facts["rows_sha256"]}
        derived = snapshot_id_of(date.fromisoformat(manifest["as_of"]), manifest["policy"], digests)
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path / MANIFEST} is damaged: {error}. {_remedy(as_of)}") from error
    if not stated == derived == snapshot_id:  # safeguard: manifest-compared-with-name
        raise Damaged(f"{path / MANIFEST} is damaged: it does not describe snapshot {snapshot_id}. {_remedy(as_of)}")
    return Snapshot(path, manifest, found)


# One run opens the same manifests several times, and each names all that ever landed.
_verified_once = lru_cache(maxsize=2)(durable_files.verify_checksum)


def open_current(snapshots: Path) -> Snapshot:
    """The snapshot that `current.json` points to. Raises NoSnapshot when there is none."""
    pointer = current(snapshots)
    while pointer is not None:
        try:
            snapshot = open_snapshot(snapshots, pointer.snapshot_id, pointer.manifest_sha256)
            return replace(snapshot, known_since=pointer.completeness)
        except Damaged:
            before, pointer = pointer, current(snapshots)
            if pointer == before:  # else it has only been pruned, or written again, since we read the pointer
                raise
    raise NoSnapshot(f"Nothing has been published in {snapshots} yet. `mostwatched run` does that.")


def snapshot_id_of(as_of: date, policy: dict[str, Any], rows_sha256: dict[str, str]) -> str:
    """The id of a snapshot: a hash of its policy and of the rows of all its tables, and of nothing else.

    `rows_sha256` holds each table file's RowDigest by the file's name.
    """
    parts = [json.dumps(policy, sort_keys=True), *(f"{name} {rows_sha256[name]}" for name in sorted(rows_sha256))]
    return f"{as_of}-{combined_digest(parts)[:12]}"


def snapshot_ids(snapshots: Path) -> list[str]:
    """The ids of all published snapshots, damaged ones too, oldest as_of first."""
    found = []
    # Not glob(): to it a folder that may not be listed is an empty one.
    for path in snapshots.iterdir() if snapshots.exists() else ():
        try:
            as_of_from_id(path.name)
        except UsageError:
            continue
        if path.is_dir():  # without a manifest it is damaged, not absent
            found.append(path.name)
    return sorted(found)


def listed(snapshots: Path, of: date | None = None) -> list[Snapshot]:
    """Every published snapshot whose manifest is whole (`of` an as_of, or of all), by (as_of, when it was made)."""
    found = []
    for name in snapshot_ids(snapshots):
        if of is not None and as_of_from_id(name) != of:
            continue
        try:
            found.append(open_snapshot(snapshots, name))
        except Damaged:
            continue
        except UsageError:
            if (snapshots / name).exists():  # else it has been pruned since we read its name
                raise
    return sorted(found, key=age)


def made_at(snapshots: Path, as_of: date, now: datetime) -> datetime:
    """When a snapshot that is made `now` is said to have been made: after all others of its as_of.

    That order says which of them is the newest, also when the clock was set back between two of them.
    """
    others = [datetime.fromisoformat(one.manifest["created_at"]) for one in listed(snapshots, of=as_of)]
    return max([now, *(other + timedelta(milliseconds=1) for other in others)])


def point_to(
    snapshots: Path,
    snapshot: Snapshot,
    *,
    pinned: bool,
    landed: ListedFiles | tuple[str, ...] | None = None,
    lost: Mapping[str, Mapping[str, int]] | None = None,
    completeness: Completeness | None = None,
) -> None:
    """Move `current.json`: from now on readers see this snapshot. Every file of it must have been verified.

    `landed`, `lost` and `completeness` are what the run behind it found; without them it is what the snapshot says.
    """
    durable_files.fsync(
        snapshots
    )  # its name, which a dead run may have given it: a pointer must not outlast what it names
    landed = snapshot.listed_files if landed is None else landed
    pointer = {
        "snapshot_id": snapshot.id,
        "published_at": calendar_days.rfc3339(datetime.now(UTC)),
        "manifest_sha256": snapshot.manifest_sha256,
        "pinned": pinned,
        "landed": list(landed) if isinstance(landed, tuple) else landed.as_json(),
        "lost": snapshot.manifest.get("lost") if lost is None else lost,
        "completeness": completeness.as_json() if completeness else snapshot.manifest.get("completeness"),
    }
    with durable_files.new_file(snapshots / POINTER) as temporary:
        temporary.write_bytes(durable_files.json_bytes(durable_files.with_checksum(pointer)))
        share_like(temporary, snapshots)


def pointer_damage(snapshots: Path) -> list[str]:
    """What is wrong with `current.json`, a sentence or none; what is wrong with its snapshot is told by that."""
    try:
        pointer = current(snapshots)
    except Damaged as error:
        return [str(error)]
    if pointer is None:
        return []
    try:
        named = open_snapshot(snapshots, pointer.snapshot_id)
    except UsageError as error:
        return [f"{snapshots / POINTER} points to nothing: {error}"]
    except Damaged:
        return []
    if named.manifest_sha256 != pointer.manifest_sha256:
        return [f"{snapshots / POINTER} names another manifest than that of {named.id}. {_remedy(named.as_of)}"]
    if isinstance(pointer.landed, ListedFiles) and (sha256 := pointer.landed.sha256) not in (
        None,
        named.listed_files.sha256,  # which is told by the snapshot
    ):
        return landed_list.damage(snapshots, str(sha256))
    return []


def accepted_keys(snapshots: Path, pointer: Pointer) -> frozenset[str]:
    """The keys of the landed files that the run behind the pointer had accepted.

    Raises Damaged when the list of them is not what was written.
    """
    if isinstance(pointer.landed, tuple):
        return frozenset(pointer.landed)
    if pointer.landed.sha256 is None:
        snapshot = open_snapshot(snapshots, pointer.snapshot_id, pointer.manifest_sha256)
        return frozenset(file["key"] for file in snapshot.landed)
    return landed_list.keys(snapshots, pointer.landed.sha256)


# Makes a snapshot ready to be pointed to, such as `kept_warehouses.restored`; returns it as it is then.
Prepare: TypeAlias = Callable[[Snapshot], Snapshot]


def as_it_is(snapshot: Snapshot) -> Snapshot:
    """The snapshot, which needs no preparing."""
    return snapshot


def roll_back(snapshots: Path, snapshot_id: str | None, prepare: Prepare = as_it_is) -> Snapshot:
    """Point to an earlier snapshot and pin it there: to `snapshot_id`, or to the one before the current.

    It is prepared before that. Raises UsageError when there is no such snapshot, Damaged when it is not whole.
    """
    if snapshot_id is None:
        now = open_current(snapshots)
        earlier = [one for one in listed(snapshots) if age(one) < age(now)]
        if not earlier:
            raise UsageError(f"There is no snapshot before {now.id} to roll back to.")
        target = earlier[-1]
    else:
        target = open_snapshot(snapshots, snapshot_id)
    _require_whole(target)  # safeguard: rollback-to-a-whole-snapshot
    target = prepare(target)
    point_to(snapshots, target, pinned=True)
    return target


def release(snapshots: Path, prepare: Prepare = as_it_is) -> Snapshot:
    """Undo a roll-back: point to the newest whole snapshot, prepared, and let runs move the pointer again."""
    for newest in reversed(listed(snapshots)):
        if not newest.files_damage():  # snapshots share a list: damage to it must not keep readers from all of them
            target = prepare(newest)
            point_to(snapshots, target, pinned=False)
            return target
    raise NoSnapshot(f"There is no whole snapshot in {snapshots} to point to.")


def prune(snapshots: Path, keep: int) -> list[str]:
    """Remove all but the newest `keep` snapshots and the current one. Returns the ids of those removed."""
    removed = to_prune(snapshots, keep)
    remove(snapshots, removed)
    if not removed:
        remove_unnamed_lists(snapshots)  # which a run or a prune that died has left
    return removed


def to_prune(snapshots: Path, keep: int) -> list[str]:
    """The ids of the snapshots that `prune` would remove."""
    pointer = current(snapshots)
    # safeguard: prune-keeps-the-current
    kept = {one.id for one in listed(snapshots)[-keep:]} | ({pointer.snapshot_id} if pointer else set())
    return [name for name in snapshot_ids(snapshots) if name not in kept]


def remove_one(snapshots: Path, snapshot_id: str, prepare: Prepare = as_it_is) -> Snapshot | None:
    """Remove a snapshot. Of the current one the newest other whole one, prepared, takes the place first, and is
    returned.

    Raises UsageError when there is none of that name, NoSnapshot when it is the current one and no other is whole.
    """
    as_of_from_id(snapshot_id)
    if snapshot_id not in snapshot_ids(snapshots):
        raise UsageError(f"There is no snapshot {snapshot_id} in {snapshots}.")
    pointer = current(snapshots)
    instead = None
    if pointer is not None and pointer.snapshot_id == snapshot_id:
        instead = next(
            (one for one in reversed(listed(snapshots)) if one.id != snapshot_id and not one.files_damage()), None
        )
        if instead is None:
            raise NoSnapshot(
                f"{snapshot_id} is current, and there is no other whole snapshot to show in its place. Publish one "
                "first, with `mostwatched run --as-of DATE`."
            )
        instead = prepare(instead)
        # safeguard: pointer-moves-before-removal
        point_to(snapshots, instead, pinned=False)
    remove(snapshots, [snapshot_id])
    return instead


def remove(snapshots: Path, doomed_ids: Iterable[str]) -> None:
    """Remove some snapshots, none of which may be the current one."""
    doomed = {name: durable_files.temporary_beside(snapshots / name) for name in doomed_ids}
    # Renamed first, and durably: a reader finds a snapshot whole or not at all. `sweep` finishes what is cut short.
    for name, leftover in doomed.items():
        (snapshots / name).rename(leftover)  # safeguard: prune-takes-a-snapshot-whole
    if doomed:
        durable_files.fsync(snapshots)
    for leftover in doomed.values():
        shutil.rmtree(leftover)
    if doomed:
        durable_files.fsync(snapshots)
        remove_unnamed_lists(snapshots)


def remove_unnamed_lists(snapshots: Path) -> None:
    """Remove the lists of landed files that no snapshot and no pointer names any more.

    While a snapshot or the pointer cannot be read, nobody knows which lists it names: then all stay.
    """
    named = set()
    try:
        for name in snapshot_ids(snapshots):
            named.add(open_snapshot(snapshots, name).listed_files.sha256)
        pointer = current(snapshots)
    except (Damaged, UsageError):
        return
    if pointer is not None and isinstance(pointer.landed, ListedFiles):
        named.add(pointer.landed.sha256)  # safeguard: list-of-the-pointer-stays
    landed_list.remove_unnamed(snapshots, (sha256 for sha256 in named if sha256 is not None))


def damage(snapshots: Path, snapshot_id: str | None = None) -> dict[str, list[str]]:
    """What is wrong with one snapshot, or with each of all, by id: see `Snapshot.damage`.

    One that is pruned while it is read is left out: it is gone, not damaged. Raises UsageError for an id that is none.
    """
    found = {}
    for name in snapshot_ids(snapshots) if snapshot_id is None else [snapshot_id]:
        try:
            found[name] = open_snapshot(snapshots, name).damage()
        except (Damaged, OSError) as error:
            found[name] = [str(error)]
        except UsageError:
            if snapshot_id is not None or (snapshots / name).exists():
                raise
        if snapshot_id is None and not (snapshots / name).exists():
            found.pop(name, None)
    return found


def _remedy(as_of: date) -> str:
    return f"`mostwatched run --as-of {as_of}` publishes it again."


def age(snapshot: Snapshot) -> tuple[date, str, str]:
    """Return the sort key of snapshots: the as_of, then when it was made."""
    return snapshot.as_of, snapshot.manifest["created_at"], snapshot.id


def _require_whole(snapshot: Snapshot) -> None:
    damage = snapshot.files_damage()
    if damage:
        raise Damaged(
            f"Snapshot {snapshot.id} is not whole: {damage[0]} The pointer stays where it is. "
            f"`mostwatched run --as-of {snapshot.as_of}` publishes it again."
        )
