"""What a process cost with all that it has started: Spark's Java is left behind by the Python that began it.

Linux alone: elsewhere there is nothing to add to what the kernel says of the process itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>
_END_SECONDS = 60.0  # Java's own, once its Python has gone


def adopt() -> None:
    """From now on those whose parents end become children of this process, which can then say what they cost."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def resident_bytes(session: int) -> int:
    """What all processes of a session hold at this moment; what several share counts once."""
    return sum(_proportional_bytes(pid) for pid, _ in _members(session))


def left_behind_seconds(session: int) -> float:
    """CPU of the processes that a session's first one has left behind, and of theirs: once they have ended."""
    seconds, until = 0.0, time.monotonic() + _END_SECONDS
    while ours := [pid for pid, parent in _members(session) if parent == os.getpid()]:
        for pid in ours:
            if time.monotonic() > until:
                raise TimeoutError(f"Process {pid} does not end.")
            ended, _, usage = os.wait4(pid, os.WNOHANG)
            seconds += usage.ru_utime + usage.ru_stime if ended else 0
        time.sleep(0.05)
    return seconds


def _members(session: int) -> Iterator[tuple[int, int]]:
    """(process, its parent)."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            yield int(entry.parent.name), int(fields[1])


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
