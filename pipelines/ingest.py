"""Landed files -> raw: one immutable folder a landed file, named by its bytes and by the parser that read them.

    <lake>/raw/<entity>/<key>/   key = sha256 of "<landed sha256>:<entity>:<PARSER_VERSION>"
        2013-07-01.parquet       sessions, one file a UTC day of startedAt; other entities: all.parquet
        rejects.parquet          what was not accepted: line, field, reason, text
        index.json               what is in the folder, and from which landed file; a folder without it does not exist

The same bytes under another name, or landed again tomorrow, change nothing. Who was forgotten is read as nobody
(forgotten.py); what `forget` and retention take out of a folder later, redaction.py says.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import forgotten
from pipelines.contracts import ENTITIES
from pipelines.errors import Damaged
from pipelines.landing import (
    Ignored,
    LandedFile,
    Postponed,
    Source,
    Stamp,
    Unbelievable,
    Unsoundness,
    count_unknown,
    find_landed,
    open_landed,
    read_landed,
)
from pipelines.raw_writer import RawWriter, WrittenFile, within_days
from pipelines.settings import Settings
from pipelines.store import (
    checked_bytes,
    make_folder,
    new_folder,
    sealed,
    sweep,
    temporary_beside,
    unsealed,
    write_bytes,
    write_json,
)

# Raise it when the same landed bytes would give other rows, other rejects or other columns. Every landed file that is
# still there is then read again; raw of an earlier version counts only where no later one exists.
PARSER_VERSION = 2


BYTES = "bytes"


class Progress(Protocol):
    """Told what is being done: a step in words, how many of its parts are done, of how many, and parts of what."""

    def __call__(self, step: str, done: int, total: int, unit: str = "") -> None: ...


def no_progress(step: str, done: int, total: int, unit: str = "") -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class RawFile:
    """One complete raw folder: its index."""

    folder: Path
    key: str
    entity: str
    landed_name: str  # under the landing root
    landed_sha256: str
    landed_bytes: int
    parser_version: int
    records: int  # = accepted + rejected
    accepted: int
    rejected: int
    blank: int  # lines without a record
    unknown_fields: dict[str, int]
    rejected_by_reason: dict[str, int]
    files: dict[str, WrittenFile]  # by UTC day of startedAt, or "all"
    rejects: WrittenFile | None  # its digest is ""
    redacted: int = 0  # records that name nobody any more, since whom they named was forgotten
    also_landed: dict[str, int] = field(default_factory=dict)  # sha256 -> bytes of the landed file without those
    expired: dict[str, int] = field(default_factory=dict)  # UTC day -> accepted records that retention has removed

    def path(self, name: str) -> Path:
        """Where the file of a day, or `all`, stands."""
        return self.folder / f"{name}.parquet"

    @property
    def rejects_path(self) -> Path:
        """Where the rejected records stand, if there are any."""
        return self.folder / "rejects.parquet"


@dataclass(frozen=True)
class PostponedFile:
    """A landed file that could not be read now; the next run tries again."""

    entity: str
    name: str
    reason: str


@dataclass(frozen=True)
class IngestReport:
    """What one run of `ingest` did."""

    landed_files: int  # complete files found under the landing roots
    new: tuple[RawFile, ...]  # those that were read into a new raw folder
    postponed: tuple[PostponedFile, ...]
    ignored: tuple[Ignored, ...]  # not a landed file: unknown folders and extensions, symlinks, FIFOs
    again: tuple[str, ...] = ()  # names of files of sessions without a record, whose bytes the lake has by another name

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


@dataclass(frozen=True)
class RejectedRecord:
    """One rejected record, as `mostwatched rejects` shows it."""

    entity: str
    file: str  # the landed file's name under the landing root
    line: int
    field: str | None
    reason: str
    text: str


# --- landed files -> raw ----------------------------------------------------------------------------------------


# Called as spread(function, items): what `function` returns for each item, wherever it is run and if need be again.
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def ingest(
    settings: Settings,
    landing: Sequence[Path] | None = None,
    progress: Progress = no_progress,
    spread: Spread | None = None,
) -> IngestReport:
    """Read every landed file whose bytes are not in the lake yet; by default those under the home's own landing folder.

    One bad line never stops a file, one bad file never stops the run. With `spread` the files are read by others, who
    see them under the same paths; what comes of it is the same. Raises UsageError for a landing folder that does not
    exist, Damaged for a raw folder that can be made from nothing that is there. Needs the lock of the home.
    """
    if landing is None:
        make_folder(settings.landing)
        landing = [settings.landing]
    files, ignored = find_landed([*landing, *forgotten.landing(settings)])
    register = forgotten.read(settings)
    seen = _LandedCache(settings.lake / "landed.json")
    known = {(raw.entity, raw.landed_sha256): raw for raw in _indexes(settings, on_damage=set_aside)}
    sizes, aliases = _sizes(known.values()), _aliases(known.values())
    new: list[RawFile] = []
    again: list[str] = []
    postponed: list[PostponedFile] = []
    read_apart = _read_apart(settings, files, seen, aliases, spread) if spread is not None else {}
    sizes |= {(raw.entity, raw.landed_bytes) for raw in read_apart.values()}
    to_read = {file: _bytes_to_read(file, seen) for file in files}
    read, total = 0, sum(to_read.values())
    for file in files:

        def tell(position: int, file: LandedFile = file, before: int = read) -> None:
            progress(f"read {file.name}", before + min(position, to_read[file]), total, BYTES)

        tell(0)
        read += to_read[file]
        try:
            raw = _ingest_file(settings, file, seen, register, tell, hash_first=sizes, aliases=aliases)
        except Postponed as error:
            postponed.append(PostponedFile(file.entity, file.name, str(error)))
            continue
        if isinstance(raw, str) and (file.entity, raw) in read_apart and (file.entity, raw) not in known:
            raw = read_apart[file.entity, raw]
        if isinstance(raw, RawFile):
            new.append(raw)
            known[raw.entity, raw.landed_sha256] = raw
            sizes.add((raw.entity, raw.landed_bytes))
        elif is_another_empty_one(known.get((file.entity, raw)), file):
            again.append(file.name)
    if landing:  # else nothing was looked for but erasures of our own
        seen.save({str(file.path.absolute()) for file in files})
    progress("read landed files", total, total, BYTES)
    lost = settle(settings)
    if lost:
        raise Damaged(
            f"{lost[0]} is damaged, and what it was parsed from is not in the landing folder: land that file again."
        )
    return IngestReport(len(files), tuple(new), tuple(postponed), tuple(ignored), tuple(again))


def is_another_empty_one(raw: RawFile | None, file: LandedFile) -> bool:
    """Whether a file of sessions without a record landed under a name that its raw folder does not tell.

    Such files are all alike, so that one folder stands for all of them; that they landed is known by their names.
    """
    return raw is not None and file.entity == "viewing_sessions" and raw.landed_name != file.name and not raw.records


def _sizes(raw: Iterable[RawFile]) -> set[tuple[str, int]]:
    """(entity, bytes) of every landed file whose bytes are in the lake, also of what became of it since."""
    return {(each.entity, size) for each in raw for size in (each.landed_bytes, *each.also_landed.values())}


def _aliases(raw: Iterable[RawFile]) -> dict[tuple[str, str], str]:
    """(entity, sha256) of what became of landed files since they were read -> the sha256 that they were read with."""
    return {(each.entity, sha256): each.landed_sha256 for each in raw for sha256 in each.also_landed}


def _bytes_to_read(file: LandedFile, seen: _LandedCache) -> int:
    """How much of a landed file there is to read, for those who wait: nothing if it has been read, or has just gone."""
    try:
        stamp = Stamp.of(os.lstat(file.path))
    except OSError:
        return 0
    return 0 if seen.get(file.path, stamp) else stamp.size


def _ingest_file(
    settings: Settings,
    file: LandedFile,
    seen: _LandedCache,
    register: forgotten.Register,
    tell: Callable[[int], None],
    hash_first: set[tuple[str, int]],
    aliases: Mapping[tuple[str, str], str],
) -> RawFile | str:
    """The raw folder made of one landed file, or the sha256 of its bytes if they are in the lake. Raises Postponed."""
    with open_landed(file.path, file.root) as source:
        sha256 = seen.get(file.path, source.stamp)
        if sha256 is not None and stands(settings, file.entity, aliases.get((file.entity, sha256), sha256)):
            return sha256
        # Parquet is read from its end. And bytes of a size that the lake has are likely bytes that the lake has.
        if file.format == "parquet" or (file.entity, source.stamp.size) in hash_first:
            sha256 = source.sha256()
            source.check_unchanged()
            if stands(settings, file.entity, aliases.get((file.entity, sha256), sha256)):
                seen.put(file.path, source.stamp, sha256)
                return sha256
            source.rewind()
        try:
            raw = _write_raw(settings, file, source, register, tell)
        except Unbelievable as error:
            source.rewind()
            raw = _write_raw(settings, file, source, register, tell, error.unsound)
        seen.put(file.path, source.stamp, raw.landed_sha256)
        return raw


def _read_apart(
    settings: Settings,
    files: Sequence[LandedFile],
    seen: _LandedCache,
    aliases: Mapping[tuple[str, str], str],
    spread: Spread,
) -> dict[tuple[str, str], RawFile]:
    """Have the files read that are not in the lake, each by whoever it is spread to; the raw folders of their bytes.

    Files of one size may hold the same bytes, so that they are read by one, in order: which of them gives its name to
    the raw folder is the same as without spreading. What could not be read is left to whoever tries it next.
    """
    groups: dict[tuple[str, int], list[LandedFile]] = defaultdict(list)
    for file in files:
        with suppress(Postponed), open_landed(file.path, file.root) as source:
            sha256 = seen.get(file.path, source.stamp)
            if sha256 is None or not stands(settings, file.entity, aliases.get((file.entity, sha256), sha256)):
                groups[file.entity, source.stamp.size].append(file)
    known = _sizes(_indexes(settings, on_damage=_complain))
    tasks = [_Reading(settings, tuple(group), key in known, aliases) for key, group in groups.items()]
    found: dict[tuple[str, str], RawFile] = {}
    for read in spread(_read_group, tasks):
        for path, stamp, raw in read:
            seen.put(path, stamp, raw.landed_sha256)
            found.setdefault((raw.entity, raw.landed_sha256), raw)
    for folder in raw_folders(settings):
        sweep(folder)  # what is left of tasks that were broken off
    return found


@dataclass(frozen=True)
class _Reading:
    """A task: files of one entity and one size, and whether the lake has bytes of that size."""

    settings: Settings
    files: tuple[LandedFile, ...]
    is_known_size: bool
    aliases: Mapping[tuple[str, str], str]


def _read_group(task: _Reading) -> list[tuple[Path, Stamp, RawFile]]:
    """The raw folders of the files of a task, made now or by an attempt before; without those that cannot be read."""
    found = []
    nothing_seen = _LandedCache(Path(os.devnull))
    register = forgotten.read(task.settings)
    for number, file in enumerate(task.files):
        with suppress(Postponed):
            with open_landed(file.path, file.root) as source:
                stamp = source.stamp  # of before it is read: one that changes meanwhile will not be taken for read
            hash_first = {(file.entity, stamp.size)} if task.is_known_size or number else set()
            raw = _ingest_file(
                task.settings,
                file,
                nothing_seen,
                register,
                lambda _: None,
                hash_first=hash_first,
                aliases=task.aliases,
            )
            if isinstance(raw, str):
                sha256 = task.aliases.get((file.entity, raw), raw)
                folder = _raw_root(task.settings) / file.entity / raw_key(file.entity, sha256)
                raw = _from_index(folder, (folder / "index.json").read_bytes())
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


def look(settings: Settings, landing: Sequence[Path], raw: Sequence[RawFile]) -> tuple[list[FoundFile], IngestReport]:
    """What `ingest` would find: every landed file, and (as if nothing had been read) what is postponed or ignored.

    Parses nothing and writes nothing. A file that is not in the cache is hashed if the lake has bytes of its size.
    """
    roots = [root for root in landing if root.is_dir() or root != settings.landing]
    files, ignored = find_landed([*roots, *forgotten.landing(settings)])
    seen = _LandedCache(settings.lake / "landed.json")
    sizes, aliases = _sizes(raw), _aliases(raw)
    names = {(each.entity, each.landed_name) for each in raw}
    found: list[FoundFile] = []
    postponed: list[PostponedFile] = []
    for file in files:
        try:
            with open_landed(file.path, file.root) as source:
                sha256 = seen.get(file.path, source.stamp)
                if sha256 is None and (file.entity, source.stamp.size) in sizes:
                    sha256 = source.sha256()
                    source.check_unchanged()
        except Postponed as error:
            postponed.append(PostponedFile(file.entity, file.name, str(error)))
            continue
        sha256 = aliases.get((file.entity, sha256), sha256) if sha256 is not None else None
        if sha256 is not None and not stands(settings, file.entity, sha256):
            sha256 = None
        was_read = sha256 is None and (seen.knows(file.path) or (file.entity, file.name) in names)
        found.append(FoundFile(file, source.stamp.size, source.stamp.mtime_ns / 1e9, sha256, was_read))
    return found, IngestReport(len(files), (), tuple(postponed), tuple(ignored))


def _write_raw(
    settings: Settings,
    file: LandedFile,
    source: Source,
    register: forgotten.Register,
    tell: Callable[[int], None],
    unsound: Unsoundness | None = None,
) -> RawFile:
    """Read a file and leave its raw folder, whole. `unsound` as for `read_landed`, which may raise Unbelievable.

    How far it has been read is told as it goes on; Parquet is not read in order, and that is told at its end.

    Raises Postponed if the file changed. Nothing is left of a folder that could not be completed.
    """
    unknown: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    days: set[date] = set()
    accepted = blank = 0
    root = _raw_root(settings) / file.entity
    make_folder(root)
    workshop = temporary_beside(root / "unnamed")  # the folder's name is known once the last byte was hashed
    workshop.mkdir()
    writer = RawWriter(file.entity, workshop)
    try:
        for read in read_landed(file, source, unsound):
            batch = within_days(read, days) if file.entity == "viewing_sessions" else read
            batch = register.screened(file.entity, batch)
            writer.append(batch)
            accepted += batch.accepted.num_rows
            blank += batch.blank
            reasons.update(each.reason for each in batch.rejected)
            for name, times in batch.unknown_fields.items():
                count_unknown(unknown, name, times)
            if file.format != "parquet":
                tell(source.file.tell())
        files, rejects = writer.finish()
        if file.format == "parquet":  # was not read in order
            source.rewind()
        landed_sha256 = source.sha256()
        source.check_unchanged()
        key = raw_key(file.entity, landed_sha256)
        raw = RawFile(
            folder=root / key,
            key=key,
            entity=file.entity,
            landed_name=file.name,
            landed_sha256=landed_sha256,
            landed_bytes=source.stamp.size,
            parser_version=PARSER_VERSION,
            records=accepted + reasons.total(),
            accepted=accepted,
            rejected=reasons.total(),
            blank=blank,
            unknown_fields=dict(sorted(unknown.items())),
            rejected_by_reason=dict(sorted(reasons.items())),
            files=files,
            rejects=rejects,
        )
        with new_folder(raw.folder) as folder:
            for path in workshop.iterdir():
                path.rename(folder / path.name)
            write_json(folder / "index.json", as_index(raw))
        return raw
    finally:
        writer.abandon()
        shutil.rmtree(workshop, ignore_errors=True)


def raw_key(entity: str, landed_sha256: str, parser_version: int | None = None) -> str:
    """The name of the raw folder of a landed file's bytes, as this parser (or that of `parser_version`) reads them."""
    version = PARSER_VERSION if parser_version is None else parser_version
    return hashlib.sha256(f"{landed_sha256}:{entity}:{version}".encode()).hexdigest()


