"""Durable, immutable files: how a file is written, locked, and verified against its checksum.

Whatever readers may find under its final name is whole: a file or folder is built under a temporary name,
fsynced, renamed, and the folder that holds it fsynced. After a crash there are only whole files and leftovers
with temporary names, which `sweep` removes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import Busy, Damaged, MostwatchedError, RefusedToPublish, UsageError, is_file_damage

TEMPORARY_PREFIX = ".tmp-"
_CHUNK_BYTES = 1 << 20


# --- writing ---------------------------------------------------------------------------------------------------


def temporary_beside(final: Path) -> Path:
    """A fresh name in the folder of `final` that `sweep` would remove; nothing is created but the folder."""
    final.parent.mkdir(parents=True, exist_ok=True)
    return final.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}-{final.name}"


@contextmanager
def new_file(final: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block succeeds it is renamed to `final`, durably.

    It stands beside `final`, or `beside` another path of the same file system.
    """
    temporary = temporary_beside(beside or final)
    try:
        yield temporary
        fsync(temporary)  # safeguard: file-fsynced-before-its-name
        temporary.rename(final)
        fsync(final.parent)  # safeguard: folder-fsynced-after-a-name
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill; when the block succeeds it is renamed to `final`, whole and durable.

    Folders are named by their content, so one that already stands at `final` is kept and the new one dropped. To
    `replace` one that is damaged, it stays until the new one is whole.
    """
    temporary, replaced = temporary_beside(final), temporary_beside(final)
    temporary.mkdir()
    try:
        yield temporary
        _fsync_folder(temporary)
        if replace and final.exists():
            final.rename(replaced)
        if not final.exists():
            temporary.rename(final)
        fsync(final.parent)
    finally:
        remove_leftover(temporary)
        if final.exists():
            remove_leftover(replaced)


def name_folder(temporary: Path, final: Path) -> None:
    """Give a filled temporary folder its name, whole and durable, as `new_folder` does where the name is known late.

    One that already stands there is kept: then the temporary one is left to whoever made it.
    """
    _fsync_folder(temporary)
    if not final.exists():
        temporary.rename(final)
    fsync(final.parent)


def _fsync_folder(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # safeguard: files-of-a-folder-fsynced
        fsync(path)
    fsync(folder)


def write_bytes(final: Path, content: bytes) -> None:
    """Replace `final` by `content`, atomically and durably."""
    with new_file(final) as temporary:  # safeguard: small-files-renamed
        temporary.write_bytes(content)


def write_json(final: Path, content: Any) -> None:
    """Replace `final` by `content` as JSON with a newline at its end, atomically and durably."""
    write_bytes(final, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Format JSON as every JSON file here is: indented, UTF-8, keys in the given order.

    A byte of a path that is no UTF-8 stays what it is when it is read again: it is written as JSON escapes it, \\udcff.
    """
    try:
        # What json indents, it writes in Python, in five times the time.
        return msgspec.json.format(json.dumps(content, ensure_ascii=False).encode(), indent=1) + b"\n"
    except (UnicodeEncodeError, msgspec.DecodeError):  # half a character, a number that is none
        return json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


ROW_GROUP_ROWS = 1 << 17  # a row group of pairs is a few MB: small enough to stream, large enough to compress

# Hashes: compressing them takes time, at every reading too, and saves nothing.
_LIKE_NOISE = frozenset({"session_key", "pair_key"})
# Ids and the like are all different, or nearly so: a dictionary of them costs time and is given up in the end.
_NOT_WORTH_A_DICTIONARY = _LIKE_NOISE | {
    "session_id",
    "viewer_id",
    "device_id",
    "user_id",
    "pledge_id",
    "line",
    "text",
    "started_at",
    "ended_at",
    "watched_milliseconds",
}


