"""Write a file into a folder that others can write as well, such as a landing folder, without being led elsewhere.

The file is built in a folder of its own inside that one. Nobody else can enter it, so what is renamed from there is
what was written there, whatever others do to the names around it. Everything is named relative to open folders.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedRandom
from pathlib import Path

PREFIX = ".mostwatched-"  # of the folder that a file is built in; a name that no run reads
_NEW = "new"  # the file in it

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NewFile:
    """A file that is being written and has no name yet that others could reach."""

    def __init__(self, file: BufferedRandom, workshop: int, folder: int) -> None:
        self.file = file
        self._workshop = workshop
        self._folder = folder

    def make_durable(self) -> None:
        """Flush and fsync what was written."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def rename(self, name: str) -> None:
        """Give it its name in the folder, durably, in place of whatever has that name now. A link is not followed."""
        os.rename(_NEW, name, src_dir_fd=self._workshop, dst_dir_fd=self._folder)
        os.fsync(self._folder)


@contextmanager
def new_file_in(folder: int) -> Iterator[NewFile]:
    """Yield a new file of mode 0600 for a folder, by its descriptor; without `rename` nothing is left of it.

    Raises OSError, also where the folder to build it in could not be kept from others.
    """
    name = f"{PREFIX}{secrets.token_hex(16)}"
    os.mkdir(name, 0o700, dir_fd=folder)
    with ExitStack() as ending:
        ending.callback(_remove_folder, name, folder)
        workshop = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
        ending.callback(os.close, workshop)
        if not _is_for_us_alone(workshop):  # safeguard: built-where-nobody-else-writes
            raise PermissionError(f"the folder {name} in it, which a file is built in, is not this user's alone")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(_NEW, flags, 0o600, dir_fd=workshop)
        ending.callback(_remove_file, workshop)
        with os.fdopen(descriptor, "w+b") as file:
            yield NewFile(file, workshop, folder)


def write_bytes(path: Path, content: bytes, mode: int) -> None:
    """Replace a file, at once and durably, whatever the umask is. Its folder is followed if it is a link."""
    folder = os.open(path.parent, _FOLDER_FLAGS)
    try:
        with new_file_in(folder) as new:
            new.file.write(content)
            os.fchmod(new.file.fileno(), mode)
            new.make_durable()
            new.rename(path.name)
    finally:
        os.close(folder)


def sweep(root: Path) -> None:
    """Remove what a killed process left half-written under a folder: what is ours, and nothing else by such a name."""
    if not root.is_dir():
        return
    for _, folders, files, folder in os.fwalk(f"{root}/."):  # the root itself may be a link, of the operator's
        for name in [name for name in files if name.startswith(PREFIX)]:
            with suppress(OSError):  # of an earlier version; something else may have its name by now
                os.unlink(name, dir_fd=folder)
        for name in [name for name in folders if name.startswith(PREFIX)]:
            with suppress(OSError):
                workshop = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    if _is_for_us_alone(workshop):
                        _remove_file(workshop)
                        _remove_folder(name, folder)
                finally:
                    os.close(workshop)
        folders[:] = [name for name in folders if not name.startswith(PREFIX)]


def _is_for_us_alone(folder: int) -> bool:
    found = os.fstat(folder)
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _remove_file(workshop: int) -> None:
    with suppress(OSError):
        os.unlink(_NEW, dir_fd=workshop)


def _remove_folder(name: str, folder: int) -> None:
    with suppress(OSError):  # it may have been moved away: it is empty
        os.rmdir(name, dir_fd=folder)
