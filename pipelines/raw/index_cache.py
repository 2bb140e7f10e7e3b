"""A cache of the indexes of raw, and of what landed files need not be looked at. It saves time and may be removed."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import msgspec

from pipelines.core.durable_files import write_bytes
from pipelines.core.settings import Settings
from pipelines.landing import Stamp
from pipelines.raw.layout import INDEXES, PARSER_VERSION, raw_root
from pipelines.raw.raw_file import stamp_of
from pipelines.raw.raw_folder import RawFiles, RawFolder

_FORM = 4  # of its content, and of what RawFolder says of an index: raise it when either changes


class _Remembered(msgspec.Struct, frozen=True, array_like=True):
    form: int
    root: str
    parser_version: int
    folders: dict[str, tuple[Stamp, RawFolder]]  # by entity and folder: the stamp of its index and what it says
    settled: frozenset[str]  # see settled_blocks


def settled_blocks(settings: Settings, raw: RawFiles) -> frozenset[str]:
    """Blocks of landed files (landing/finding.py) all of which are in raw: such a block need not be looked at.

    None where an index is not what it was when that was noted, or is gone.
    """
    known = remembered(settings)
    # safeguard: settled-while-raw-stays-as-it-was
    is_same = {name: stamp for name, (stamp, _) in known.folders.items()} == raw.stamps
    return known.settled if is_same else frozenset()


def save_indexes(settings: Settings, raw: RawFiles, settled: frozenset[str]) -> None:
    """Remember what indexes say, and what landed files need not be looked at, so that the next command does neither.

    An index is replaced and never changed: whatever damages one leaves it another change time.
    """
    known = remembered(settings)
    stamps = raw.stamps or {}
    if known.settled == settled and {name: stamp for name, (stamp, _) in known.folders.items()} == stamps:
        return
    saved = {
        name: (stamps[name], folder) for folder in raw.folders if (name := _folder_name(folder.location)) in stamps
    }
    content = msgspec.json.encode(_Remembered(_FORM, str(raw_root(settings)), PARSER_VERSION, saved, settled))
    write_bytes(settings.lake / INDEXES, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _folder_name(location: str) -> str:
    """The entity and the name of a folder of raw."""
    return "/".join(location.rsplit("/", 2)[1:])


def remembered(settings: Settings) -> _Remembered:
    """What is remembered; nothing, where that is missing, damaged, or of another form, place or parser."""
    path = settings.lake / INDEXES
    root = str(raw_root(settings))
    stamp = stamp_of(str(path))
    found = None if stamp is None else _read_remembered(path, stamp)
    if found is not None and (found.root, found.parser_version) == (root, PARSER_VERSION):
        return found
    return _Remembered(_FORM, root, PARSER_VERSION, {}, frozenset())


@lru_cache(maxsize=1)
def _read_remembered(path: Path, stamp: Stamp) -> _Remembered | None:
    del stamp  # it names the content
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
        # safeguard: cache-of-indexes-compared-with-checksum
        if checksum != hashlib.sha256(content).hexdigest().encode():
            return None
        found = msgspec.json.decode(content, type=_Remembered)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return found if found.form == _FORM else None
