"""Landed files -> raw: every landed file whose bytes are not in the lake yet gets into a raw folder (layout.py).

The same bytes under another name, or landed again tomorrow, change nothing. Records of forgotten users are left out
(erasure_register.py).
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from pipelines.core.durable_files import make_folder, name_folder, remove_leftover, sweep, temporary_beside
from pipelines.core.errors import Damaged
from pipelines.core.progress import BYTES, Progress, no_progress
from pipelines.core.settings import Settings
from pipelines.landing import (
    Blocks,
    Content,
    CorruptionStart,
    Ignored,
    LandedFile,
    Postponed,
    Source,
    Stamp,
    content_of,
    find_landed,
    open_landed,
    read_landed,
    require_landing,
    without_extension,
)
from pipelines.raw import erasure_register
from pipelines.raw.catalog import exists, indexes, read_raw
from pipelines.raw.index import as_index, from_index, raise_damaged, write_index
from pipelines.raw.index_cache import save_indexes, settled_blocks
from pipelines.raw.layout import INDEX, PARSER_VERSION, raw_folders, raw_key, raw_root
from pipelines.raw.packs import SMALL_BYTES, Counts, Packs, read_again
from pipelines.raw.quarantine import quarantine, restore_quarantined
from pipelines.raw.raw_file import BytesId, RawFile, bytes_id_of
from pipelines.raw.raw_folder import AlsoLanded, RawFiles, also_landed, by_folder, keys_of, packed_keys
from pipelines.raw.readings import latest_parsed, latest_readings
from pipelines.raw.seen_cache import LandedCache
from pipelines.raw.writer import RawWriter


@dataclass(frozen=True)
class PostponedFile:
    """A landed file that could not be read now; the next run tries again."""

    entity: str
    name: str
    reason: str


@dataclass(frozen=True)
class UnreadableFiles:
    """What is known of the landed files that cannot be read.

    One that is gone, with nothing in its place, is neither: what was in it is still missing.
    """

    there: tuple[RawFile, ...] = ()  # they stand in a landing folder
    replaced: frozenset[str] = frozenset()  # keys of those that are gone, and by whose names something else has landed


NONE_UNREADABLE = UnreadableFiles()


@dataclass(frozen=True)
class IngestReport:
    """What one run of `ingest` did."""

    landed_files: int  # complete files found under the landing roots
    new: tuple[RawFile, ...]  # those that were read into raw
    postponed: tuple[PostponedFile, ...]
    ignored: tuple[Ignored, ...]  # not a landed file: unknown folders and extensions, symlinks, FIFOs
    raw: Sequence[RawFile] = ()  # every landed file in raw after it, also as earlier parsers read them
    again: tuple[str, ...] = ()  # names of files of sessions without a record, whose bytes the lake has by another name
    unreadable: UnreadableFiles = NONE_UNREADABLE

    @property
    def new_files(self) -> int:
        """Landed files whose bytes were not in the lake."""
        return len(self.new)

    @property
    def new_records(self) -> int:
        """Records in them, accepted or not."""
        return sum(raw.records for raw in self.new)

    @property
    def new_accepted(self) -> int:
        """Records in them that became rows of raw."""
        return sum(raw.accepted for raw in self.new)

    @property
    def new_rejected(self) -> int:
        """Records in them that were rejected, each kept with its reason."""
        return sum(raw.rejected for raw in self.new)


# --- landed files -> raw ----------------------------------------------------------------------------------------


# Called as spread(function, items): what `function` returns for each item, wherever it is run and if need be again.
MapTasks = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def ingest(
    settings: Settings,
    landing: Sequence[Path] | None = None,
    progress: Progress = no_progress,
    map_tasks: MapTasks | None = None,
    in_buckets: Iterable[tuple[LandedFile, str]] = (),
) -> IngestReport:
    """Read every landed file whose bytes are not in the lake yet; by default those under the home's own landing folder.

    One bad line never stops a file, one bad file never stops the run. With `map_tasks` the files are read by workers,
    which see them under the same paths; the result is the same. `in_buckets` is what else has landed and is in raw,
    each with the sha256 of its bytes. Raises UsageError for a landing folder that does not
    exist, Damaged for a raw folder that can be made from nothing that is there. Needs the lock of the home.
    """
    if landing is None:
        make_folder(settings.landing)
        landing = [settings.landing]
    quarantined: list[Path] = []
    there = read_raw(settings, on_damage=lambda folder: quarantined.append(quarantine(folder)))
    # Where bytes were read by a mapping, it matters which file of theirs comes first.
    mapped = {folder.entity for folder in there.folders if folder.is_mapped}  # safeguard: mapped-bytes-are-looked-at
    blocks = Blocks(settled_blocks(settings, there), mapped)
    files, ignored = find_landed([*landing, *erasure_register.landing(settings)], blocks)
    downloads = settings.home / "landed"  # which hold nothing but what is new
    used = blocks.roots | {file.root for file in files}
    require_landing([root for root in landing if root.parent != downloads], used)
    register = erasure_register.read(settings)
    register.require_key()  # before anything is read without it
    seen = LandedCache(settings.lake / "landed.json")
    to_read = [_bytes_to_read(file, seen) for file in files]
    entities = {file.entity for file in files}
    apart = RawFiles([folder for folder in there.folders if folder.entity in entities])
    parsed = frozenset(keys_of(latest_parsed(apart)))
    empty = _empty_sessions(apart)
    find = _finder(apart)
    readings = _Readings(latest_readings(RawFiles([folder for folder in apart.folders if folder.is_mapped])))
    sizes = _large_sizes(apart)
    aliases = _aliases(each for folder in apart.folders for each in folder.also_landed)
    new: list[RawFile] = []
    restored: list[RawFile] = []  # folders of a mapping that was in force before, and is so again
    again: list[str] = []
    postponed: list[PostponedFile] = []
    packed = packed_keys(apart)
    read_apart = (
        _read_apart(settings, files, seen, aliases, readings, packed, map_tasks) if map_tasks is not None else {}
    )
    sizes |= {(raw.entity, raw.landed_bytes) for raw in read_apart.values()}
    read, total = 0, sum(size for size, _ in to_read)
    landed = list(in_buckets)  # with the sha256 of its bytes
    not_read: list[tuple[LandedFile, str]] = []  # by itself: it was in raw, or is once the packs are whole
    with Packs(settings, register) as packs:
        for file, (size, sha256) in zip(files, to_read, strict=True):
            if sha256 is not None and (key := _key(file, sha256)) in parsed:  # not even opened
                readings.claim(file, sha256)
                landed.append((file, sha256))
                if is_new_name_of_empty_file(empty.get(key), file):
                    again.append(file.name)
                continue

            def tell(position: int, file: LandedFile = file, before: int = read, size: int = size) -> None:
                progress(f"read {file.name}", before + min(position, size), total, BYTES)

            tell(0)
            read += size
            try:
                raw = ingest_file(settings, file, seen, register, tell, sizes, aliases, readings, packed, packs)
            except Postponed as error:
                postponed.append(PostponedFile(file.entity, file.name, str(error)))
                continue
            landed.append((file, raw if isinstance(raw, str) else raw.landed_sha256))
            if isinstance(raw, str):
                raw = read_apart.pop(_id(file, raw), raw)
            if isinstance(raw, RawFile):
                new.append(raw)
                sizes.add((raw.entity, raw.landed_bytes))
                continue
            restored += readings.restored(file, aliases.get((file.entity, raw, file.read_as), raw), find)
            not_read.append((file, raw))
        new += packs.finish()
    empty |= {each.key: each for each in new if each.entity == "viewing_sessions" and not each.records}
    others = not_read if empty else ()
    again += [file.name for file, sha256 in others if is_new_name_of_empty_file(empty.get(_key(file, sha256)), file)]
    new.sort(key=lambda each: (each.entity, each.landed_name))
    if landing and not (blocks.passed_over and not files):  # else nothing was looked for, or everything is as it was
        seen.save(itertools.chain((file.location for file in files), blocks.locations()))
    progress("read landed files", total, total, BYTES)
    _restore_or_raise(settings)
    if new or quarantined or restored:  # one of those may just have had a wrong name
        there = read_raw(settings, on_damage=raise_damaged)
    readable = parsed.union(raw.key for raw in new) - _unreadable(apart, new)  # safeguard: unreadable-is-looked-at
    settled = _now_settled(blocks, files, seen, readable, frozenset(again))
    save_indexes(settings, there, settled | blocks.passed_over.keys())
    unreadable = find_unreadable(there, landed, blocks)
    return IngestReport(
        len(files) + blocks.files, tuple(new), tuple(postponed), tuple(ignored), there, tuple(again), unreadable
    )


def _empty_sessions(raw: RawFiles) -> dict[str, RawFile]:
    """The landed files of sessions without a record, by key: such files are all alike, and few."""
    folders = (folder for folder in raw.folders if folder.entity == "viewing_sessions" and folder.has_empty)
    return {each.key: each for folder in folders for each in folder.landed if not each.records}


def _unreadable(raw: RawFiles, new: Iterable[RawFile]) -> set[str]:
    """The keys of the landed files that could not be read, or not as a whole."""
    before = (each for folder in raw.folders if folder.has_unreadable for each in folder.landed)
    return {each.key for each in itertools.chain(before, new) if each.unreadable}


def _finder(raw: RawFiles) -> Callable[[str], RawFile | None]:
    """A function that finds a landed file by its key; all are looked at once it is asked for one."""

    @functools.cache
    def by_key() -> dict[str, RawFile]:
        return {each.key: each for each in raw}

    return lambda key: by_key().get(key)


def _now_settled(
    blocks: Blocks,
    files: Sequence[LandedFile],
    seen: LandedCache,
    parsed: AbstractSet[str],
    again: Collection[str],
) -> frozenset[str]:
    """The blocks all of whose files are in raw as they would be read now, and are the ones that were read.

    Not those with a file whose name alone tells something: see `is_new_name_of_empty_file`.
    """
    settled = {file.location for file in files if _is_settled(file, seen, parsed) and file.name not in again}
    return frozenset(
        name
        for name, (folder, names) in blocks.others.items()
        if name and all(f"{folder}/{each}" in settled for each in names)
    )


def _is_settled(file: LandedFile, seen: LandedCache, parsed: AbstractSet[str]) -> bool:
    _, sha256 = _stamp_and_sha256(file, seen)  # safeguard: settled-by-the-stamp-that-was-read
    return sha256 is not None and not file.mapping.digest and _key(file, sha256) in parsed


def find_unreadable(
    raw: Sequence[RawFile], landed: Iterable[tuple[LandedFile, str]], blocks: Blocks | None = None
) -> UnreadableFiles:
    """The unreadable files; `landed` are the landed files that there are, each with the sha256 of its bytes.

    Not those that were passed over in `blocks`, all of which can be read.
    """
    apart = (each for folder in by_folder(raw) if folder.has_unreadable for each in folder.landed)
    found = [each for each in apart if each.unreadable and each.parser_version == PARSER_VERSION]
    if not found:
        return NONE_UNREADABLE
    counting = set(keys_of(latest_parsed(raw)))  # a mapping may have made one readable
    found = [each for each in found if each.key in counting]
    by_bytes, names = set(), set()
    for file, sha256 in landed:
        by_bytes.add((file.entity, sha256, file.read_as))
        names.add((file.entity, without_extension(file.name)))  # what is corrected may land in another format
    gone = [each for each in found if each.identity not in by_bytes]
    return UnreadableFiles(
        tuple(each for each in found if each.identity in by_bytes),
        frozenset(
            each.key
            for each in gone
            if (each.entity, without_extension(each.landed_name)) in names
            or (blocks is not None and blocks.has_name(each.landed_name))  # safeguard: what-is-passed-over-replaces
        ),
    )


def _restore_or_raise(settings: Settings) -> None:
    if lost := restore_quarantined(settings):
        raise Damaged(
            f"{lost[0]} is damaged, and what it was parsed from is not in the landing folder: land that file again."
        )


def is_new_name_of_empty_file(raw: RawFile | None, file: LandedFile) -> bool:
    """Whether a file of sessions without a record landed under a name that its raw folder does not tell.

    Such files are all alike, so that one folder stands for all of them; that they landed is known by their names.
    """
    return raw is not None and file.entity == "viewing_sessions" and raw.landed_name != file.name and not raw.records


Identity: TypeAlias = tuple[str, str, str, str]  # (entity, sha256 of the landed bytes, how they are read, mapping)


def _id(file: LandedFile, sha256: str) -> Identity:
    return file.entity, sha256, file.read_as, file.mapping.digest


def _key(file: LandedFile, sha256: str) -> str:
    return raw_key(file.entity, sha256, file.read_as, mapping=file.mapping.digest)


def _id_of_raw(raw: RawFile) -> Identity:
    return *raw.identity, raw.mapping


@dataclass(frozen=True)
class _Readings:
    """By which mapping landed bytes were read last, and by which they are to be read now.

    Bytes that landed below two folders whose mappings differ are read by that of the first, in the order of names.
    """

    latest: dict[BytesId, tuple[int, str]]  # the highest reading, and its mapping; not of what never had one
    claims: dict[BytesId, str] = field(default_factory=dict)  # by this run: the mapping

    def claim(self, file: LandedFile, sha256: str) -> bool:
        """Whether it is this file's mapping that counts for its bytes."""
        bytes_id = bytes_id_of((file.entity, sha256, file.read_as))
        return self.claims.setdefault(bytes_id, file.mapping.digest) == file.mapping.digest

    def number(self, file: LandedFile, sha256: str) -> int:
        """The reading of a file that is read now."""
        if not self.claim(file, sha256):
            return -1  # never the highest
        reading, mapping = self.latest.get(bytes_id_of((file.entity, sha256, file.read_as)), (0, ""))
        return reading if mapping == file.mapping.digest else reading + 1

    def restored(self, file: LandedFile, sha256: str, find: Callable[[str], RawFile | None]) -> list[RawFile]:
        """The raw folder of a file, made to count again, if others of its bytes were made later by another mapping."""
        if not self.claim(file, sha256):  # safeguard: first-mapping-is-claimed
            return []
        reading, mapping = self.latest.get(bytes_id_of((file.entity, sha256, file.read_as)), (0, ""))
        if mapping == file.mapping.digest:
            return []
        raw = find(_key(file, sha256))
        if raw is None:
            return []
        now = msgspec.structs.replace(raw, reading=reading + 1)
        write_index(now)
        self.latest[raw.bytes_id] = (now.reading, raw.mapping)
        return [now]


