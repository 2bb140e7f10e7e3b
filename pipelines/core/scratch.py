"""Folders for what a process works out and does not keep: in the home, for their owner alone, gone with the process.

What is in one may name viewers, so it never stands in a folder that others can read, and what a killed process left
is removed by whoever makes the next one, and by every run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = "tmp"  # in the home


@contextmanager
def scratch_folder(home: Path, purpose: str) -> Iterator[Path]:
    """A new folder in `home`, of mode 0700, that is removed at the end. Raises OSError where none can be made."""
    sweep_scratch(home)
    folder, descriptor = _new(home / _FOLDER, purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
        with suppress(OSError):
            folder.parent.rmdir()  # if it is empty


def sweep_scratch(home: Path) -> None:
    """Remove the folders whose processes have ended: nobody holds their locks."""
    with suppress(OSError):
        for folder in (home / _FOLDER).iterdir():
            with suppress(OSError), _opened(folder) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        (home / _FOLDER).rmdir()


def _new(parent: Path, purpose: str) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock for as long as the process lives."""
    while True:
        parent.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):  # another process has just removed the parent, or swept what had no lock yet
            folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=parent))
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.exists(folder):  # noqa: PTH110 (the very name, as it is now)
                return folder, descriptor
            os.close(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
