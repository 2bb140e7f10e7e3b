"""Which landed files were read already, so that they are not read again. Only a saving of time."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from pipelines.landing import Stamp
from pipelines.store import write_bytes

_CLOCK_TICK_NS = 2_000_000_000  # as coarse as modification times get


class LandedCache:
    """Landed files by path, size, modification time, change time and inode -> the sha256 of their bytes.

    Only a saving of time: a cache that is missing, damaged or out of date costs reading the files again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(path.read_bytes())
            known = content["files"]
            if content["seal"] != _seal(_compact(known)):
                raise ValueError("it is not what was written")
            self._known = {name: (tuple(map(int, stamp)), str(sha256)) for name, (stamp, sha256) in known.items()}
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            self._known = {}
        self._saved = dict(self._known)

    def get(self, path: Path, stamp: Stamp) -> str | None:
        """The sha256 of a file that is still the one that was read."""
        known, sha256 = self._known.get(absolute(path), (None, None))
        return sha256 if known == _as_tuple(stamp) else None

    def knows(self, path: Path) -> bool:
        """Whether some content of this path was read."""
        return absolute(path) in self._known

    def put(self, path: Path, stamp: Stamp, sha256: str) -> None:
        """Remember what was read, unless a change so soon after the last one might leave the same stamp."""
        if time.time_ns() - stamp.mtime_ns > _CLOCK_TICK_NS:
            self._known[absolute(path)] = (_as_tuple(stamp), sha256)

    def save(self, still_there: set[str]) -> None:
        """Write the cache, without the files that are gone."""
        self._known = {name: known for name, known in self._known.items() if name in still_there}
        if self._known != self._saved:
            text = _compact(dict(sorted(self._known.items())))
            write_bytes(self._path, f'{{"files":{text},"seal":"{_seal(text)}"}}\n'.encode())


def absolute(path: Path) -> str:
    """The name by which a file is known, from whichever folder the command was started."""
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 (as Path.absolute, in a tenth of the time)


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))  # ASCII, whatever bytes a name is made of


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _as_tuple(stamp: Stamp) -> tuple[int, ...]:
    return (stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode)