def _sizes(raw: Iterable[RawFile]) -> set[tuple[str, int]]:
    """(entity, bytes) of every landed file whose bytes are in the lake, also of what became of it since."""
    return {(each.entity, size) for each in raw for size in (each.landed_bytes, *each.also_landed.values())}


def _large_sizes(raw: RawFiles) -> set[tuple[str, int]]:
    """The same without those that share a folder: one that is as small is known by its bytes (packs.py)."""
    alone = {(folder.entity, folder.only.landed_bytes) for folder in raw.folders if folder.only is not None}
    return alone | {(folder.entity, each.bytes) for folder in raw.folders for each in folder.also_landed}


def _aliases(also_landed: Iterable[AlsoLanded]) -> dict[tuple[str, str, str], str]:
    """The identity of what became of landed files since they were read -> the sha256 that they were read with."""
    return {(each.entity, each.sha256, each.read_as): each.read_with for each in also_landed}


def _bytes_to_read(file: LandedFile, seen: LandedCache) -> tuple[int, str | None]:
    """(how much of a landed file there is to read, the sha256 of its bytes if it is as it was when it was read).

    There is nothing to read of one that has been read, or that has just gone.
    """
    stamp, sha256 = _stamp_and_sha256(file, seen)
    return (0 if stamp is None or sha256 else stamp.size), sha256