# --- raw --------------------------------------------------------------------------------------------------------


def raw_files(settings: Settings) -> list[RawFile]:
    """Every complete raw folder, by (entity, key): for each landed file's bytes the one of the latest parser.

    Raises Damaged for an index that cannot be read.
    """
    latest: dict[tuple[str, str], RawFile] = {}
    for raw in _indexes(settings, on_damage=_complain):
        known = latest.get((raw.entity, raw.landed_sha256))
        if known is None or known.parser_version < raw.parser_version:
            latest[raw.entity, raw.landed_sha256] = raw
    return sorted(latest.values(), key=lambda raw: (raw.entity, raw.key))


def every_raw_file(settings: Settings) -> list[RawFile]:
    """Every complete raw folder, also those of earlier parsers. Raises Damaged for an index that cannot be read."""
    return list(_indexes(settings, on_damage=_complain))


def raw_folders(settings: Settings) -> list[Path]:
    """The folders that hold raw folders, as far as they are there: by their names everything in raw is found."""
    root = _raw_root(settings)
    return [folder for folder in (root, *(root / entity for entity in ENTITIES)) if folder.is_dir()]


def rejected_records(settings: Settings) -> Iterator[RejectedRecord]:
    """Every rejected record of the lake by (entity, file, line), read as it is asked for."""
    with_rejects = [raw for raw in raw_files(settings) if raw.rejects]
    for raw in sorted(with_rejects, key=lambda raw: (raw.entity, raw.landed_name, raw.key)):
        assert raw.rejects is not None
        try:
            content = checked_bytes(raw.rejects_path, raw.rejects.sha256)
        except Damaged as error:
            raise Damaged(f"{error} Run again: that parses it again from what landed.") from error
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    yield RejectedRecord(raw.entity, raw.landed_name, **row)


