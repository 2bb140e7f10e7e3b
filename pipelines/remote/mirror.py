"""A home on object storage: a local copy to work in, and the bucket, which decides.

    pull   list the bucket; bring the small JSON files: sidecars, indexes, manifests, which say what there is
    fetch  bring a large file when it is checked or read for the first time
    push   write what is new: data before what says that it exists, each snapshot before its manifest,
           and `current.json` last, in the place of the very one that was pulled

Everything but a few pointers is immutable and named by what it rests on, so that two machines that work on one home at
a time write the same things; of two that publish, the bucket lets one move `current.json`. What a push that was cut
short has left is no more than what a killed run leaves in a folder: the next one goes on from there. The copy may be
removed at any time, as a whole or in part: what is missing in it is fetched again, and nothing is removed from the
bucket because it is missing here.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.core import durable_files
from pipelines.core.errors import PublishConflict
from pipelines.raw.layout import INDEXES
from pipelines.raw.pack_parts import PARTS
from pipelines.remote.objects import Found, Objects, map_concurrently
from pipelines.snapshots import landed_list
from pipelines.snapshots import manifest as snapshots
from pipelines.snapshots.landed_list import ListedFiles

FOLDERS = ("lake", "snapshots", "reports", "forgotten")  # what is shared; landing folders have URLs of their own
POINTER = f"snapshots/{snapshots.POINTER}"
LISTS = f"snapshots/{landed_list.FOLDER}/"  # of landed files
RECORD = ".mirror.json"
LEFT_BEHIND_SECONDS = 60.0  # without a change, and nobody is writing a snapshot in the bucket any more


class Mirror:
    """The copy of one home."""

    def __init__(self, objects: Objects, home: Path) -> None:
        self._objects = objects
        self._home = home
        self._record = read_record(home / RECORD)  # name -> [etag, size, mtime] as it was when both were the same
        self._remote: dict[str, Found] = {}
        self._pointer: tuple[bytes, str] | None = None
        self._writing = threading.Lock()

    # --- durable_files.Origin

    def has(self, path: Path) -> bool:
        """Whether the bucket holds a file of this home."""
        return self._name(path) in self._remote

    def fetch(self, path: Path) -> None:
        """Bring a file that the bucket holds. Raises Unreachable."""
        name = self._name(path)
        if name in self._remote:
            self._bring(name)

    # --- both ways

    def pull(self, folders: Collection[str] = FOLDERS) -> None:
        """List some folders of the bucket, and download their small JSON files.

        While another process works in this copy, what is in it stays as it is: it may be new, and not pushed yet.
        Raises Unreachable; the copy is then as it was.
        """
        self._remote = self._list(folders)
        self._pointer = self._objects.read(POINTER)
        with durable_files.unless_home_locked(self._home) as is_ours:
            if is_ours:
                self._remove_outdated(folders)
        small = [name for name in self._remote if _is_small(name)]
        map_concurrently(
            self._bring, [name for name in small if name not in self._record or not (self._home / name).exists()]
        )
        with durable_files.unless_home_locked(self._home) as is_ours:
            if is_ours:  # safeguard: reader-spares-the-pointer-of-a-run
                self._take_over_the_pointer()
        self._save()

    def _remove_outdated(self, folders: Collection[str]) -> None:
        outdated = [
            name
            for name, (etag, *_) in self._record.items()  # removed by a prune elsewhere, or written again
            if name.split("/")[0] in folders and (name not in self._remote or self._remote[name].etag != etag)
        ]
        for name in outdated:
            (self._home / name).unlink(missing_ok=True)
            del self._record[name]
        self._remove_empty_folders(outdated)

    def _take_over_the_pointer(self) -> None:
        pointer = self._home / POINTER
        if self._pointer is None:
            pointer.unlink(missing_ok=True)
        elif not pointer.exists() or pointer.read_bytes() != self._pointer[0]:
            durable_files.write_bytes(pointer, self._pointer[0])

    def push(self) -> None:
        """Write what is new here, and move the pointer last, if it moved here.

        Raises Unreachable, and PublishConflict when another process has published since `pull`; its snapshot stays.
        """
        try:
            remote = self._list()
            changed = [name for name in self._files() if self._is_changed(name)]
            published = [name for name in changed if name.startswith("snapshots/")]
            if published or self._pointer is None:
                self._objects.require_conditional_puts()
            # What came to stand in the lake since we pulled was made by somebody else of the same inputs.
            elsewhere = {name for name in remote if name.startswith("lake/") and name not in self._remote}
            for stage in _stages(set(changed) - set(published) - elsewhere):
                map_concurrently(self._write, stage)
            lists = {name for name in published if name.startswith(LISTS)}
            published = [name for name in published if name not in lists]
            # safeguard: lists-go-up-before-what-names-them
            for stage in _stages(lists):
                map_concurrently(self._write, stage)
            for snapshot_id in sorted({name.split("/")[1] for name in published}):
                self._publish(snapshot_id, [name for name in published if name.split("/")[1] == snapshot_id], remote)
            self._remote |= {name: found for name, found in remote.items() if name not in self._remote}
            self._move_pointer()
        finally:
            self._save()  # what is there is there: the next push goes on from here

    def complete(self) -> None:
        """Bring all that the bucket holds."""
        map_concurrently(self._bring, [name for name in self._remote if not (self._home / name).exists()])

    def tidy(self) -> int:
        """Remove from the bucket what nothing here refers to, after `pull`. Returns the number of objects.

        Every small file was brought by `pull`: what is missing of those has been removed here, and what they said that
        it exists with them. What another process is half-way through writing is removed too: it is written again.
        """
        referenced = self._referenced()
        doomed = [name for name in self._list() if name not in referenced]
        for stage in reversed(_stages(doomed)):
            self._objects.delete(stage)
        for name in doomed:
            self._record.pop(name, None)
            self._remote.pop(name, None)
        self._save()
        return len(doomed)

    def _referenced(self) -> set[str]:
        """Return the names of all files that are here, and of those that a small file here refers to."""
        names = set(self._files())
        for name in [name for name in names if name.endswith(".json")]:
            folder, _, last = name.rpartition("/")
            if last == snapshots.MANIFEST:
                names.update(f"{folder}/{each}" for each in self._json(name)["files"])
            elif name.startswith(LISTS):
                names.update(self._list_files([last.removesuffix(".json")]))
            elif last == "index.json":
                facts = self._json(name)
                names.update(f"{folder}/{each}.parquet" for each in facts["files"])
                if facts["rejects"] is not None:
                    names.add(f"{folder}/rejects.parquet")
            else:
                names.add(f"{name.removesuffix('.json')}.parquet")
        return names

    def _list_files(self, lists: Iterable[str | None]) -> set[str]:
        """The names of all files of some lists of landed files. Raises Damaged."""
        folder = self._home / "snapshots"
        return {self._name(path) for sha256 in lists if sha256 for path in landed_list.paths(folder, sha256)}

    def _json(self, name: str) -> Any:
        return json.loads((self._home / name).read_bytes())

    # --- one file

    def _bring(self, name: str) -> None:
        final = self._home / name
        with self._objects.downloaded(name, final) as (temporary, etag):
            if etag is None:  # pruned since it was listed
                self._remote.pop(name, None)
                return
            if _is_small(name) and name not in self._record and final.exists():
                if final.read_bytes() != temporary.read_bytes():
                    return  # written here and not pushed yet, by a run that was killed: the next push decides
            else:
                temporary.rename(final)
            self._record_etag(name, etag)

    def _write(self, name: str) -> None:
        etag = self._objects.upload(name, self._home / name)
        assert etag is not None
        self._record_etag(name, etag)

    def _publish(self, snapshot_id: str, names: list[str], remote: Mapping[str, Found]) -> None:
        """Write a snapshot's files, none over another's; its manifest last."""
        folder = f"snapshots/{snapshot_id}/"
        manifest = f"{folder}{snapshots.MANIFEST}"
        # Where a snapshot was damaged and is written again, it takes the place of what is left of it.
        is_new = manifest not in self._record
        stands = any(name.startswith(folder) and name not in self._record for name in remote)
        if is_new and stands and self._is_published_by_others(folder, manifest):
            self._adopt(snapshot_id)
            return

        def write(name: str) -> None:
            etag = self._objects.upload(name, self._home / name, is_new=is_new)
            if etag is None:
                raise self._conflict(f"Somebody else is writing the same snapshot, {snapshot_id}, just now")
            self._record_etag(name, etag)

        for stage in _stages(names):
            map_concurrently(write, stage)

    def _is_published_by_others(self, folder: str, manifest: str) -> bool:
        """Wait until a snapshot that stands there without being ours is whole, or nobody goes on with it.

        What nobody goes on with is removed: a machine that was writing it is gone.
        """
        seen: dict[str, Found] = {}
        since = time.monotonic()
        while True:
            found = self._objects.listed(folder.rstrip("/"))
            if manifest in found:
                return True
            theirs = {name: one for name, one in found.items() if name not in self._record}
            if theirs != seen:
                seen, since = theirs, time.monotonic()
            if time.monotonic() - since >= LEFT_BEHIND_SECONDS:
                self._objects.delete(list(theirs))
                return False
            time.sleep(min(1.0, LEFT_BEHIND_SECONDS / 4))

    def _adopt(self, snapshot_id: str) -> None:
        """Take the place of our own snapshot by the one of the same rows that somebody else has published."""
        folder = self._home / "snapshots" / snapshot_id
        shutil.rmtree(folder)
        self._remote = self._list()
        self._bring(f"snapshots/{snapshot_id}/{snapshots.MANIFEST}")
        for name in [name for name in self._remote if name.startswith(LISTS) and _is_small(name)]:
            if not (self._home / name).exists():
                self._bring(name)
        pointer = snapshots.current(folder.parent)
        if pointer is not None and pointer.snapshot_id == snapshot_id:
            adopted = snapshots.open_snapshot(folder.parent, snapshot_id)
            landed = pointer.landed
            if isinstance(landed, ListedFiles) and landed.sha256 is None:
                landed = adopted.listed_files  # ours stood in the manifest: what theirs lacks is judged again
            snapshots.point_to(
                folder.parent,
                adopted,
                landed=landed,
                pinned=pointer.pinned,
                lost=pointer.lost,
                completeness=pointer.completeness,
            )

    def _move_pointer(self) -> None:
        path = self._home / POINTER
        content = path.read_bytes() if path.exists() else None
        if content is None or (self._pointer is not None and content == self._pointer[0]):
            return
        snapshot_id = snapshots.pointer_of(path, content).snapshot_id
        self._require_lists(path, content)
        there = self._objects.listed(f"snapshots/{snapshot_id}")
        for name, (known, *_) in self._record.items():
            if name.startswith(f"snapshots/{snapshot_id}/") and (name not in there or there[name].etag != known):
                raise self._conflict(f"Somebody else has removed or replaced {name}")
        try:
            etag = self._objects.replace(POINTER, content, self._pointer[1] if self._pointer else None)
        except PublishConflict:
            raise self._conflict("Somebody else has published meanwhile") from None
        self._pointer = content, etag
        if self._objects.read(f"snapshots/{snapshot_id}/{snapshots.MANIFEST}") is None:
            raise self._conflict(f"Snapshot {snapshot_id} was pruned by somebody else while it was made current")

    def _require_lists(self, path: Path, content: bytes) -> None:
        """Raise PublishConflict unless the bucket holds the lists of landed files that the pointer and its snapshot
        name: a part that was taken over from an earlier list may have been pruned by somebody else."""
        pointer = snapshots.pointer_of(path, content)
        snapshot = snapshots.open_snapshot(path.parent, pointer.snapshot_id)
        lists = {snapshot.listed_files.sha256}
        if isinstance(pointer.landed, ListedFiles):
            lists.add(pointer.landed.sha256)
        if needed := self._list_files(lists):
            # safeguard: pointer-moves-to-lists-that-are-there
            for name in sorted(needed - self._objects.listed(LISTS.rstrip("/")).keys()):
                raise self._conflict(f"Somebody else has removed {name}")

    def _conflict(self, why: str) -> PublishConflict:
        return PublishConflict(f"{why} in {self._objects.url}. Nothing of it is lost: give the command again.")

    # --- what is where

    def _list(self, folders: Collection[str] = FOLDERS) -> dict[str, Found]:
        listed = (self._objects.listed(folder) for folder in folders)
        return {name: found for each in listed for name, found in each.items() if _is_shared(name)}

    def _files(self) -> Iterator[str]:
        for folder in FOLDERS:
            for path in (self._home / folder).rglob("*"):
                name = self._name(path)
                if _is_shared(name) and path.is_file():
                    yield name

    def _is_changed(self, name: str) -> bool:
        status = (self._home / name).stat()
        known = self._record.get(name)
        return known is None or known[1:] != [status.st_size, status.st_mtime_ns]

    def _record_etag(self, name: str, etag: str) -> None:
        status = (self._home / name).stat()
        with self._writing:
            self._record[name] = [etag, status.st_size, status.st_mtime_ns]
            self._remote[name] = Found(status.st_size, etag, datetime.now(UTC))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._home).as_posix() if path.is_relative_to(self._home) else ""

    def _remove_empty_folders(self, gone: Iterable[str]) -> None:
        for folder in {(self._home / name).parent for name in gone}:
            with suppress(OSError):  # it is not empty; or another reader of this copy has removed it this very moment
                for each_folder in (folder, *folder.parents):
                    if each_folder == self._home:
                        break
                    each_folder.rmdir()

    def _save(self) -> None:
        with self._writing:
            files = dict(self._record)
        write_record(self._home / RECORD, self._objects.url, files)


def _is_shared(name: str) -> bool:
    """Not what is half-written, quarantined, or of this machine alone."""
    parts = name.split("/")
    if any(part.startswith(".") for part in parts) or name in ("lake/landed.json", f"lake/{INDEXES}"):
        return False
    if parts[:2] == ["lake", PARTS]:
        return False
    return parts[0] in FOLDERS and len(parts) > 1 and name != POINTER


def _is_small(name: str) -> bool:
    """Whether it is a small JSON file that refers to larger ones."""
    return name.endswith(".json") or name.startswith(("reports/", "forgotten/"))


def _stages(names: Iterable[str]) -> list[list[str]]:
    """Return names in the order in which they are written: what says that something exists comes after it.

    They are removed in the reverse order.
    """
    stages: list[list[str]] = [[], [], []]
    for name in sorted(names):
        is_last = name.endswith(f"/{snapshots.MANIFEST}") or name.startswith(("reports/", "forgotten/"))
        stages[_is_small(name) + is_last].append(name)
    return stages


def read_record(path: Path) -> dict[str, list[Any]]:
    """Read what a copy holds, by name, or nothing where that is missing or damaged: files are then fetched again."""
    try:
        files: dict[str, list[Any]] = durable_files.verify_checksum(path.read_bytes())["files"]
        return files
    except (OSError, ValueError, KeyError):
        return {}


def write_record(path: Path, url: str, files: Mapping[str, list[Any]]) -> None:
    """Write what a copy of `url` holds, by name."""
    files = {name: files[name] for name in sorted(files)}
    durable_files.write_json(path, durable_files.with_checksum({"url": url, "files": files}))