def _stamp_and_sha256(file: LandedFile, seen: LandedCache) -> tuple[Stamp | None, str | None]:
    """(the stamp of a landed file if it is there, the sha256 of its bytes if it is as it was when it was read)."""
    try:
        stamp = Stamp.of(os.lstat(file.location))
    except OSError:
        return None, None
    return stamp, seen.get(file.location, stamp)


def _read_apart(
    settings: Settings,
    files: Sequence[LandedFile],
    seen: LandedCache,
    aliases: Mapping[tuple[str, str, str], str],
    readings: _Readings,
    packed: frozenset[str],
    map_tasks: MapTasks,
) -> dict[Identity, RawFile]:
    """Have the files read that are not in the lake, each by whoever it is spread to; the raw folders that are new.

    Files of one size may hold the same bytes, so that they are read by one, in order: which of them gives its name to
    the raw folder is the same as without spreading. What could not be read is left to whoever tries it next.
    """
    groups: dict[tuple[str, int], list[LandedFile]] = defaultdict(list)
    for file in files:
        with suppress(Postponed), open_landed(file.path, file.root) as source:
            sha256 = seen.get(file.path, source.stamp)
            known_as = None if sha256 is None else aliases.get((file.entity, sha256, file.read_as), sha256)
            if known_as is not None and exists(settings, *_id(file, known_as), packed):
                readings.claim(file, known_as)
            else:
                groups[file.entity, source.stamp.size].append(file)
    known = list(indexes(settings, on_damage=raise_damaged))
    sizes, keys = _sizes(known), frozenset(raw.key for raw in known)
    tasks = [_Reading(settings, tuple(group), key in sizes, aliases, readings, packed) for key, group in groups.items()]
    found: dict[Identity, RawFile] = {}
    for read in map_tasks(_read_group, tasks):
        for path, stamp, raw in read:
            seen.put(path, stamp, raw.landed_sha256)
            if raw.key not in keys:
                found.setdefault(_id_of_raw(raw), raw)
    for folder in raw_folders(settings):
        sweep(folder)  # what is left of tasks that were broken off
    return found


