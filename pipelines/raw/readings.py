"""Which reading of landed bytes counts: that of the latest parser, by the mapping that is in force.

What earlier parsers and other mappings made of the same bytes stays in raw: it only grows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.landing import read_as
from pipelines.raw.erasure_register import Register
from pipelines.raw.layout import raw_key
from pipelines.raw.raw_file import BytesId, RawFile
from pipelines.raw.raw_folder import RawFiles, RawFolder, by_folder

FOLDERS_SINCE = 4  # the first parser version that reads fields out of `key=value` folders


def latest_parsed(raw: Iterable[RawFile]) -> RawFiles:
    """For each landed file's bytes the raw folder of the latest parser and mapping, by (entity, key)."""
    if not isinstance(raw, RawFiles):
        return RawFiles(by_folder(_latest_parsed(raw)))
    whole: list[RawFolder] = []  # of which every landed file counts, so that none need be looked at by itself
    apart: list[RawFile] = []
    for entity in dict.fromkeys(folder.entity for folder in raw.folders):
        folders = [folder for folder in raw.folders if folder.entity == entity]
        current = [folder for folder in folders if folder.is_current]
        keys = [key for folder in current for key in folder.keys]
        known = set(keys)
        is_read_once = len(known) == len(keys)  # safeguard: pack-that-is-made-again-counts-once
        if not is_read_once or any(folder.is_mapped for folder in folders):
            apart += _latest_parsed(RawFiles(folders))
            continue
        whole += current
        # What an earlier parser read counts where this one has not read the same bytes.
        earlier = _latest_parsed(RawFiles([folder for folder in folders if not folder.is_current]))
        apart += (
            each for each in earlier if raw_key(entity, each.landed_sha256, read_as(each.landed_name)) not in known
        )
    return RawFiles([*whole, *by_folder(apart)]) if apart or len(whole) < len(raw.folders) else raw


def _latest_parsed(raw_folders: Iterable[RawFile]) -> list[RawFile]:
    raw_folders = list(raw_folders)
    readings = latest_readings(raw_folders)
    in_folders = {raw.bytes_id for raw in raw_folders if raw.folders}
    latest: dict[tuple[str, str, str], RawFile] = {}
    for raw in raw_folders:
        if readings and raw.reading != readings.get(raw.bytes_id, (0, ""))[0]:
            continue  # safeguard: superseded-mapping-does-not-count
        if in_folders and raw.parser_version < FOLDERS_SINCE and raw.bytes_id in in_folders:
            continue
        known = latest.get(raw.identity)
        if known is None or known.parser_version < raw.parser_version:
            latest[raw.identity] = raw
    return sorted(latest.values(), key=lambda raw: (raw.entity, raw.key))


def latest_readings(raw_folders: Iterable[RawFile]) -> dict[BytesId, tuple[int, str]]:
    """(the highest reading, the mapping of it) of the bytes that were read by a mapping at some time."""
    mapped = [raw for raw in raw_folders if raw.mapping or raw.reading]
    readings: dict[BytesId, tuple[int, str]] = {}
    for raw in mapped:  # also of those of which another mapping counts, and none by which they were read
        if raw.reading >= readings.setdefault(raw.bytes_id, (0, ""))[0]:
            readings[raw.bytes_id] = (raw.reading, raw.mapping)
    return readings


def resolve_landed(
    raw: Iterable[RawFile], landed: Iterable[Mapping[str, Any]], register: Register
) -> tuple[list[RawFile], list[str]]:
    """(the raw folders of the files that a manifest says had `landed`, the names of those of which there is none).

    By the `register` a landed file may have become another, without who was forgotten; by a mapping it may stand in
    folders whose names are fields by now.
    """
    there = {each.identity: each for each in raw}
    known = {landed_sha256 for _, landed_sha256, _ in there}
    by_bytes: dict[BytesId, list[RawFile]] | None = None
    found: dict[tuple[str, str, str], RawFile] = {}
    gone = []
    for file in landed:
        how = read_as(file["name"])
        content = (file["entity"], register.now(file["sha256"], known), how)
        identity = (*content[:2], f"{how}@{file['folders']}") if file.get("folders") else content
        if identity in there:
            found[identity] = there[identity]
            continue
        if by_bytes is None:
            by_bytes = defaultdict(list)
            for each in there.values():
                by_bytes[each.bytes_id].append(each)
        if content not in by_bytes:
            gone.append(file["name"])
        for each in by_bytes.get(content, ()):
            found[each.identity] = each
    return list(found.values()), gone
