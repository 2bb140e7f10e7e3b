"""What raw holds: every folder whose index can be read, and whether some landed bytes are in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path

import msgspec

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.landing import Stamp
from pipelines.landing.schema import ENTITIES
from pipelines.raw.index import folder_of, from_index, raise_damaged
from pipelines.raw.index_cache import remembered
from pipelines.raw.layout import INDEX, raw_key, raw_root
from pipelines.raw.raw_file import RawFile, stamp_of
from pipelines.raw.raw_folder import RawFiles, RawFolder, keys_of, packed_keys
from pipelines.raw.readings import latest_parsed


def raw_files(settings: Settings) -> list[RawFile]:
    """Every landed file in raw, by (entity, key): for each landed file's bytes as the latest parser read it.

    Raises Damaged for an index that cannot be read.
    """
    return list(latest_parsed(read_raw(settings, on_damage=raise_damaged)))


def every_raw_file(settings: Settings) -> list[RawFile]:
    """Every complete raw folder, also those of earlier parsers. Raises Damaged for an index that cannot be read."""
    return list(indexes(settings, on_damage=raise_damaged))


def exists(
    settings: Settings, entity: str, landed_sha256: str, read_as: str, mapping: str, packed: Collection[str]
) -> bool:
    """Whether raw holds a landed file of these bytes; `packed` are the keys of those in packs."""
    key = raw_key(entity, landed_sha256, read_as, mapping=mapping)
    return key in packed or os.path.isfile(f"{settings.lake}/raw/{entity}/{key}/{INDEX}")  # noqa: PTH113 (of thousands)


def is_in_raw(settings: Settings) -> Callable[[str, str, str, str], bool]:
    """Tells of (entity, sha256, read as, mapping) whether raw has a folder for it that counts."""

    @cache
    def there() -> RawFiles:
        return read_raw(settings, on_damage=lambda _: None)

    @cache
    def packed() -> frozenset[str]:
        return packed_keys(there())

    @cache
    def superseded() -> set[str]:
        return set(keys_of(there())) - set(keys_of(latest_parsed(there())))

    def is_there(entity: str, landed_sha256: str, read_as: str, mapping: str) -> bool:
        key = raw_key(entity, landed_sha256, read_as, mapping=mapping)
        return exists(settings, entity, landed_sha256, read_as, mapping, packed()) and key not in superseded()

    return is_there


def indexes(settings: Settings, on_damage: Callable[[Path], object]) -> Iterator[RawFile]:
    """Every landed file of the raw folders whose index can be read, by entity and folder."""
    for folder in read_raw(settings, on_damage).folders:
        yield from folder.landed


def read_raw(settings: Settings, on_damage: Callable[[Path], object]) -> RawFiles:
    """All of raw whose index can be read, by entity and folder. An index is parsed when it was written, not again."""
    known = remembered(settings).folders
    folders: list[RawFolder] = []
    stamps: dict[str, Stamp] = {}
    for entity in ENTITIES:
        root = raw_root(settings) / entity
        if not root.is_dir():
            continue
        for name in sorted(os.listdir(root)):  # noqa: PTH208 (names are enough, of thousands)
            if name.startswith("."):
                continue
            stamp = stamp_of(f"{root}/{name}/index.json")
            stamp_then, folder = known.get(f"{entity}/{name}", (None, None))
            if folder is None or stamp_then != stamp:  # safeguard: index-that-was-written-is-parsed
                folder = _parsed(root / name, settings, on_damage)
            if folder is not None:
                folders.append(folder)
                if stamp is not None:
                    stamps[f"{entity}/{name}"] = stamp
    return RawFiles(folders, stamps)


def _parsed(folder: Path, settings: Settings, on_damage: Callable[[Path], object]) -> RawFolder | None:
    """What the index of a folder says; None of what is no folder, or damaged."""
    try:
        found = from_index(folder, (folder / "index.json").read_bytes())
        if folder_of(settings, found) != folder:
            raise Damaged(f"{folder} is not named by what is in it.")
    except NotADirectoryError:
        return None
    except (FileNotFoundError, ValueError, msgspec.MsgspecError, Damaged):
        on_damage(folder)  # it got its name whole: an index that is not there was lost
        return None
    return RawFolder.of(found)
