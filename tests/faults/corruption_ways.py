"""Ways in which a stored file goes bad, each with the way back. See corruption.py."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

BLOCK = 512  # what a disk loses at once
WAYS = ("bit", "bit", "bit", "bit", "bit", "truncated", "zeroed", "emptied", "grown", "deleted", "renamed", "swapped")


class RemovedByAReader(Exception):
    """Who only reads must change nothing, whatever is damaged."""


@dataclass(frozen=True)
class Stored:
    """A file of the home that may go bad."""

    path: Path
    kind: str  # what it is to the system: "manifest", "sidecar", …

    @property
    def sidecar(self) -> Path:
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class Damage:
    """What was done, and how to undo it."""

    what: str  # in words, with the path
    kind: str  # of the file
    paths: tuple[Path, ...]  # the names under which a reader finds other bytes than before, or nothing
    undo: Callable[[], None]


def stored_files(home: Path) -> dict[str, list[Stored]]:
    """Every stored file of a home by its kind; what landed is not ours."""
    found: dict[str, list[Stored]] = {}
    for path in sorted(home.rglob("*")):
        if path.is_file() and (kind := _kind(path.relative_to(home))):
            found.setdefault(kind, []).append(Stored(path, kind))
    return found


def _kind(path: Path) -> str | None:
    where = path.parts[0]
    if where == "snapshots":
        if len(path.parts) == 2:
            return "pointer"
        of_folder = {"creator_reach": "cube of a snapshot", "private": "private table"}
        names = {"manifest.json": "manifest", "warehouse.duckdb": "warehouse", "report.html": "report"}
        return of_folder.get(path.parts[2]) or names.get(path.name, "table of a snapshot")
    if where == "lake":
        if len(path.parts) == 2:
            return "cache of landed files"
        if path.parts[1] == "raw":
            return {"index.json": "index of raw", "rejects.parquet": "rejected records"}.get(path.name, "raw rows")
        return "sidecar" if path.suffix == ".json" else "derived rows"
    return "lock" if path.parts[0] == ".lock" else None


class Damager:
    """Damages files of one home, and knows which names share their bytes.

    Of a home that shares its files with another (see `linked` in corruption.py), files are made its own first.
    """

    def __init__(self, home: Path, *, is_linked: bool = False) -> None:
        self.home = home
        self._is_linked = is_linked
        self.by_kind = stored_files(home)
        self._names: dict[int, list[Path]] = {}
        for files in self.by_kind.values():
            for stored in files:
                self._names.setdefault(stored.path.stat().st_ino, []).append(stored.path)

    def damage(self, draw: Random, way: str | None = None, kind: str | None = None) -> Damage:
        """Damage one file, drawn evenly by kind, so that the few pointers are hit as often as the many tables."""
        stored = draw.choice(self.by_kind[kind or draw.choice(list(self.by_kind))])
        way = way or draw.choice(WAYS)
        if way == "renamed":
            return self._renamed(draw, stored)
        if way == "deleted":
            return self._away(stored, stored.path.with_name("..away"), "deleted", "deleted")
        if way == "swapped":
            return self._swapped(draw, stored)
        before = stored.path.read_bytes()
        after, words = _changed(draw, way, stored, before)
        return self._overwritten(stored, {stored.path: (before, after)}, words)

    def _overwritten(self, stored: Stored, changes: dict[Path, tuple[bytes, bytes]], words: str) -> Damage:
        """In place, so that every name of the file changes; the times of the file stay, as on a bad disk."""

        changed = [path for path, (before, after) in changes.items() if before != after]
        names = [name for path in changed for name in self._names[path.stat().st_ino]]
        if self._is_linked:
            for path in changed:
                self._make_own(self._names[path.stat().st_ino])

        def write(which: int) -> None:
            for path, contents in changes.items():
                if not path.exists():
                    raise RemovedByAReader(path)
                times = path.stat()
                with path.open("r+b") as file:
                    file.write(contents[which])
                    file.truncate()
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

        write(1)
        return Damage(f"{self._at(stored)}: {words}", stored.kind, tuple(names), lambda: write(0))

    def _make_own(self, names: Sequence[Path]) -> None:
        first, *others = names
        copy = self.home.parent / f"{self.home.name}-copy"
        shutil.copy2(first, copy)
        copy.replace(first)
        for name in others:
            name.unlink()
            name.hardlink_to(first)

    def _renamed(self, draw: Random, stored: Stored) -> Damage:
        """One bit of its name is another."""
        while True:
            name = bytearray(os.fsencode(stored.path.name))
            name[draw.randrange(len(name))] ^= 1 << draw.randrange(7)
            if min(name) > 0x20 and 0x2F not in name and 0x7F not in name:
                other = stored.path.with_name(name.decode())
                if not other.exists():
                    return self._away(stored, other, f"renamed to {other.name}", "renamed")

    def _away(self, stored: Stored, to: Path, words: str, way: str) -> Damage:
        target = self.home.parent / f"{self.home.name}-away" if way == "deleted" else to
        stored.path.rename(target)
        return Damage(
            f"{self._at(stored)}: {words}", stored.kind, (stored.path,), lambda: _quietly_back(target, stored.path)
        )

    def _swapped(self, draw: Random, stored: Stored) -> Damage:
        """The contents of two files of a kind are in each other's place; half the time with their sidecars."""
        other = draw.choice(self.by_kind[stored.kind])
        pairs = [(stored.path, other.path)]
        words = f"its content swapped with {self._at(other)}"
        if stored.kind == "derived rows" and draw.random() < 0.5:
            pairs.append((stored.sidecar, other.sidecar))
            words += ", sidecars too"
        changes: dict[Path, tuple[bytes, bytes]] = {}
        for one, two in pairs:
            if one.stat().st_ino != two.stat().st_ino:
                contents = one.read_bytes(), two.read_bytes()
                changes |= {one: contents, two: contents[::-1]}
        return self._overwritten(stored, changes, words)

    def _at(self, stored: Stored) -> str:
        return str(stored.path.relative_to(self.home))