@dataclass(frozen=True)
class _Reading:
    """A task: files of one entity and one size, and whether the lake has bytes of that size."""

    settings: Settings
    files: tuple[LandedFile, ...]
    is_known_size: bool
    aliases: Mapping[tuple[str, str, str], str]
    readings: _Readings
    packed: frozenset[str]  # keys of the landed files in packs


def _read_group(task: _Reading) -> list[tuple[Path, Stamp, RawFile]]:
    """The raw folders of the files of a task, made now or by an attempt before; without those that cannot be read."""
    found = []
    nothing_seen = LandedCache(Path(os.devnull))
    register = erasure_register.read(task.settings)
    for number, file in enumerate(task.files):
        with suppress(Postponed):
            with open_landed(file.path, file.root) as source:
                stamp = source.stamp  # of before it is read: one that changes meanwhile will not be taken for read
            hash_first = {(file.entity, stamp.size)} if task.is_known_size or number else set()
            raw = ingest_file(
                task.settings,
                file,
                nothing_seen,
                register,
                lambda _: None,
                hash_first,
                task.aliases,
                task.readings,
                task.packed,
            )
            if isinstance(raw, str):
                sha256 = task.aliases.get((file.entity, raw, file.read_as), raw)
                key = raw_key(file.entity, sha256, file.read_as, mapping=file.mapping.digest)
                folder = raw_root(task.settings) / file.entity / key
                if not (folder / INDEX).exists():  # it is in a pack, which whoever spreads the files knows
                    continue
                (raw,) = from_index(folder, (folder / INDEX).read_bytes())
            found.append((file.path, stamp, raw))
    return found