# --- damaged folders: never removed before there is another in their place -----------------------------------------


SET_ASIDE_PREFIX = ".damaged-"


def set_aside(folder: Path) -> Path:
    """Take a raw folder out of the way until there is another in its place: for a damaged one the next `ingest` makes
    it again from what landed. Returns where it is now."""
    return folder.rename(folder.with_name(SET_ASIDE_PREFIX + folder.name))


def settle(settings: Settings) -> list[Path]:
    """Remove what was set aside and has been made again; put the rest back. Returns the folders that were put back."""
    lost = []
    for aside in sorted(_raw_root(settings).glob(f"*/{SET_ASIDE_PREFIX}*")):
        named = folder = aside.with_name(aside.name.removeprefix(SET_ASIDE_PREFIX))
        with suppress(OSError, ValueError, msgspec.MsgspecError):  # its index is damaged, too
            folder = _folder_of(settings, _from_index(aside, (aside / "index.json").read_bytes()))
        if folder.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(folder)
            if folder == named:
                lost.append(folder)  # or nothing but its name was wrong
    return lost


def _raw_root(settings: Settings) -> Path:
    return settings.lake / "raw"


def stands(settings: Settings, entity: str, landed_sha256: str) -> bool:
    """Whether raw holds what a landed file of these bytes comes to."""
    return (_raw_root(settings) / entity / raw_key(entity, landed_sha256) / "index.json").is_file()