def parquet_writer(path: Path, schema: pa.Schema, all_different: Collection[str] = ()) -> pq.ParquetWriter:
    """A writer of the one kind of Parquet file that raw and the lake consist of.

    `all_different` are columns that are nearly so in this file: see _NOT_WORTH_A_DICTIONARY.
    """
    return pq.ParquetWriter(
        path,
        schema,
        compression={name: "NONE" if name in _LIKE_NOISE else "ZSTD" for name in schema.names},
        compression_level={name: 1 for name in schema.names if name not in _LIKE_NOISE},
        use_dictionary=[
            name for name in schema.names if name not in _NOT_WORTH_A_DICTIONARY and name not in all_different
        ],
    )


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each durable in the one that holds it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        fsync(folder.parent)


def link_or_copy(existing: Path, new: Path) -> None:
    """Give an immutable file a second name; a copy where the file system cannot."""
    try:
        os.link(existing, new)
    except OSError:
        shutil.copyfile(existing, new)


def remove_leftover(folder: Path) -> None:
    """Remove a folder with a temporary name, if it is there.

    It is no failure where that cannot be done: whoever holds the lock next sweeps.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for held in _held.values():
            held.is_tidy = False  # safeguard: what-could-not-be-removed-is-swept


def sweep(root: Path) -> int:
    """Remove what dead writers left half-written under `root`. Only the holder of the lock may call this.

    Returns how many leftovers there were.
    """
    leftovers = [path for path in root.rglob(f"{TEMPORARY_PREFIX}*") if path.exists()]
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            remove_leftover(path)
        else:
            path.unlink(missing_ok=True)
    return len(leftovers)


# --- a home whose truth lies elsewhere -------------------------------------------------------------------------------


class Origin(Protocol):
    """Where the missing files of a home are fetched from, when it is a copy of one on object storage."""

    def has(self, path: Path) -> bool:
        """Whether the file is there."""
        ...

    def fetch(self, path: Path) -> None:
        """Write the file where it should be, whole, if it is there."""
        ...


_origin: Origin | None = None


@contextmanager
def fetching_from(origin: Origin) -> Iterator[None]:
    """Inside, `exists` includes the files of an origin, and a file is fetched before it is checked or read."""
    global _origin  # noqa: PLW0603  a process works in one home
    before, _origin = _origin, origin
    try:
        yield
    finally:
        _origin = before


def exists(location: str) -> bool:
    """Whether a file is here, or can be fetched."""
    origin = _origin
    return os.path.exists(location) or (origin is not None and origin.has(Path(location)))  # noqa: PTH110 (of thousands)


def fetched(path: Path) -> Path:
    """Return the path, after fetching a file that is missing here. Every reader of large files calls this."""
    origin = _origin  # read once: another thread may leave `fetching_from` meanwhile
    if origin is not None and not path.exists():
        origin.fetch(path)
    return path


# --- one at a time ---------------------------------------------------------------------------------------------------


_NAME_SECONDS = 1.0  # that a new holder is given to write its name, before we say Busy without one
_MOMENT_SECONDS = 0.2  # that a holder with a name is given: whoever only looks, or moves a file, has ended by then


@dataclass
class HeldLock:
    """A lock that is held."""

    is_tidy: bool  # whether nobody who held it can have left anything half-written: set it before a sweep


_held: dict[Path, HeldLock] = {}  # by this process


def home_lock(home: Path) -> Path:
    """The file that is locked of a home. It is in a folder of its own: whoever can open either can lock it."""
    return home / ".lock" / "run"


@contextmanager
def lock_home(home: Path) -> Iterator[HeldLock]:
    """Hold the one lock of a home, or raise Busy; a home that is not there is made."""
    _make_lock_folder(home)
    with lock(home_lock(home), home) as held:
        yield held


@contextmanager
def unless_home_locked(home: Path) -> Iterator[bool]:
    """Yield whether no other process holds the lock of a home: see `unless_locked`."""
    _make_lock_folder(home)
    with unless_locked(home_lock(home)) as is_free:
        yield is_free


def _make_lock_folder(home: Path) -> None:
    """Make the folder of a home's lock, for its owner alone. Raises Busy while an older version is at work.

    Older versions locked a file of the folder's name, and the home. One that is started now fails: it is no file.
    """
    make_folder(home)
    folder = home_lock(home).parent
    while not folder.is_dir() or folder.is_symlink():
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return
        _remove_older_lock(folder)
    found = folder.stat()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        folder.chmod(0o700)


def _remove_older_lock(path: Path) -> None:
    """Remove the lock's file of an older version. Raises Busy while that is at work: it has written its number there.

    It could be opened by anybody: whoever else holds it, over the word of the last run that it has ended, is no run.
    """
    file = _open_lock(path)
    try:
        since = time.monotonic()
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            holder = os.pread(file, 20, 0)
            if time.monotonic() - since > _NAME_SECONDS:
                if holder != _TIDY:  # safeguard: older-lock-respected
                    raise Busy(f"An older version is at work in {path.parent}. Wait until it has ended and try again.")
                break
            time.sleep(0.01)
        with suppress(OSError):  # another process of ours was faster
            if os.path.samestat(os.fstat(file), path.lstat()):
                path.unlink()
    finally:
        os.close(file)


@contextmanager
def lock(path: Path, place: Path | None = None) -> Iterator[HeldLock]:
    """Hold a lock, or raise Busy about `place`, by default the lock's folder. However its holder dies, it is freed.

    Locked are both the file `path` and the folder it is in. The folder, because somebody may remove the file under its
    holder; the file, because network file systems show other machines the locks of files alone. What stands in the
    file says who holds it, for people, or that whoever held it last came to an end and left nothing half-written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as (file, folder):
        since = time.monotonic()
        while not _locked(file, folder, fcntl.LOCK_EX):  # safeguard: one-run-holds-the-lock
            holder = os.pread(file, 20, 0).decode(errors="replace").strip()
            is_known = holder.isdecimal() and _is_alive(int(holder))
            if time.monotonic() - since > (_MOMENT_SECONDS if is_known else _NAME_SECONDS):
                name = f" (process {holder})" if holder.isdecimal() else ""
                raise Busy(
                    f"Another run{name} is at work in {place or path.parent}. Wait until it has ended and try again."
                )
            time.sleep(0.01)
        held = HeldLock(is_tidy=os.pread(file, 20, 0) == _TIDY)
        with suppress(OSError):  # also on a full disk `prune` must be able to hold the lock
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
            os.fsync(file)  # or the last holder's word could outlive what this one leaves
        _held[path] = held
        try:
            yield held
        except (RefusedToPublish, UsageError):
            raise
        except BaseException:
            held.is_tidy = False  # what failed may have kept it from removing what it left half-written
            raise
        finally:
            _held.pop(path, None)
            if held.is_tidy:
                with suppress(OSError):
                    os.ftruncate(file, 0)
                    os.pwrite(file, _TIDY, 0)


