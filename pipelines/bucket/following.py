"""The current snapshot of a bucket, kept here, whole, for the read API to serve."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipelines import snapshots, store
from pipelines.bucket.mirror import POINTER
from pipelines.bucket.objects import Objects
from pipelines.errors import Unreachable


class Follower:
    """Looks at the pointer in a bucket."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects = objects
        self._folder = folder
        self._etag = ""

    def follow(self) -> None:
        """Bring the current snapshot, if it is another one; the pointer here moves once all of it is here."""
        if self._etag and not self._objects.changed(POINTER, self._etag):
            return
        found = self._objects.read(POINTER)
        if found is None:
            return
        content, etag = found
        pointer = snapshots.pointer_of(self._folder / snapshots.POINTER, content)
        if not (self._folder / pointer.snapshot_id / snapshots.MANIFEST).exists():
            self._bring(pointer)
        store.write_bytes(self._folder / snapshots.POINTER, content)
        self._etag = etag

    def _bring(self, pointer: snapshots.Pointer) -> None:
        under = f"snapshots/{pointer.snapshot_id}"
        with store.new_folder(self._folder / pointer.snapshot_id, replace=True) as folder:
            manifest = self._objects.read(f"{under}/{snapshots.MANIFEST}")
            if manifest is None or hashlib.sha256(manifest[0]).hexdigest() != pointer.manifest_sha256:
                raise Unreachable(f"{self._objects.url} holds no whole snapshot {pointer.snapshot_id}.")
            files = json.loads(manifest[0])["files"]
            for name, facts in files.items():
                target = folder / name
                target.parent.mkdir(exist_ok=True, mode=0o700 if name.startswith("private/") else 0o777)
                self._objects.download(f"{under}/{name}", target)
                store.verify(target, facts["sha256"])
            (folder / snapshots.MANIFEST).write_bytes(manifest[0])
