"""A cache of the landed files that were read already. It saves time and may be removed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec

from pipelines.core.durable_files import write_bytes
from pipelines.landing import Stamp

_CLOCK_TICK_NS = 2_000_000_000  # as coarse as modification times get


class LandedCache:
    """Landed files by path, size, modification time, change time and inode -> the sha256 of their bytes.

    Only a saving of time: a cache that is missing, damaged or out of date costs reading the files again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = os.getcwd()  # asked once, of thousands of files  # noqa: PTH109

    @cached_property
    def _saved(self) -> dict[str, tuple[Stamp, str]]:
        """What the last run left: not even read where nobody asks for it."""
        with suppress(OSError, ValueError, msgspec.MsgspecError, RecursionError):
            files, _, checksum = self._path.read_bytes().removeprefix(_BEGIN).rpartition(_BEFORE_CHECKSUM)
            if checksum != _checksum(files) + _END:  # safeguard: seen-cache-compared-with-checksum
                raise ValueError("it is not what was written")
            return msgspec.json.decode(files, type=dict[str, tuple[Stamp, str]])
        return {}

    @cached_property
    def _known(self) -> dict[str, tuple[Stamp, str]]:
        return dict(self._saved)

    def get(self, path: Path | str, stamp: Stamp) -> str | None:
        """The sha256 of a file that is still the one that was read."""
        known, sha256 = self._known.get(self._absolute(path), (None, None))
        return sha256 if known == stamp else None

    def knows(self, path: Path) -> bool:
        """Whether some content of this path was read."""
        return self._absolute(path) in self._known

    def put(self, path: Path | str, stamp: Stamp, sha256: str) -> None:
        """Remember what was read, unless a change so soon after the last one might leave the same stamp."""
        if time.time_ns() - stamp.mtime_ns > _CLOCK_TICK_NS:  # safeguard: fresh-stamp-not-trusted
            self._known[self._absolute(path)] = (stamp, sha256)

    def save(self, still_there: Iterable[Path | str]) -> None:
        """Write the cache, without the files that are gone."""
        there = set(map(self._absolute, still_there))
        self._known = {name: known for name, known in self._known.items() if name in there}
        if self._known != self._saved:
            files = json.dumps(self._known, separators=(",", ":"), sort_keys=True).encode()  # ASCII, whatever the names
            write_bytes(self._path, _BEGIN + files + _BEFORE_CHECKSUM + _checksum(files) + _END)

    def _absolute(self, path: Path | str) -> str:
        """The name by which a file is known, from whichever folder the command was started."""
        name = str(path)
        return name if name.startswith("/") else f"{self._here}/{name}"


_BEGIN, _BEFORE_CHECKSUM, _END = b'{"files":', b',"seal":"', b'"}\n'


def _checksum(files: bytes) -> bytes:
    return hashlib.sha256(files).hexdigest().encode()
