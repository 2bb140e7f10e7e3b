"""Another user of the machine, in a landing folder of their own: swaps names in it while a command works there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from other_user import become

AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextmanager
def swapping(way: str, file: Path, victim: Path) -> Iterator[list[int]]:
    """Swap inside, in a process of another user; afterwards the list holds how often."""
    stop, stopping = os.pipe()
    told, tell = os.pipe()
    child = os.fork()  # and no other program: nobody may be able to start this Python
    if child == 0:
        try:
            os.close(stopping)
            become()
            os.set_blocking(stop, False)
            os.write(tell, b"%d\n" % swap(way, file, victim, stop, tell))
        finally:
            os._exit(0)
    os.close(tell)
    swaps: list[int] = []
    with os.fdopen(told) as lines:
        assert lines.readline() == "ready\n"
        try:
            yield swaps
        finally:
            os.close(stopping)
            swaps.append(int(lines.readline()))
            os.waitpid(child, 0)
            os.close(stop)


def exchange(one: Path, other: Path) -> None:
    """Exchange two names, so that at every moment both are there."""
    at = ctypes.CDLL(None, use_errno=True).renameat2
    if at(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


def swap_temporary(folder: Path, victim: Path, put: str) -> int:
    """Put a link or a folder in the place of whatever is being written; returns how often."""
    swaps = 0
    for path in folder.glob(".mostwatched-*"):
        with suppress(OSError):
            if path.is_symlink():
                continue
            path.rename(folder / f".taken-{os.urandom(4).hex()}")
            if put == "link":
                path.symlink_to(victim)
            elif put == "hard link":
                path.hardlink_to(folder / ".theirs")
            else:
                path.mkdir()
                (path / "new").symlink_to(victim)
            swaps += 1
    return swaps


def swap(way: str, file: Path, victim: Path, stop: int, tell: int) -> int:
    """Swap until `stop` is closed at its other end; returns how often."""
    swaps, folder = 0, file.parent
    other = folder if way == "parent" else file  # what is exchanged with a link
    aside = other.with_name(".aside")
    if way in ("landed", "parent"):
        aside.symlink_to(victim.parent if way == "parent" else victim)
    os.write(tell, b"ready\n")
    while True:
        with suppress(BlockingIOError):
            os.read(stop, 1)
            return swaps
        if way in ("landed", "parent"):
            exchange(other, aside)
            swaps += 1
        else:
            swaps += swap_temporary(folder, victim, way)
