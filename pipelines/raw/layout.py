"""Raw on disk: immutable folders of what landed; a landed file is named by its bytes and by the parser that read them.

    <lake>/raw/<entity>/<name>/  of one landed file its key, of several (a pack) the sha256 of keys.json
        2013-07-01.parquet       sessions, one file a UTC day of startedAt; other entities: all.parquet
        rejects.parquet          what was not accepted: line, field, reason, text
        index.json               what is in the folder, and from which landed files; a folder without it does not exist
        keys.json                of a pack: the keys of its landed files, known though the index is lost

    key of a landed file = sha256 of "<landed sha256>:<entity>:<read as>:<PARSER_VERSION>[:<mapping>]"

The rows of a landed file in a pack stand one after the other, in its order, in every file that has some; so do its
rejected records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipelines.core.durable_files import json_bytes
from pipelines.core.settings import Settings
from pipelines.landing.schema import ENTITIES

# Raise it when the same landed bytes would give other rows, other rejects or other columns. Every landed file that is
# still there is then read again; raw of an earlier version counts only where no later one exists.
PARSER_VERSION = 6

INDEX, KEYS = "index.json", "keys.json"
INDEXES = "indexes.cache"  # in the lake, of this machine alone: see index_cache.py


def raw_root(settings: Settings) -> Path:
    """Where raw stands."""
    return settings.lake / "raw"


def raw_folders(settings: Settings) -> list[Path]:
    """The folders that hold raw folders, as far as they are there: by their names everything in raw is found."""
    root = raw_root(settings)
    return [folder for folder in (root, *(root / entity for entity in ENTITIES)) if folder.is_dir()]


def raw_key(entity: str, landed_sha256: str, read_as: str, parser_version: int | None = None, mapping: str = "") -> str:
    """The name of the raw folder of a landed file's bytes, as this parser (or that of `parser_version`) reads them.

    `read_as` is how: a file of NDJSON that landed as .csv was rejected, and is read once it is named .ndjson. `mapping`
    is the digest of what `mostwatched.toml` says of the entity.
    """
    version = PARSER_VERSION if parser_version is None else parser_version
    named = f"{landed_sha256}:{entity}:{read_as}:{version}"  # without a mapping as it always was
    return hashlib.sha256((f"{named}:{mapping}" if mapping else named).encode()).hexdigest()


def pack_key(keys: Iterable[str]) -> str:
    """The name of the raw folder of several landed files, by their keys: the sha256 of its keys.json."""
    return hashlib.sha256(keys_json(keys)).hexdigest()


def keys_json(keys: Iterable[str]) -> bytes:
    """The content of keys.json."""
    return json_bytes(sorted(keys))