def _quietly_back(away: Path, path: Path) -> None:
    with suppress(FileNotFoundError):  # a run may have removed what it did not know
        away.rename(path)


def _changed(draw: Random, way: str, stored: Stored, before: bytes) -> tuple[bytes, str]:
    size = len(before)
    if way == "grown" or not size:
        more = draw.randbytes(draw.choice([1, 4, BLOCK]))
        return before + more, f"{len(more)} bytes added"
    if way == "emptied":
        return b"", "emptied"
    if way == "truncated":
        left = draw.randrange(size)
        return before[:left], f"cut off after {left} of {size} bytes"
    if way == "zeroed":
        start = draw.randrange(size) // BLOCK * BLOCK
        end = min(start + BLOCK, size)
        return before[:start] + bytes(end - start) + before[end:], f"bytes {start} to {end} zeroed"
    if stored.path.suffix == ".json" and draw.random() < 0.5:
        return _still_json(draw, before)
    return _flipped(draw.randrange(size), draw.randrange(8), before)


def _flipped(byte: int, bit: int, before: bytes) -> tuple[bytes, str]:
    after = bytearray(before)
    after[byte] ^= 1 << bit
    return bytes(after), f"bit {bit} of byte {byte} flipped"


def _still_json(draw: Random, before: bytes) -> tuple[bytes, str]:
    """A flip that a parser does not notice: a digit, a letter of a key or of a value, a blank."""
    for _ in range(100):
        after, words = _flipped(draw.randrange(len(before)), draw.randrange(7), before)
        with suppress(ValueError):
            json.loads(after)
            return after, f"{words}, still JSON"
    return after, words


def kinds(files: dict[str, Sequence[Stored]]) -> str:
    """How many files of which kind there are, in words."""
    return ", ".join(f"{len(found)} {kind}" for kind, found in files.items())