@dataclass(frozen=True)
class FoundFile:
    """A landed file as it stands, without having been parsed."""

    landed: LandedFile
    size: int
    modified: float  # seconds since 1970
    sha256: str | None  # None: its bytes are not in the lake, so the next run reads it
    was_read: bool  # another content of this path was

    @property
    def identity(self) -> tuple[str, str, str]:
        """As of the raw folder that holds what it comes to, if there is one."""
        return self.landed.entity, self.sha256 or "", self.landed.read_as


def inspect(
    settings: Settings, landing: Sequence[Path], raw: Sequence[RawFile]
) -> tuple[list[FoundFile], IngestReport]:
    """Return what `ingest` would find: every landed file, and (as if nothing had been read) what is postponed or
    ignored.

    Parses nothing and writes nothing. A file that is not in the cache is hashed if the lake has bytes of its size.
    """
    roots = [root for root in landing if root.is_dir() or root != settings.landing]
    files, ignored = find_landed([*roots, *erasure_register.landing(settings)])
    seen = LandedCache(settings.lake / "landed.json")
    sizes, aliases = _sizes(raw), _aliases(also_landed(raw))
    packed = packed_keys(indexes(settings, on_damage=lambda _: None))
    names = {(each.entity, each.landed_name) for each in raw}
    parsed = {_id_of_raw(each) for each in latest_parsed(raw) if each.parser_version == PARSER_VERSION}
    found: list[FoundFile] = []
    postponed: list[PostponedFile] = []
    for file in files:
        stamp, sha256 = _stamp_and_sha256(file, seen)
        try:
            if stamp is None or sha256 is None:  # a file that was read before is not opened again
                with open_landed(file.path, file.root) as source:
                    stamp, sha256 = source.stamp, seen.get(file.path, source.stamp)
                    if sha256 is None and (file.entity, stamp.size) in sizes:
                        sha256 = source.sha256()
                        source.check_unchanged()
        except Postponed as error:
            postponed.append(PostponedFile(file.entity, file.name, str(error)))
            continue
        sha256 = aliases.get((file.entity, sha256, file.read_as), sha256) if sha256 is not None else None
        if sha256 is not None and _id(file, sha256) not in parsed:
            sha256 = sha256 if exists(settings, *_id(file, sha256), packed) else None
        was_read = sha256 is None and (seen.knows(file.path) or (file.entity, file.name) in names)
        found.append(FoundFile(file, stamp.size, stamp.mtime_ns / 1e9, sha256, was_read))
    return found, IngestReport(len(files), (), tuple(postponed), tuple(ignored))


