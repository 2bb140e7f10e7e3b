"""Every error the system raises on purpose, each with the exit code the command line gives it.

A message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


class MostwatchedError(Exception):
    """Something failed in a way that we understand. Exit code 1."""

    exit_code = 1


class UsageError(MostwatchedError):
    """The caller asked for something impossible: an unknown id, a range outside the snapshot. Exit code 2."""

    exit_code = 2


class RefusedToPublish(MostwatchedError):
    """The snapshot was built, but publishing it could mislead: the last one stays current. Exit code 3."""

    exit_code = 3


class Busy(MostwatchedError):
    """Another run holds the lock of this home. Exit code 4."""

    exit_code = 4


class PublishConflict(Busy):
    """Another publisher has moved the pointer in the same bucket meanwhile. Exit code 4."""


class Unreachable(MostwatchedError):
    """The bucket that the home lies in did not answer, or refused. Exit code 1."""

    def __init__(self, message: str = "", *, may_pass: bool = True) -> None:
        """`may_pass`: the same request may succeed later; not where credentials or rights are missing."""
        super().__init__(message)
        self.may_pass = may_pass


class Damaged(MostwatchedError):
    """A stored file is missing or is not what its sha256 says. Exit code 1."""


class NoSnapshot(MostwatchedError):
    """Nothing has been published in this home yet. Exit code 1."""


# --- what the operating system refuses -----------------------------------------------------------------------------


_AGAIN = "then give the command again; what was published stays as it is"
_REMEDIES = {
    errno.ENOENT: f"See whether somebody removes files there; put back what is missing, or correct the path, {_AGAIN}.",
    errno.ENOSPC: f"Free space on that disk (`mostwatched snapshots prune` removes what is old), {_AGAIN}.",
    errno.EDQUOT: f"Free space, or raise the quota, {_AGAIN}.",
    errno.EFBIG: f"Raise the limit of a file's size (ulimit -f), {_AGAIN}.",
    errno.EMFILE: f"Raise the limit of open files (ulimit -n), {_AGAIN}.",
    errno.ENFILE: f"Raise the system's limit of open files, {_AGAIN}.",
    errno.EACCES: f"Give this user the right to read and write there, {_AGAIN}.",
    errno.EPERM: f"Give this user the right to read and write there, {_AGAIN}.",
    errno.EROFS: f"Make that file system writable, {_AGAIN}.",
    errno.EIO: f"Check that disk, {_AGAIN}.",
    errno.ENOMEM: f"Free memory, {_AGAIN}.",
}
_OTHER_REMEDY = f"Put that right, {_AGAIN}."

# Where the file itself is the matter. All others tell of this process, its rights or its machine.
_OF_THE_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO, errno.EBADMSG, errno.EUCLEAN}


def is_file_damage(error: OSError) -> bool:
    """Whether a read error means that the file is damaged: missing, no regular file, or with unreadable sectors.

    Without a descriptor or a permission to open it, it may well be whole, and nothing may be put in its place.
    """
    return error.errno in _OF_THE_FILE


def os_error_message(error: BaseException, home: Path) -> str | None:
    """Describe an error of the operating system, ours or the engine's: what, where, and what to do; None for others.

    The home says where if the error does not.
    """
    engines = {f"{each.__module__}.{each.__name__}" for each in type(error).__mro__}
    if isinstance(error, MemoryError) or "_duckdb.OutOfMemoryException" in engines:
        return f"Out of memory in {home}: {_sentence(error)} Raise MOSTWATCHED_MEMORY_LIMIT or free memory, {_AGAIN}."
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        said = f"{error.filename}: {error.strerror}." if error.filename else _sentence(error.strerror or error)
        number = error.errno
    elif "_duckdb.Error" in engines and (
        "_duckdb.IOException" in engines or any(os.strerror(number) in str(error) for number in _REMEDIES)
    ):
        said = _sentence(error)
        number = next((number for number in _REMEDIES if os.strerror(number) in said), None)
    else:
        return None
    where = "" if str(home) in said else f"In {home}: "
    return f"{where}{said} {_REMEDIES.get(number or 0, _OTHER_REMEDY)}"


def _sentence(said: object) -> str:
    """Whatever a library says, on one line and with a full stop."""
    text = " ".join(str(said).split())
    return text if text.endswith(".") else f"{text}."