_TIDY = b"ended\n"


@contextmanager
def unless_locked(path: Path) -> Iterator[bool]:
    """Yield whether no other process holds the lock. If so none takes it inside: be quick, it would wait a moment."""
    if path in _held:
        yield True
        return
    with _opened(path) as (file, folder):
        yield _locked(file, folder, fcntl.LOCK_SH)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """The descriptors of a lock's file and of the folder it is in: with them goes what was locked through them."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = _open_lock(path)
        try:
            yield file, folder
        finally:
            os.close(file)
    finally:
        os.close(folder)


def _open_lock(path: Path) -> int:
    """The file to be locked, created if missing. Raises MostwatchedError when something else has its name."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno not in _NOT_A_FILE:
            raise
        problem = error.strerror
    else:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        problem = "not a regular file"
    raise MostwatchedError(
        f"{path} cannot be locked ({problem}): it should be a file that this user can write. "
        "Move what is there out of the way and try again."
    )


def _locked(file: int, folder: int, how: int) -> bool:
    """Lock both, alone or with others as `how` says, or neither."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        fcntl.flock(folder, how | fcntl.LOCK_NB)  # safeguard: folder-of-the-home-locked
    except BlockingIOError:
        fcntl.flock(file, fcntl.LOCK_UN)
        return False
    except OSError as error:  # a file system that locks no folders: the file has to do
        if error.errno not in _FOLDERS_NOT_LOCKED:
            raise
    return True


_NOT_A_FILE = {errno.EISDIR, errno.ELOOP, errno.ENXIO}  # a folder, a symbolic link, a socket
_FOLDERS_NOT_LOCKED = {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.EOPNOTSUPP, errno.ENOSYS}


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


# --- knowing what was written ------------------------------------------------------------------------------------


def checksum_of(facts: Mapping[str, Any]) -> str:
    """Return the sha256 of a JSON object without its entry `seal`, which holds this checksum in the stored file."""
    return hashlib.sha256(json_bytes({name: facts[name] for name in facts if name != "seal"})).hexdigest()


def with_checksum(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same object with its checksum as the last entry, `seal`."""
    return {**facts, "seal": checksum_of(facts)}


