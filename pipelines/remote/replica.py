"""A local copy of the current snapshot of a bucket, for the read API to serve.

Several servers may keep one copy between them: one at a time looks after it. What is half-written lies in a folder of
its own beside the snapshots, so that no reader meets it and no run takes it for its own.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeAlias

from pipelines.core import durable_files
from pipelines.core.errors import Busy, Damaged, Unreachable
from pipelines.remote.mirror import POINTER
from pipelines.remote.objects import Objects
from pipelines.snapshots import landed_list
from pipelines.snapshots import manifest as snapshots
from pipelines.snapshots.landed_list import ListedFiles

Stamp: TypeAlias = tuple[int, int, int]  # a file's size, time of change and inode

STILL_READ_SECONDS = 300.0  # after the pointer moved, a server may still be loading, or answering from, the one before
TIDY_EVERY_SECONDS = 600.0  # a prune in the bucket takes up no room here for longer


class Replica:
    """A local copy of the current snapshot of a bucket, which follows the bucket's pointer."""

    def __init__(self, objects: Objects, home: Path) -> None:
        self._objects = objects
        self._home = home
        self._folder = home / "snapshots"
        self._workshop = home / "following"
        self._pointer: tuple[bytes, str] | None = None  # in the bucket, and its etag
        self._verified: dict[str, Stamp | None] = {}  # files of the current snapshot, as they were when checked
        self._tidy_at = 0.0
        self._is_swept = False

    def sync(self) -> None:
        """Bring the current snapshot, or what is missing or damaged of it; the pointer here moves once all of it is
        here. Then remove the snapshots that the bucket has no longer.

        Does nothing while another server does this for the same copy.
        """
        with suppress(Busy), durable_files.lock(self._workshop / "lock"):
            if not self._is_swept:
                self._sweep()
            pointer = self._look()
            if pointer is None:
                return
            content, _ = pointer
            current = snapshots.pointer_of(self._folder / snapshots.POINTER, content)
            self._complete(current)
            before = self._move(content)
            self._pointer = pointer
            self._tidy({current.snapshot_id, before} if before else {current.snapshot_id}, has_moved=before is not None)

    def _look(self) -> tuple[bytes, str] | None:
        if self._pointer is not None and not self._objects.changed(POINTER, self._pointer[1]):
            return self._pointer
        return self._objects.read(POINTER)

    # --- bringing

    def _complete(self, pointer: snapshots.Pointer) -> None:
        """Make the copy of a snapshot whole: file by file; where its manifest is not, all of it aside and then at once.

        Raises Unreachable, and Damaged for what is not whole in the bucket.
        """
        final, there = self._folder / pointer.snapshot_id, f"snapshots/{pointer.snapshot_id}/"
        here = (there, f"snapshots/{landed_list.FOLDER}/")
        self._verified = {name: stamp for name, stamp in self._verified.items() if name.startswith(here)}
        with self._workbench() as whole, self._workbench() as replaced:
            folder = final
            try:
                durable_files.verify(final / snapshots.MANIFEST, pointer.manifest_sha256)
            except Damaged:
                folder = whole
                self._complete_file(there + snapshots.MANIFEST, whole / snapshots.MANIFEST, pointer.manifest_sha256)
            held = self._files_here() if folder == whole else {}
            manifest = json.loads((folder / snapshots.MANIFEST).read_bytes())
            self._complete_lists(manifest["landed"], pointer.landed)
            for name, facts in manifest["files"].items():
                if facts["sha256"] in held:
                    _link(held[facts["sha256"]], folder / name, is_private=name.startswith("private/"))
                self._complete_file(there + name, folder / name, facts["sha256"])
            if folder == whole:
                durable_files.fsync(whole)
                if final.exists():
                    final.rename(replaced)
                whole.rename(final)
                durable_files.fsync(self._folder)

    def _complete_lists(self, in_manifest: object, accepted: object) -> None:
        """Bring the lists of landed files that a manifest and the pointer name."""
        lists = {accepted.sha256} if isinstance(accepted, ListedFiles) else set()
        lists |= {in_manifest["sha256"]} if isinstance(in_manifest, dict) else set()
        for sha256 in lists - {None}:
            durable_files.make_folder(self._folder / landed_list.FOLDER)
            # What names the others is the first to come, and is readable once it has.
            for name, of_file in landed_list.names(self._folder, str(sha256)):
                self._complete_file(f"snapshots/{name}", self._folder / name, of_file)

    def _files_here(self) -> dict[str, Path]:
        """The files of the snapshots that are here, by the sha256 that each was published with."""
        return {
            facts["sha256"]: one.path / name
            for one in snapshots.listed(self._folder)
            for name, facts in one.files.items()
        }

    def _complete_file(self, name: str, path: Path, sha256: str) -> None:
        """Bring one file, unless it is here and whole."""
        stamp = _stamp(path)
        if stamp is not None and stamp == self._verified.get(name):
            return
        try:
            durable_files.verify(path, sha256)
        except Damaged:
            with self._objects.downloaded(name, path, aside=self._workshop) as (temporary, etag):
                if etag is None:
                    raise Unreachable(f"{self._objects.url} holds no {name}.") from None
                durable_files.verify(temporary, sha256)
                durable_files.fsync(temporary)
                temporary.rename(path)
                durable_files.fsync(path.parent)
        self._verified[name] = _stamp(path)

    def _move(self, content: bytes) -> str | None:
        """Move the pointer here; returns the id of the snapshot that it named before, if it named another."""
        path = self._folder / snapshots.POINTER
        try:
            now = path.read_bytes()
            before = snapshots.pointer_of(path, now).snapshot_id
        except (FileNotFoundError, Damaged):
            now, before = b"", ""
        if now and (now == content or (self._pointer is not None and self._pointer[0] == content)):
            return None  # or a run at work in this copy has moved it, and has not told the bucket yet
        with self._workbench() as temporary, self._no_run_at_work() if self._pointer is None else nullcontext():
            temporary.write_bytes(content)
            durable_files.fsync(temporary)
            temporary.rename(path)
            durable_files.fsync(self._folder)
        return before

    # --- removing

    def _tidy(self, kept: set[str], *, has_moved: bool) -> None:
        """Remove the snapshots here that the bucket has no longer, but for those that somebody may be reading."""
        since_moved = time.time() - (self._folder / snapshots.POINTER).stat().st_mtime
        if not has_moved and (since_moved < STILL_READ_SECONDS or time.monotonic() < self._tidy_at):
            return
        if candidates := [name for name in snapshots.snapshot_ids(self._folder) if name not in kept]:
            there = {name.split("/")[1] for name in self._objects.listed("snapshots")}
            self._remove([name for name in candidates if name not in there])
        self._tidy_at = time.monotonic() + (STILL_READ_SECONDS if has_moved else TIDY_EVERY_SECONDS)

    def _remove(self, doomed: list[str]) -> None:
        if not doomed:
            return
        with self._workbench() as leftovers:
            leftovers.mkdir()
            with self._no_run_at_work():  # one may have published what is not in the bucket yet
                for name in doomed:
                    (self._folder / name).rename(leftovers / name)
                durable_files.fsync(self._folder)
                snapshots.remove_unnamed_lists(self._folder)

    def _sweep(self) -> None:
        """Remove what a killed server has left half-done."""
        for path in self._workshop.iterdir():
            if path.name != "lock":
                _remove_whatever(path)
        with suppress(Busy), self._no_run_at_work():
            durable_files.sweep(self._folder)
        self._is_swept = True

    def _no_run_at_work(self) -> AbstractContextManager[object]:
        """Inside, no run is at work in this copy of the home. Raises Busy: the next look tries again."""
        return durable_files.lock_home(self._home)  # safeguard: replica-spares-a-run

    @contextmanager
    def _workbench(self) -> Iterator[Path]:
        """Yield a name to write to, of which nothing is left in the end."""
        path = self._workshop / secrets.token_hex(6)
        try:
            yield path
        finally:
            _remove_whatever(path)


def _link(existing: Path, path: Path, *, is_private: bool) -> None:
    """Give a file of another snapshot here a second name. Whoever calls this verifies it then, as what was fetched."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if is_private else 0o777)
    with suppress(FileNotFoundError):  # it was removed this very moment
        durable_files.link_or_copy(existing, path)
        durable_files.fsync(path.parent)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _remove_whatever(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
