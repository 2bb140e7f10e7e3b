"""The list of the landed files that a snapshot rests on, outside of the snapshot: a file a month and entity, shared.

    <snapshots>/inputs/<sha256>.json        which files the list consists of
    <snapshots>/inputs/<sha256>.json.zst    one of those: some landed files, an object each

Each is named by the sha256 of its bytes, written before what names it, and never changed. So a year of landed files
costs a night what is new in a month of it, snapshots over the same files share their list, and what names a list is as
short for a million landed files as for ten. Nothing here needs more than core: the read API uses manifests too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pipelines.core import durable_files
from pipelines.core.errors import Damaged
from pipelines.core.home_modes import share_like

FOLDER = "inputs"  # beside the snapshots
_LIST, _PART = ".json", ".json.zst"
_LEVEL = 3  # of zstd: hexadecimal digits come to half their size, and more effort makes it no less


@dataclass(frozen=True)
class ListedFiles:
    """What a manifest, or the pointer, says of the landed files that something rests on."""

    files: int
    keys_sha256: str  # of their keys: see `keys_digest`
    sha256: str | None  # of the list; None: the manifest holds it itself

    def as_json(self) -> dict[str, Any]:
        """The object under `landed`."""
        return asdict(self)


@dataclass(frozen=True)
class Part:
    """A file of a list: the landed files of one entity that are of one month."""

    entity: str
    month: str  # 2026-01; "" of what tells no day
    files: int
    keys_sha256: str
    entries_sha256: str  # of those of the raw folders that they are in
    sha256: str


Entry = Mapping[str, Any]  # of a landed file: entity, name, sha256, key, records, accepted, rejected


def keys_digest(keys: Iterable[str]) -> str:
    """The sha256 of keys of landed files, in whatever order they come."""
    return hashlib.sha256("".join(sorted(keys)).encode()).hexdigest()


def parts(snapshots: Path, sha256: str) -> list[Part]:
    """The parts of a list. Raises Damaged when what names them is not what was written."""
    path = _path(snapshots, sha256, _LIST)
    content = durable_files.checked_bytes(path, sha256)
    try:
        return msgspec.json.decode(content, type=list[Part])
    except msgspec.MsgspecError as error:
        raise Damaged(f"{path} is no list of landed files: {error}.") from error


def entries(snapshots: Path, part: Part) -> list[Entry]:
    """The landed files of a part. Raises Damaged when it is not what was written."""
    content = durable_files.checked_bytes(_path(snapshots, part.sha256, _PART), part.sha256)
    text = unpacked(content)
    found: list[Entry]
    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError:  # half a character, as a name may hold: see durable_files.verify_checksum
        found = json.loads(text)
    return found


def keys(snapshots: Path, sha256: str) -> frozenset[str]:
    """The keys of the landed files of a list. Raises Damaged when it is not what was written."""
    return frozenset(file["key"] for part in parts(snapshots, sha256) for file in entries(snapshots, part))


def unpacked(content: bytes) -> bytes:
    """The JSON of a part. Raises OSError for what is none."""
    return bytes(pa.input_stream(pa.BufferReader(content), compression="zstd").read())


def write(snapshots: Path, listed: Iterable[Part]) -> str:
    """Write a list of parts that are there, durably, and return its sha256."""
    found = sorted(listed, key=lambda each: (each.entity, each.month, each.sha256))
    sha256 = _write(snapshots, durable_files.json_bytes([asdict(each) for each in found]), _LIST)
    share_like(snapshots / FOLDER, snapshots)
    return sha256


def write_part(snapshots: Path, files: Sequence[Entry]) -> str:
    """Write the landed files of a part, durably, and return its sha256.

    What is there under that name is written again only if it is damaged.
    """
    content = pa.Codec("zstd", _LEVEL).compress(durable_files.json_bytes(files), asbytes=True)
    return _write(snapshots, content, _PART)


def _write(snapshots: Path, content: bytes, suffix: str) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    path = _path(snapshots, sha256, suffix)
    durable_files.make_folder(path.parent)
    with suppress(Damaged):
        durable_files.verify(path, sha256)
        return sha256
    durable_files.write_bytes(path, content)
    return sha256


def damage(snapshots: Path, sha256: str) -> list[str]:
    """Return what is wrong with a list, a sentence each."""
    try:
        named = parts(snapshots, sha256)
    except Damaged as error:
        return [str(error)]
    return [sentence for each in named for sentence in part_damage(snapshots, each)]


def part_damage(snapshots: Path, part: Part) -> list[str]:
    """Return what is wrong with a part: a sentence, or nothing."""
    try:
        durable_files.verify(_path(snapshots, part.sha256, _PART), part.sha256)
    except Damaged as error:
        return [str(error)]
    return []


def paths(snapshots: Path, sha256: str) -> set[Path]:
    """The files of a list. Raises Damaged where what names them is not what was written."""
    return {snapshots / name for name, _ in names(snapshots, sha256)}


def names(snapshots: Path, sha256: str) -> Iterator[tuple[str, str]]:
    """(path under the folder of snapshots, sha256) of every file of a list, what names the others first.

    Raises Damaged where that is not what was written.
    """
    yield _name(sha256, _LIST), sha256
    for part in parts(snapshots, sha256):
        yield _name(part.sha256, _PART), part.sha256


def remove_unnamed(snapshots: Path, named: Iterable[str]) -> None:
    """Remove the files of lists that none of the `named` lists consists of.

    A list that cannot be read names what nobody knows: then all stay.
    """
    if not (snapshots / FOLDER).is_dir():
        return
    kept: set[str] = set()
    try:
        for sha256 in set(named):
            kept.update(name for name, _ in names(snapshots, sha256))  # safeguard: lists-that-are-named-stay
    except Damaged:
        return
    doomed = [path for path in (snapshots / FOLDER).iterdir() if f"{FOLDER}/{path.name}" not in kept]
    doomed = [path for path in doomed if _NAME.fullmatch(path.name)]
    # What names the others goes first: so what is cut short leaves files that nothing names, and the next time removes.
    for path in sorted(doomed, key=lambda path: path.suffix != _LIST):
        path.unlink()
    if doomed:
        durable_files.fsync(snapshots / FOLDER)


_NAME = re.compile(r"[0-9a-f]{64}\.json(\.zst)?")


def _name(sha256: str, suffix: str) -> str:
    return f"{FOLDER}/{sha256}{suffix}"


def _path(snapshots: Path, sha256: str, suffix: str) -> Path:
    return snapshots / _name(sha256, suffix)
