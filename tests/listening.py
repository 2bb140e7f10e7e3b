"""What a process and those that it started listen on, and what stands in their arguments, as Linux tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_LISTENS = "0A"  # a TCP socket's state
_ACCEPTS = 0x10000  # the flag of a Unix socket that listens


def tree(pid: int) -> set[int]:
    """A process and its descendants, as they are now."""
    parents = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pid: int) -> set[str]:
    """The addresses, hexadecimal or paths, that a process tree listens on."""
    ours = {inode for member in tree(pid) for inode in _sockets(member)}
    return {address for inode, address in _all_listening() if inode in ours}


def arguments(pid: int) -> dict[int, list[str]]:
    """What every other user of the machine can read of a process tree: its arguments."""
    found = {}
    for member in tree(pid):
        with suppress(OSError):
            found[member] = (PROC / str(member) / "cmdline").read_bytes().decode().split("\0")
    return found


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]


def _all_listening() -> Iterator[tuple[str, str]]:
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS:
                yield fields[9], fields[1]
    for line in (PROC / "net" / "unix").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[3], 16) & _ACCEPTS:
            yield fields[6], fields[7] if len(fields) > 7 else "@"
