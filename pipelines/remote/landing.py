"""Landing folders in buckets: what is not in raw yet is downloaded to be read, or only listed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.core import durable_files
from pipelines.core.settings import Settings
from pipelines.landing import Ignored, LandedFile, landed_file_of, printable_name, unfinished_part
from pipelines.landing.content import HEAD_BYTES, looks_landed
from pipelines.landing.files import UNKNOWN_KIND
from pipelines.landing.mapping import MAPPING_NAME, UNMAPPED, EntityMapping, parse_mappings
from pipelines.landing.schema import ENTITIES
from pipelines.raw.ingest import FoundFile
from pipelines.raw.raw_file import RawFile
from pipelines.remote.mirror import read_record, write_record
from pipelines.remote.objects import Found, Objects, map_concurrently

IsInRaw = Callable[[str, str, str, str], bool]


class Downloaded(NamedTuple):
    """What has landed in a bucket."""

    folder: Path  # the local one that holds what is new
    in_raw: list[tuple[LandedFile, str]]  # the others, each with the sha256 of its bytes


def download_new(settings: Settings, objects: Objects, is_in_raw: IsInRaw) -> Downloaded:
    """Download what landed in a bucket and is not in raw.

    `is_in_raw(entity, sha256, read_as, mapping)` tells whether raw holds what a landed file of these bytes comes to. An
    object that changes while it is fetched waits for the next run, like any file. Raises UsageError for a mapping that
    says what it cannot say.
    """
    folder, record = _places(settings, objects)
    known = read_record(record)  # name -> [etag, sha256]
    found = {name: one for name, one in objects.listed().items() if _may_land(name)}
    mappings = _mappings(objects, found)
    in_raw = {
        name: landed
        for name, one in found.items()
        if isinstance(landed := _landed_file(folder, name, mappings, known.get(name), one), LandedFile)
        and _is_known(known.get(name), one, landed, is_in_raw)
    }
    wanted = found.keys() - in_raw.keys()
    durable_files.make_folder(folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()

    def bring(name: str) -> None:
        with objects.downloaded(name, folder / name, etag=found[name].etag) as (temporary, etag):
            if etag is None:
                return
            known[name] = [etag, durable_files.sha256_of(temporary)]
            if _is_unknown_kind(landed_file_of(folder, name, mappings)):
                with temporary.open("rb") as file:
                    known[name].append(_is_data(name, mappings, file.read(HEAD_BYTES)))
            modified = int(found[name].modified.timestamp() * 1e9)
            os.utime(temporary, ns=(modified, modified))
            temporary.rename(folder / name)

    map_concurrently(
        bring, sorted(name for name in wanted if not _is_here(folder / name, known.get(name), found[name]))
    )
    durable_files.make_folder(settings.lake)
    write_record(record, objects.url, {name: known[name] for name in known if name in found})
    return Downloaded(folder, [(landed, str(known[name][1])) for name, landed in in_raw.items()])


@dataclass(frozen=True)
class Pending:
    """What has landed in a folder in a bucket and what of it is not in raw yet, by its listing alone."""

    found: list[FoundFile]
    ignored: list[tuple[str, str]]  # (URL, why it is not read)
    unfinished: list[tuple[str, str]]  # (entity, name) of what is not complete yet, by its name


def list_pending(settings: Settings, objects: Objects, is_in_raw: IsInRaw, raw: Iterable[RawFile]) -> Pending:
    """List what a run would find there: writes nothing, and leaves a run at work alone.

    Nothing is downloaded but the first bytes of objects of unknown extensions that no run has fetched.

    A landed file is in raw if a run of this home noted these very bytes of it; each other one the next run fetches.
    """
    folder, record = _places(settings, objects)
    known = read_record(record)
    names = {(each.entity, each.landed_name) for each in raw}
    listed = {name: one for name, one in objects.listed().items() if _is_a_path(name)}
    mappings = _mappings(objects, listed)
    found: list[FoundFile] = []
    ignored: dict[str, str] = {}
    unfinished: dict[str, None] = {}
    for name, one in sorted(listed.items()):
        if (part := unfinished_part(name)) is not None:
            if "/" in part and part.partition("/")[0] in ENTITIES:
                unfinished[part] = None
            continue
        if name == MAPPING_NAME:
            continue
        landed = _landed_file(folder, name, mappings, known.get(name), one)
        if _is_unknown_kind(landed) and _is_data(name, mappings, objects.head(name, HEAD_BYTES)):
            landed = landed_file_of(folder, name, mappings, is_data=True)
        if isinstance(landed, Ignored):
            ignored[f"{objects.url}/{landed.path.relative_to(folder).as_posix()}"] = landed.reason
            continue
        sha256 = str(known[name][1]) if _is_known(known.get(name), one, landed, is_in_raw) else None
        was_read = sha256 is None and (name in known or (landed.entity, landed.name) in names)
        found.append(FoundFile(landed, one.size, one.modified.timestamp(), sha256, was_read))
    named_unfinished = [(name.partition("/")[0], printable_name(Path(name))) for name in unfinished]
    return Pending(found, sorted(ignored.items()), named_unfinished)


def copies(objects: Objects, folder: Path, entities: Collection[str]) -> Iterator[str]:
    """Yield the name of each object of some entities, complete or not, while a copy of it alone is in `folder`.

    The mapping of the landing folder lies beside it.
    """
    names = {name for name in objects.listed() if _is_a_path(name)}
    wanted = sorted(name for name in names if name.partition("/")[0] in entities)
    for name in [MAPPING_NAME] * (MAPPING_NAME in names) + wanted:
        with objects.downloaded(name, folder / name) as (temporary, etag):
            if etag is None:  # it has been removed meanwhile
                continue
            temporary.rename(folder / name)
        if name != MAPPING_NAME:
            yield name
            (folder / name).unlink()


def _places(settings: Settings, objects: Objects) -> tuple[Path, Path]:
    """(the folder that objects are downloaded to, the file that notes which of them are in raw)"""
    name = hashlib.sha256(objects.url.encode()).hexdigest()[:16]
    return settings.home / "landed" / name, settings.lake / f"landed-{name}.json"


def _mappings(objects: Objects, found: Mapping[str, Found]) -> Mapping[str, EntityMapping]:
    """What the `mostwatched.toml` of the landing folder says, by entity. Raises UsageError."""
    if MAPPING_NAME not in found:
        return {}
    content, _ = objects.read(MAPPING_NAME) or (b"", "")
    return parse_mappings(content, f"{objects.url}/{MAPPING_NAME}")


def _landed_file(
    folder: Path, name: str, mappings: Mapping[str, EntityMapping], known: list[Any] | None, found: Found
) -> LandedFile | Ignored:
    """What an object is, by its name and by what its first bytes were found to be when it was fetched."""
    is_data = known is not None and known[0] == found.etag and known[2:] == [True]
    return landed_file_of(folder, name, mappings, is_data=is_data)


def _is_unknown_kind(landed: LandedFile | Ignored) -> bool:
    return isinstance(landed, Ignored) and landed.reason == UNKNOWN_KIND


def _is_data(name: str, mappings: Mapping[str, EntityMapping], head: bytes) -> bool:
    entity = name.partition("/")[0]
    return looks_landed(entity, name, mappings.get(entity, UNMAPPED), head)


def _is_known(known: list[Any] | None, found: Found, landed: LandedFile, is_in_raw: IsInRaw) -> bool:
    """Whether what an object comes to is in raw."""
    if known is None or known[0] != found.etag:
        return False
    return is_in_raw(landed.entity, known[1], landed.read_as, landed.mapping.digest)


def _is_here(path: Path, known: list[Any] | None, found: Found) -> bool:
    with suppress(OSError):
        return known is not None and known[0] == found.etag and path.stat().st_size == found.size
    return False


def _may_land(name: str) -> bool:
    return _is_a_path(name) and unfinished_part(name) is None


def _is_a_path(name: str) -> bool:
    return not {"", ".", ".."} & set(name.split("/"))
