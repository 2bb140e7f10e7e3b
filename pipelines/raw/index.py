"""index.json, which says what is in a raw folder and from which landed files: how it is written and read.

layout.py says what else is in the folder.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipelines.core.durable_files import json_bytes, verify_checksum, with_checksum, write_bytes
from pipelines.core.errors import Damaged
from pipelines.core.row_digest import combined_digest
from pipelines.core.settings import Settings
from pipelines.raw.layout import INDEX, pack_key, raw_key, raw_root
from pipelines.raw.raw_file import RawFile
from pipelines.raw.writer import WrittenFile

_NO_DIGEST = {"digest": "", "newest": None}  # of rejected records


def write_index(raw: RawFile) -> None:
    """Say something else of a landed file in the index of its folder, durably."""
    found = from_index(raw.folder, (raw.folder / INDEX).read_bytes()) if raw.is_packed else []
    write_bytes(raw.folder / INDEX, as_index([raw if each.key == raw.key else each for each in found] or [raw]))


def as_index(found: Sequence[RawFile]) -> bytes:
    """Return the content of index.json for the raw folder of some landed files."""
    if len(found) == 1 and not found[0].is_packed:
        return json_bytes(with_checksum(_facts(found[0])))
    files, rejects = files_of(found)
    landed = [
        {
            "key": each.key,
            **_facts(each),
            "files": {name: _rows_of(file) for name, file in each.files.items()},
            "rejects": each.rejects and {"rows": each.rejects.rows, "first_row": each.rejects.first_row},
        }
        for each in found
    ]
    for each in landed:
        del each["entity"]
    content = msgspec.json.encode(
        {
            "entity": found[0].entity,
            "files": {name: _as_json(file) for name, file in files.items()},
            "rejects": rejects and _rejects_as_json(rejects),
            "landed": landed,
        }
    )
    # As `with_checksum` has it, which writes a line a value: there may be twenty thousand landed files.
    body = content.removesuffix(b"}")
    return body + b',\n "seal": "' + hashlib.sha256(body + b"\n}\n").hexdigest().encode() + b'"\n}\n'


def _facts(raw: RawFile) -> dict[str, Any]:
    left_out = ("location", "key", "landed_files")
    facts: dict[str, Any] = {name: getattr(raw, name) for name in RawFile.__struct_fields__ if name not in left_out}
    # Of few files: that are no longer what was parsed, or were read by a mapping, out of folders, or not as a whole.
    for name in ("erased", "also_landed", "removed", "expired", "folders", "mapping", "reading", "unreadable"):
        if not facts[name]:
            del facts[name]
    facts["files"] = {name: _as_json(file) for name, file in raw.files.items()}
    facts["rejects"] = raw.rejects and _rejects_as_json(raw.rejects)
    return facts


def _as_json(file: WrittenFile) -> dict[str, Any]:
    facts = msgspec.structs.asdict(file)
    del facts["first_row"]
    if file.missing is None:
        del facts["missing"]
    return facts


def _rejects_as_json(rejects: WrittenFile) -> dict[str, Any]:
    return {"rows": rejects.rows, "bytes": rejects.bytes, "sha256": rejects.sha256}


def _rows_of(file: WrittenFile) -> dict[str, Any]:
    """What the index of a pack says of the rows of one landed file in one of its files."""
    facts = {"rows": file.rows, "first_row": file.first_row, "digest": file.digest, "newest": file.newest}
    return facts if file.missing is None else {**facts, "missing": file.missing}


def files_of(found: Sequence[RawFile]) -> tuple[dict[str, WrittenFile], WrittenFile | None]:
    """(the Parquet files of a raw folder by day or `all`, its rejected records), by all of its landed files."""
    if len(found) == 1:
        return found[0].files, found[0].rejects
    parts: dict[str, list[WrittenFile]] = defaultdict(list)
    for each in found:
        for name, file in each.files.items():
            parts[name].append(file)
    rejects = [each.rejects for each in found if each.rejects is not None]
    return {name: _added_up(parts[name]) for name in sorted(parts)}, _added_up(rejects) if rejects else None


def _added_up(parts: Sequence[WrittenFile]) -> WrittenFile:
    newest = max((each.newest for each in parts if each.newest is not None), default=None)
    missing: dict[str, int] | None = None
    if all(each.missing is not None for each in parts):
        missing = {}  # not a Counter, whose `update` is slow for a few names at a time
        for each in parts:
            for name, rows in (each.missing or {}).items():
                missing[name] = missing.get(name, 0) + rows
    return msgspec.structs.replace(
        parts[0],
        rows=sum(each.rows for each in parts),
        digest=combined_digest(each.digest for each in parts),
        newest=newest,
        missing=missing,
        first_row=0,
    )


def from_index(folder: Path, content: bytes) -> list[RawFile]:
    """The landed files of a raw folder by the content of its index. Raises ValueError, MsgspecError or Damaged."""
    index = verify_checksum(content)
    if index.get("rejects"):
        index["rejects"] = {**index["rejects"], **_NO_DIGEST}
    if "landed" not in index:
        return [msgspec.convert({**index, "location": str(folder), "key": folder.name}, RawFile)]
    common = {"entity": index["entity"], "location": str(folder), "landed_files": len(index["landed"])}
    landed = [
        {
            **each,
            **common,
            "files": {name: index["files"][name] | rows for name, rows in each["files"].items()},
            "rejects": each["rejects"] and index["rejects"] | each["rejects"],
        }
        for each in index["landed"]
    ]
    return msgspec.convert(landed, list[RawFile])


def folder_of(settings: Settings, found: Sequence[RawFile]) -> Path:
    """Return the path of a raw folder by what its index says of its landed files. Raises Damaged for a wrong key."""
    keys = [
        raw_key(each.entity, each.landed_sha256, each.identity[2], each.parser_version, each.mapping) for each in found
    ]
    if found[0].is_packed and keys != [each.key for each in found]:
        raise Damaged(f"{found[0].folder} holds a landed file that is not named by its bytes.")
    return raw_root(settings) / found[0].entity / (pack_key(keys) if found[0].is_packed else keys[0])


def raise_damaged(folder: Path) -> None:
    """What to do on damage where all of raw is needed."""
    raise damaged_index(folder)


def damaged_index(folder: Path) -> Damaged:
    """Say that the index of a raw folder is damaged or missing, and what to do."""
    return Damaged(
        f"{folder / 'index.json'} is damaged or missing. The next run makes the folder again from what "
        "landed; if the landed file is no longer there, land it again."
    )
