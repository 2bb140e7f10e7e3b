"""Who may read a home: its owner alone, or also its group, which then reads what the API serves and nothing else.

    HOME              0700    0710 for the group: it can go through, and neither list nor lock it
    HOME/snapshots    0700    0750 for the group, with all that is in it, private/ too: `funded` is served from there
    all else          0700    landed files are the platform's, whose modes are left alone

Where others land files in HOME/landing they must go through the home: then it is 0711. A file may have more bits than
its folder: a snapshot shares its files with lake/. What keeps others out is the folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.core.settings import Settings

_PRIVATE = (".lock", "lake", "forgotten", "reports", "metrics", "tmp", "prefect", "landed", "following", "snapshots")
_GROUP_READS = 0o050


@contextmanager
def private_umask() -> Iterator[None]:
    """Inside, whatever the process makes is for its owner alone, whatever its umask was."""
    before = os.umask(0o077)  # safeguard: made-for-the-owner-alone
    try:
        yield
    finally:
        os.umask(before)


def narrow(settings: Settings) -> None:
    """Give the folders of a home their modes, where they are ours. Needs the lock of the home."""
    for folder, wanted in _wanted(settings):
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode != (mode := _narrowed(settings, found.st_mode, wanted)):
            folder.chmod(stat.S_IMODE(mode))  # safeguard: existing-home-narrowed
    if settings.home_mode == "group":
        group = settings.home.stat().st_gid
        for path in (settings.snapshots, *settings.snapshots.glob("[!.]*")):
            found = path.stat()
            if (found.st_gid, found.st_mode & 0o040) != (group, 0o040) or path == settings.snapshots:
                _share(path, group, inside=path != settings.snapshots)


def share_like(path: Path, folder: Path) -> None:
    """Let the group of `folder` read a new file or folder with all in it, if that group may read `folder`."""
    readers = folder.stat()
    if readers.st_mode & stat.S_IRGRP:
        _share(path, readers.st_gid, inside=True)


def too_wide(settings: Settings) -> list[str]:
    """A sentence for each folder of a home that others can get into, or its group not, against the settings."""
    problems = []
    if not settings.lake.exists() and not settings.snapshots.exists():
        return []  # of a folder that is no home yet
    for folder, wanted in _wanted(settings):
        try:
            found = folder.stat()
        except OSError:
            continue  # what we cannot look at is not open to others
        mode = _narrowed(settings, found.st_mode, wanted)
        if found.st_mode != mode:
            is_ours = found.st_uid == os.geteuid()
            remedy = "The next run sets it." if is_ours else f"Its owner should: chmod {mode & 0o777:o} {folder}"
            shown = f"{found.st_mode & 0o777:04o} and should have {mode & 0o777:04o}"
            problems.append(f"{folder} has mode {shown}, or other users of this machine get in. {remedy}")
    if settings.home_mode == "group" and settings.snapshots.exists():
        group = settings.home.stat().st_gid
        if settings.snapshots.stat().st_gid != group:
            problems.append(f"{settings.snapshots} is not of the home's group: chgrp -R {group} {settings.snapshots}")
    return problems


def _wanted(settings: Settings) -> Iterator[tuple[Path, int]]:
    """Each folder of a home that is there, and the most that it may allow."""
    is_group = settings.home_mode == "group"
    search = 0o010 if is_group else 0
    with suppress(OSError):
        landing = settings.landing.stat()
        if landing.st_uid != os.geteuid() or landing.st_mode & 0o022:  # others land files in it
            search = 0o011
    yield settings.home, 0o700 | search
    for name in _PRIVATE:
        if (settings.home / name).is_dir():
            yield settings.home / name, 0o750 if is_group and name == "snapshots" else 0o700


def _narrowed(settings: Settings, mode: int, wanted: int) -> int:
    """A mode without what is too much; in group mode with what the group needs, which is all that is ever added."""
    return mode & ~0o777 | mode & wanted | (wanted & _GROUP_READS if settings.home_mode == "group" else 0)


def _share(path: Path, group: int, *, inside: bool) -> None:
    """Let a group read a path and all in it, the path itself last: it then says that the rest is done."""
    if inside and path.is_dir():
        for each in path.iterdir():
            _share(each, group, inside=True)
    with suppress(PermissionError):  # who is not in that group may not give it anything: `status` says so
        if path.stat().st_gid != group:
            os.chown(path, -1, group)
        path.chmod(0o750 if path.is_dir() else 0o640)