def ingest_file(
    settings: Settings,
    file: LandedFile,
    seen: LandedCache,
    register: erasure_register.Register,
    tell: Callable[[int], None],
    hash_first: set[tuple[str, int]],
    aliases: Mapping[tuple[str, str, str], str],
    readings: _Readings,
    packed: frozenset[str],
    packs: Packs | None = None,
) -> RawFile | str:
    """The raw folder made of one landed file, or the sha256 of its bytes if they are in the lake, or in `packs`, which
    take small files. Raises Postponed."""

    def is_there(sha256: str) -> bool:
        return exists(settings, *_id(file, aliases.get((file.entity, sha256, file.read_as), sha256)), packed)

    with open_landed(file.path, file.root) as source:
        sha256 = seen.get(file.path, source.stamp)
        if sha256 is not None and is_there(sha256):
            return sha256
        content = content_of(file.entity, file.read_as, source, file.mapping)
        if packs is not None and source.stamp.size <= SMALL_BYTES:
            sha256 = packs.add(file, source, content, is_there, functools.partial(readings.number, file))
            if sha256 is not None:
                seen.put(file.path, source.stamp, sha256)
                tell(source.stamp.size)
                return sha256
            source.rewind()
        # Parquet is read from its end. And bytes of a size that the lake has are likely bytes that the lake has.
        if content.format == "parquet" or (file.entity, source.stamp.size) in hash_first:
            sha256 = source.sha256()
            source.check_unchanged()
            if is_there(sha256):
                seen.put(file.path, source.stamp, sha256)
                return sha256
            source.rewind()
        write = functools.partial(_write_raw, settings, file, source, register, tell, readings)
        raw = read_again(write, content, source.rewind)
        seen.put(file.path, source.stamp, raw.landed_sha256)
        return raw


def _write_raw(
    settings: Settings,
    file: LandedFile,
    source: Source,
    register: erasure_register.Register,
    tell: Callable[[int], None],
    readings: _Readings,
    content: Content,
    corruption: CorruptionStart | None,
) -> RawFile:
    """Read a file and write its raw folder, whole. `corruption` as for `read_landed`; raises what that does.

    How far it has been read is told as it goes on; Parquet is not read in order, and that is told at its end.

    Raises Postponed if the file changed. Nothing is left of a folder that could not be completed.
    """
    counts = Counts(file.entity, register)
    root = raw_root(settings) / file.entity
    make_folder(root)
    workshop = temporary_beside(root / "unnamed")  # the folder's name is known once the last byte was hashed
    workshop.mkdir()
    writer = RawWriter(file.entity, workshop)
    try:
        for batch in read_landed(file.entity, content, source, corruption, file.mapping):
            writer.append(counts.add(batch))
            if content.format != "parquet":
                tell(source.file.tell())
        files, rejects = writer.finish()
        if content.format == "parquet":  # was not read in order
            source.rewind()
        landed_sha256 = source.sha256()
        source.check_unchanged()
        raw = counts.landed(file, landed_sha256, source.stamp.size, readings.number(file, landed_sha256))
        raw = msgspec.structs.replace(raw, location=str(root / raw.key), files=files, rejects=rejects)
        (workshop / INDEX).write_bytes(as_index([raw]))
        name_folder(workshop, raw.folder)
        return raw
    finally:
        writer.abandon()
        remove_leftover(workshop)