def verify_checksum(content: bytes) -> dict[str, Any]:
    """Return the object in a JSON file that ends with its checksum, without that checksum.

    Raises ValueError unless these are byte for byte what was written: also for another spelling of the same values.
    """
    end = _CHECKSUM_END.search(content, max(0, len(content) - _CHECKSUM_BYTES))
    if end is None:
        raise ValueError("it has no checksum")
    # The checksum is of the text before it, with its brace closed: nothing need be written out anew to compare with it.
    before = content[: end.start()]
    whole = before + b"\n}\n" if before != b"{" else b"{}\n"
    if hashlib.sha256(whole).hexdigest() != end["seal"].decode():  # safeguard: json-compared-with-checksum
        raise ValueError("it is not what was written")
    facts: dict[str, Any]
    try:
        facts = msgspec.json.decode(content)
    except msgspec.MsgspecError:  # half a character, as a path may hold: json reads it, in three times the time
        facts = json.loads(content)
    del facts["seal"]
    return facts


_CHECKSUM_END = re.compile(rb',?\n "seal": "(?P<seal>[0-9a-f]{64})"\n}\n\Z')
_CHECKSUM_BYTES = len(',\n "seal": ""\n}\n') + 64  # what it matches: a manifest is not searched from its beginning


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def verify(path: Path, sha256: str) -> None:
    """Raise Damaged unless the file is there and its bytes are those that `sha256` was taken of.

    Raises OSError when that cannot be told: the file may be whole.
    """
    try:
        found = sha256_of(fetched(path))  # safeguard: file-compared-with-sha256
    except OSError as error:
        if not is_file_damage(error):
            raise
        raise Damaged(f"{path} cannot be read: {error.strerror}.") from error
    if found != sha256:
        raise Damaged(f"{path} is damaged: its sha256 is {found}, it was written with {sha256}.")


def checked_bytes(path: Path, sha256: str) -> bytes:
    """The bytes of a file, the very ones that were checked against `sha256`. Raises Damaged when they are others."""
    try:
        content = fetched(path).read_bytes()
    except OSError as error:
        if not is_file_damage(error):
            raise
        raise Damaged(f"{path} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(content).hexdigest()  # safeguard: bytes-compared-with-sha256
    if found != sha256:
        raise Damaged(f"{path} is damaged: its sha256 is {found}, it was written with {sha256}.")
    return content


def checked_table(path: Path, sha256: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a Parquet file that fits into memory, read from the bytes that were checked. Raises Damaged.

    With `columns` only those.
    """
    with pq.ParquetFile(pa.BufferReader(checked_bytes(path, sha256))) as file:
        # A thread of Arrow's may hold the last reference to bytes of Python; one that lets go of them while the
        # interpreter ends aborts the process. Such a file is small: one thread reads it.
        return file.read(columns, use_threads=False)
