"""Find landed files, and read their bytes: regular files only, streamed, hashed on the way, watched for changes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import zstandard

from pipelines.core.errors import UsageError
from pipelines.landing.mapping import MAPPING_NAME, UNMAPPED, EntityMapping, in_folders
from pipelines.landing.schema import ENTITIES

CHUNK_BYTES = 1 << 20  # read, and decompressed, at a time: an archive of any ratio costs no more memory than this

# Not the landed file's fault: to publish without it would be to publish less than landed for want of a descriptor.
_OF_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_UNFINISHED_PREFIXES = (".", "_", "~$")  # the last of Office, beside a workbook that is open
# In letters of either case: what programs call a file that they are still writing (browsers, WinSCP, Flink, vim, …).
_UNFINISHED_SUFFIXES = (
    ".part",
    ".tmp",
    ".temp",
    ".partial",
    ".filepart",
    ".crdownload",
    ".download",
    ".inprogress",
    ".incomplete",
    ".uploading",
    ".swp",
)
_OF_WINDOWS = ("desktop.ini", "thumbs.db")  # which it leaves in shared folders; in letters of either case
# What a name says, in letters of either case. What is read is told by the bytes: see content.py.
_FORMATS = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".avro": "avro",  # this and what follows is never read, and always refused
    ".orc": "orc",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".xlsx": "xlsx",
    ".xls": "xls",
}
_COMPRESSIONS = {
    ".gz": "gz",
    ".gzip": "gz",
    ".zst": "zst",
    ".zstd": "zst",
    ".bz2": "bz2",
    ".xz": "xz",
    ".lz4": "lz4",
    ".snappy": "snappy",
    ".zip": "zip",
    ".7z": "7z",
}
NO_FORMAT = "nothing"


class LandedFile(msgspec.Struct, frozen=True, order=True, dict=True):
    """One file that the platform dropped. `name` is its path under the landing root: "pledges/2026/01.csv.gz"."""

    entity: str
    name: str
    location: str  # of the file
    format: str  # by its name: ndjson, csv, json, parquet, …
    compression: str | None  # by its name: gz, zst, …
    root: Path  # the landing root that it was found under
    mapping: EntityMapping = UNMAPPED  # by what it is read, where that is not as the contract says

    @cached_property
    def path(self) -> Path:
        """The file. A Path is made when one is asked for: most that ever landed is known and not opened again."""
        return Path(self.location)

    @cached_property
    def read_as(self) -> str:
        """What its name says of how its bytes are read: see `read_as`.

        The same bytes below deleted=true and deleted=false are two files.
        """
        how = f"{self.format}.{self.compression}" if self.compression else self.format
        folders = self.mapping.folders_digest
        return f"{how}@{folders}" if folders else how  # safeguard: folder-fields-are-part-of-the-key


@dataclass(frozen=True)
class Ignored:
    """Something under a landing root that is not read, and why."""

    path: Path
    reason: str
    holds: str | None = None  # the entity whose records probably lie there


class Postponed(Exception):
    """A file cannot be read now and nothing of it is kept; the next run tries again."""


class DamagedArchive(Exception):
    """A compressed file breaks off, or does not match its checksum."""

    def __init__(self, reason: str, corruption: CorruptionStart | None = None) -> None:
        super().__init__(reason)
        self.corruption = corruption  # None: it just breaks off, and what came before that can be believed


@dataclass(frozen=True)
class CorruptionStart:
    """Where the part of an archive begins that does not match its checksum: the text in it may be anything."""

    verified_lines: int  # whole lines in the parts before, whose checksums were right
    offset: int  # in the file: before this byte nothing was noticed, and soon after it the archive cannot be read


# --- names -------------------------------------------------------------------------------------------------------


def is_unfinished(name: str) -> bool:
    lower = name.lower()
    return name.startswith(_UNFINISHED_PREFIXES) or lower.endswith(_UNFINISHED_SUFFIXES) or lower in _OF_WINDOWS


def landed_file(
    root: Path, entity: str, name: str, location: str, mapping: EntityMapping = UNMAPPED, *, is_data: bool = False
) -> LandedFile | Ignored:
    """What is to be read of a file, by its name under the landing root; `location` is where it is.

    `is_data`: its first bytes say that it is read, whatever its name says. Raises UsageError for a mapping.
    """
    if PurePosixPath(name).name == MAPPING_NAME:
        raise UsageError(
            f"{location} would map nothing: move it up, to where the folder {entity} is. Nothing was read."
        )
    file_format, compression = named_format(name)
    if file_format == NO_FORMAT and compression is None and not is_data:
        return Ignored(Path(location), UNKNOWN_KIND)
    mapping = in_folders(entity, name, mapping)
    return LandedFile(entity, printable_name(name), location, file_format, compression, root, mapping)


UNFINISHED = "marker or temporary file"
NOT_REGULAR = "not a regular file: links are not followed, land the file itself"
NOT_A_FOLDER = "not a folder: links are not followed, land the folder itself"
UNKNOWN_KIND = "no file of data: neither its name (.ndjson, .jsonl, .json, .csv, .parquet) nor its first bytes say so"


def named_format(name: str) -> tuple[str, str | None]:
    file_format, _, compression = read_as(name).partition(".")
    return file_format, compression or None


@lru_cache(maxsize=1 << 16)  # a night asks of the same names again and again
def read_as(name: str) -> str:
    """What the name of a landed file says of how to read it: ndjson, csv.gz, parquet, …"""
    name = name.lower()
    dot = name.rfind(".")
    compression = _COMPRESSIONS.get(name[dot:])
    if compression is None:
        return _FORMATS.get(name[dot:], NO_FORMAT)
    return f"{_FORMATS.get(name[name.rfind('.', 0, dot) : dot], NO_FORMAT)}.{compression}"


def without_extension(name: str) -> str:
    """A landed name without the extensions that say how it is read."""
    base, _, last = name.rpartition(".")
    if base and f".{last}".lower() in _COMPRESSIONS:
        name = base
        base, _, last = name.rpartition(".")
    return base if base and f".{last}".lower() in _FORMATS else name


def printable_name(path: Path | str) -> str:
    """A path as one line of text that can be written anywhere, also on a terminal, whatever its name is made of."""
    text = str(path)
    if not text.isascii():
        text = os.fsencode(text).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


# --- reading ----------------------------------------------------------------------------------------------------


class Stamp(NamedTuple):
    """The size, times and inode of a file, by which a change is noticed.

    The modification time can be set, and often is when files are copied, and the inode of a removed file is given to
    the next one: the change time is what neither a copy nor a clock set back leaves as it was.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The stamp of a stat result."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Source:
    """An open landed file: its bytes, their sha256 as far as they were read, and whether it changes meanwhile."""

    def __init__(self, path: Path, descriptor: int, folder: int) -> None:
        self.path = path
        self.folder = folder  # the descriptor of the folder that it was opened in, for as long as it is open
        self.file = os.fdopen(descriptor, "rb", buffering=0)
        self.stamp = Stamp.of(os.fstat(descriptor))
        self._digest = hashlib.sha256()

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The rest of the file's bytes, hashed as they pass."""
        while chunk := self.read(size):
            self._digest.update(chunk)
            yield chunk

    def read(self, size: int) -> bytes:
        """The next bytes, not hashed. Raises Postponed when the device or network fails."""
        try:
            return self.file.read(size) or b""
        except OSError as error:
            raise Postponed(f"it cannot be read: {error.strerror}") from error

    def sha256(self) -> str:
        """The sha256 of the whole file; reads what was not read yet."""
        for _ in self.chunks():
            pass
        return self._digest.hexdigest()

    def rewind(self) -> None:
        """Start again from the first byte."""
        self.file.seek(0)
        self._digest = hashlib.sha256()

    def check_unchanged(self) -> None:
        """Raise Postponed if the file is no longer what was opened, under its descriptor or under its name."""
        try:
            now = {Stamp.of(os.fstat(self.file.fileno())), Stamp.of(os.lstat(self.path))}
        except OSError as error:
            raise Postponed(f"it went away while it was read: {error.strerror}") from None
        if now != {self.stamp}:  # safeguard: changing-file-waits
            raise Postponed("it changed while it was read")