def _complain(folder: Path) -> None:
    raise Damaged(
        f"{folder / 'index.json'} is damaged or missing. The next run makes the folder again from what "
        "landed; if the landed file is no longer there, land it again."
    )


def _indexes(settings: Settings, on_damage: Any) -> Iterator[RawFile]:
    for entity in ENTITIES:
        root = _raw_root(settings) / entity
        if not root.is_dir():
            continue
        for folder in sorted(root.iterdir()):
            if folder.name.startswith("."):
                continue
            try:
                raw = _from_index(folder, (folder / "index.json").read_bytes())
                if _folder_of(settings, raw) != folder:
                    raise Damaged(f"{folder} is not named by what is in it.")
            except NotADirectoryError:
                continue
            except (FileNotFoundError, ValueError, msgspec.MsgspecError, Damaged):
                on_damage(folder)  # it got its name whole: an index that is not there was lost
            else:
                yield raw


def as_index(raw: RawFile) -> dict[str, Any]:
    """What index.json says of a raw folder."""
    index: dict[str, Any] = {
        name: getattr(raw, name) for name in RawFile.__dataclass_fields__ if name not in ("folder", "key")
    }
    for name in ("redacted", "also_landed", "expired"):  # only of folders that are no longer what was parsed
        if not index[name]:
            del index[name]
    index["files"] = {name: vars(file) for name, file in raw.files.items()}
    index["rejects"] = (
        {name: getattr(raw.rejects, name) for name in ("rows", "bytes", "sha256")} if raw.rejects else None
    )
    return sealed(index)


