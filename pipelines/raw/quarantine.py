"""Damaged raw folders: never removed before there is another in their place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.raw.catalog import indexes
from pipelines.raw.index import folder_of, from_index
from pipelines.raw.layout import INDEXES, KEYS, raw_folders

QUARANTINE_PREFIX = ".damaged-"


def quarantine(folder: Path) -> Path:
    """Rename a raw folder out of the way until another takes its place: the next `ingest` makes a damaged one again
    from what landed. Returns its new path."""
    (folder.parents[2] / INDEXES).unlink(missing_ok=True)  # what is remembered of it goes too
    return folder.rename(folder.with_name(QUARANTINE_PREFIX + folder.name))


def restore_quarantined(settings: Settings) -> list[Path]:
    """Remove quarantined folders that have been made again; put the others back. Returns those that were put back.

    A pack has been made again when each of its landed files is in some folder: the next run may read it with others.
    """
    lost = []
    for aside in _all_quarantined(settings):
        named = folder = aside.with_name(aside.name.removeprefix(QUARANTINE_PREFIX))
        keys = None
        with suppress(OSError, ValueError, msgspec.MsgspecError, Damaged):  # its index is damaged, too
            folder = folder_of(settings, from_index(aside, (aside / "index.json").read_bytes()))
        with suppress(OSError, ValueError):
            content = (aside / KEYS).read_bytes()
            keys = set(json.loads(content)) if hashlib.sha256(content).hexdigest() == named.name else None
        # safeguard: pack-stays-until-all-of-it-is-read-again
        if folder.exists() or (keys and keys <= {raw.key for raw in indexes(settings, on_damage=lambda _: None)}):
            shutil.rmtree(aside)
        else:
            aside.rename(folder)
            if folder == named:
                lost.append(folder)  # or nothing but its name was wrong
    return lost


def _all_quarantined(settings: Settings) -> list[Path]:
    return [
        folder / name
        for folder in raw_folders(settings)
        for name in sorted(os.listdir(folder))  # noqa: PTH208 (names are enough, of thousands)
        if name.startswith(QUARANTINE_PREFIX)
    ]