class InMemory:
    """The bytes of a small landed file, in place of the open file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def chunks(self) -> Iterator[bytes]:
        """All of them."""
        yield self._data


@contextmanager
def open_landed(path: Path, root: Path | None = None) -> Iterator[Source]:
    """Open a regular file for reading, never a symlink, FIFO or device. Raises Postponed when that is not possible.

    No folder between `root` (by default the file's own folder) and the file may be a symlink either: whatever took
    the place of one since it was listed, nothing outside of the root is read.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC
    with ExitStack() as opened:
        try:
            folder = _open_folder(root or path.parent, path)
            opened.callback(os.close, folder)
            # safeguard: no-link-opened
            descriptor = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            if error.errno in _OF_OURS:
                raise
            raise Postponed(f"it cannot be opened: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # safeguard: regular-files-only
            os.close(descriptor)
            raise Postponed("it is not a regular file")
        source = Source(path, descriptor, folder)
        with source.file:
            yield source


def _open_folder(root: Path, path: Path) -> int:
    """The descriptor of the folder that holds a file, reached from the root without following a symlink."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
    folder = os.open(root, flags)
    try:
        for each in path.relative_to(root).parts[:-1]:
            inner = os.open(each, flags | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder


def decompressed(
    chunks: Iterable[bytes], compression: str | None, corruption: CorruptionStart | None = None
) -> Iterator[bytes]:
    """The bytes inside a landed file, at most about CHUNK_BYTES at a time.

    Archives of several members or frames are read through. Raises DamagedArchive at the point of the damage, after
    everything before it was yielded; up to the last byte only when `corruption` is known, as that is slow.
    """
    careful_from = corruption.offset if corruption else None
    if compression == "gz":
        return _gunzip(_slices(chunks, _GZIP_SLICE_BYTES, careful_from))
    if compression == "zst":
        return _unzstd(_slices(chunks, _ZSTD_SLICE_BYTES, careful_from))
    return iter(chunks)


MAX_EMPTY_PARTS = 10_000
_GZIP_SLICE_BYTES = 1 << 15  # of which the rest is copied after each member, and a member may have 20 bytes
_ZSTD_SLICE_BYTES = 2048  # at most some 500 blocks of 128 KiB each


def _slices(chunks: Iterable[bytes], size: int, careful_from: int | None) -> Iterator[tuple[int, bytes]]:
    """The bytes with their offsets, byte by byte from `careful_from` on: an error swallows what its slice holds."""
    offset = 0
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            left = len(chunk) if careful_from is None else careful_from - offset
            step = max(1, min(size, left))
            yield offset, chunk[at : at + step]
            at, offset = at + step, offset + min(step, len(chunk) - at)


def _gunzip(slices: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    member = None
    lines = _VerifiedLines()
    for offset, chunk in slices:
        rest = chunk
        while rest:
            if member is None:
                rest = rest.lstrip(b"\0")  # tar and tape padding between members
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)  # gzip only, checksum and length checked
            try:
                out = member.decompress(rest, CHUNK_BYTES)
            except zlib.error:
                reason = "a gzip member is not what its checksum says, or is not gzip"
                raise DamagedArchive(reason, CorruptionStart(lines.sound, offset)) from None
            if out:
                lines.add(out)
                yield out
            rest = member.unconsumed_tail
            if member.eof:
                lines.part_verified()
                rest, member = member.unused_data, None
    if member is not None:  # safeguard: cut-archive-is-damaged
        raise DamagedArchive("it ends in the middle")


_ZSTD_HEADER_BYTES = 18  # of a frame, at most


def _unzstd(slices: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    frame = None
    header = b""  # of the frame
    lines = _VerifiedLines()
    context = zstandard.ZstdDecompressor()
    for offset, chunk in slices:
        rest = chunk
        while rest:
            if frame is None:
                frame, header = context.decompressobj(), b""
            header += rest[: _ZSTD_HEADER_BYTES - len(header)]
            try:
                out = frame.decompress(rest)
            except zstandard.ZstdError:
                reason = "a zstd frame is not what its checksum says, or is not zstd"
                raise DamagedArchive(_unmet_need(header) or reason, CorruptionStart(lines.sound, offset)) from None
            if out:
                lines.add(out)
                yield out
            rest = b""
            if frame.eof:
                lines.part_verified()
                rest, frame = frame.unused_data, None
    if frame is not None:
        raise DamagedArchive("it ends in the middle")


_MAX_ZSTD_WINDOW = 1 << 27  # what zstd decompresses unless it is told otherwise


def _unmet_need(frame: bytes) -> str | None:
    """What a sound frame of zstd needs that it does not get here."""
    try:
        needed = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError:
        return None
    if needed.dict_id:
        return "it was compressed with a zstd dictionary, which does not land: compress it without one"
    if needed.window_size > _MAX_ZSTD_WINDOW:
        size = needed.window_size >> 20
        return f"its zstd window is of {size:,} MiB, and at most 128 MiB are read: compress it without --long"
    return None


class _VerifiedLines:
    """Counts the whole lines in the parts of an archive that match their checksums.

    Raises DamagedArchive after MAX_EMPTY_PARTS empty ones in a row: each costs a thousand times what its bytes should.
    """

    def __init__(self) -> None:
        self.sound = 0
        self._so_far = 0
        self._empty = 0

    def add(self, out: bytes) -> None:
        self._so_far += out.count(b"\n")
        self._empty = -1  # of the part that this is in, none

    def part_verified(self) -> None:
        self.sound = self._so_far
        self._empty += 1
        if self._empty > MAX_EMPTY_PARTS:  # safeguard: archive-of-nothing-refused
            raise DamagedArchive(f"it holds more than {MAX_EMPTY_PARTS:,} empty parts one after the other")


def landed_file_of(
    root: Path, name: str, mappings: Mapping[str, EntityMapping], *, is_data: bool = False
) -> LandedFile | Ignored:
    """Return the landed file that an object becomes when it is downloaded to `root`, or why it is ignored."""
    entity, *inner = PurePosixPath(name).parts
    if entity not in ENTITIES:
        return Ignored(root / entity, f"not an entity: those are {', '.join(ENTITIES)}")
    if not inner:
        return Ignored(root / entity, NOT_A_FOLDER)
    path = PurePosixPath(name).as_posix()
    return landed_file(root, entity, path, str(root / name), mappings.get(entity, UNMAPPED), is_data=is_data)


def unfinished_part(name: str) -> str | None:
    """Return the part of a name that marks a file as not complete yet."""
    parts = PurePosixPath(name).parts
    for number, part in enumerate(parts, 1):
        if is_unfinished(part):
            return PurePosixPath(*parts[:number]).as_posix()
    return None