def _from_index(folder: Path, content: bytes) -> RawFile:
    index = unsealed(content)
    if index.get("rejects"):
        index["rejects"] = {**index["rejects"], "digest": "", "newest": None}
    return msgspec.convert({**index, "folder": folder, "key": folder.name}, RawFile, dec_hook=lambda _, path: path)


def _folder_of(settings: Settings, raw: RawFile) -> Path:
    """Where a raw folder belongs, by what its index says."""
    return _raw_root(settings) / raw.entity / raw_key(raw.entity, raw.landed_sha256, raw.parser_version)


# --- which files were read already ------------------------------------------------------------------------------


_CLOCK_TICK_NS = 2_000_000_000  # as coarse as modification times get


class _LandedCache:
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
        known, sha256 = self._known.get(str(path.absolute()), (None, None))
        return sha256 if known == _as_tuple(stamp) else None

    def knows(self, path: Path) -> bool:
        """Whether some content of this path was read."""
        return str(path.absolute()) in self._known

    def put(self, path: Path, stamp: Stamp, sha256: str) -> None:
        """Remember what was read, unless a change so soon after the last one might leave the same stamp."""
        if time.time_ns() - stamp.mtime_ns > _CLOCK_TICK_NS:
            self._known[str(path.absolute())] = (_as_tuple(stamp), sha256)

    def save(self, still_there: set[str]) -> None:
        """Write the cache, without the files that are gone."""
        self._known = {name: known for name, known in self._known.items() if name in still_there}
        if self._known != self._saved:
            text = _compact(dict(sorted(self._known.items())))
            write_bytes(self._path, f'{{"files":{text},"seal":"{_seal(text)}"}}\n'.encode())


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))  # ASCII, whatever bytes a name is made of


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _as_tuple(stamp: Stamp) -> tuple[int, ...]:
    return (stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode)
