"""What is durable when: a record of every fsync and rename of this process, taken while they really happen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Durability:
    """In order: ("fsync", inode) and ("rename", inode of what was renamed, its new path)."""

    def __init__(self) -> None:
        self.record: list[tuple[Any, ...]] = []

    def problem(self, final: Path) -> str | None:
        """Why what now stands under `final` could be lost or torn when the power fails; None if it could not.

        Its content (every file's and folder's in it, too) must be fsynced before its last rename, its name after it.
        """
        renames = [number for number, call in enumerate(self.record) if call[0] == "rename" and call[2] == final]
        if not renames:
            return f"{final.name} was written in place"
        before, after = self.record[: renames[-1]], self.record[renames[-1] :]
        for path in (final, *sorted(final.rglob("*"))) if final.is_dir() else (final,):
            if ("fsync", path.stat().st_ino) not in before:
                return f"{path.name} was not fsynced before {final.name} got its name"
        if ("fsync", final.parent.stat().st_ino) not in after:
            return f"{final.parent.name} was not fsynced after {final.name} got its name"
        return None


@contextmanager
def recorded() -> Iterator[Durability]:
    """Record until the block ends; the calls are made as ever."""
    seen = Durability()
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def recording_fsync(file: Any) -> None:
        fsync(file)
        seen.record.append(("fsync", os.fstat(file if isinstance(file, int) else file.fileno()).st_ino))

    def recording_rename(source: Any, target: Any, **folders: Any) -> None:
        inode = Path(source).stat().st_ino
        rename(source, target, **folders)
        seen.record.append(("rename", inode, Path(target)))

    def recording_replace(source: Any, target: Any, **folders: Any) -> None:
        inode = Path(source).stat().st_ino
        replace(source, target, **folders)
        seen.record.append(("rename", inode, Path(target)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", recording_fsync)
        patch.setattr(os, "rename", recording_rename)
        patch.setattr(os, "replace", recording_replace)
        yield seen
