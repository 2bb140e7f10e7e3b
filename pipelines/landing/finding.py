"""Find the landed files under landing folders, and say what was passed over and why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from pipelines.core.errors import UsageError
from pipelines.landing.content import HEAD_BYTES, looks_landed
from pipelines.landing.files import (
    NO_FORMAT,
    UNFINISHED,
    Ignored,
    LandedFile,
    Postponed,
    is_unfinished,
    landed_file,
    open_landed,
    printable_name,
    read_as,
    without_extension,
)
from pipelines.landing.mapping import (
    MAPPING_NAME,
    MAX_MAPPING_BYTES,
    UNMAPPED,
    EntityMapping,
    parse_mappings,
)
from pipelines.landing.schema import ENTITIES


def find_landed(roots: Sequence[Path]) -> tuple[list[LandedFile], list[Ignored]]:
    """Every complete landed file under `roots`, by (entity, name), and what was ignored.

    Names that begin with "." or "_" or end in ".part" or ".tmp" are not complete yet. Raises UsageError for a root that
    is not there, OSError for a folder that cannot be listed: what is in it would be missing.
    """
    files: list[LandedFile] = []
    ignored: list[Ignored] = []
    for root in dict.fromkeys(roots):
        if not root.is_dir():
            raise UsageError(f"The landing folder {root} does not exist. Create it, or name another with --landing.")
        mappings = read_mappings(root)
        for entry in _entries(root, ignored):
            if entry.name == MAPPING_NAME:
                continue
            if entry.name not in ENTITIES:
                ignored.append(Ignored(Path(entry.path), _not_an_entity(entry.name)))
            elif not entry.is_dir(follow_symlinks=False):
                ignored.append(Ignored(Path(entry.path), "not a folder"))
            else:
                _walk(root, entry.name, mappings.get(entry.name, UNMAPPED), files, ignored)
    files.sort(key=lambda each: (each.entity, each.name, each.location))
    return files, sorted(ignored, key=lambda each: str(each.path))


def read_mappings(root: Path) -> Mapping[str, EntityMapping]:
    """By entity, what the `mostwatched.toml` of a landing folder says; nothing where there is none.

    Raises UsageError for one that cannot be read, or says what it cannot say.
    """
    path = root / MAPPING_NAME
    if not os.path.lexists(path):
        return {}
    try:
        with open_landed(path, root) as source:
            if source.stamp.size > MAX_MAPPING_BYTES:
                raise Postponed("it is larger than 1 MiB")
            content = b"".join(source.chunks())
            source.check_unchanged()
    except Postponed as error:
        raise UsageError(f"{path} cannot be read: {error}. Nothing was read.") from None
    return parse_mappings(content, str(path))


def _not_an_entity(name: str) -> str:
    meant = resembling(name)
    return f"not an entity: those are {', '.join(ENTITIES)}{f'; {meant} was perhaps meant' if meant else ''}"


def resembling(name: str) -> str | None:
    """The entity that a name resembles, with or without an extension."""
    found = get_close_matches(without_extension(name).lower().replace("-", "_"), ENTITIES, 1, 0.6)
    return found[0] if found else None


def require_landing(roots: Iterable[Path], files: Iterable[LandedFile]) -> None:
    """Raise UsageError for a landing folder that holds files, and none in the folder of an entity."""
    used = {file.root for file in files}
    for root in roots:
        if root in used:
            continue
        stray = next(_data_files(root), None)
        if stray is None:  # safeguard: stray-files-are-wrong-usage
            continue
        place = printable_name(stray)
        first = stray.relative_to(root).parts[0]
        meant = resembling(first)
        if resembling(root.name) == root.name and stray.parent == root:
            advice = f"give the folder that it is in: --landing {printable_name(root.parent)}"
        elif stray.parent == root:
            advice = f"move it into a folder of an entity: {printable_name(root / (meant or 'viewing_sessions'))}"
        elif first in ENTITIES:
            advice = "symbolic links are not followed: land the files themselves"
        elif meant:
            advice = f"{printable_name(root / first)} should perhaps be called {meant}"
        else:
            advice = f"put files into a folder of the name of an entity: {', '.join(ENTITIES)}"
        raise UsageError(f"{printable_name(root)} holds files, such as {place}, but none for an entity: {advice}.")


def _data_files(root: Path) -> Iterator[Path]:
    """Complete files under a folder by whose names data lands."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_unfinished(name))
        for name in sorted(names):
            if not is_unfinished(name) and read_as(name) != NO_FORMAT:
                yield Path(folder, name)


def _walk(root: Path, entity: str, mapping: EntityMapping, files: list[LandedFile], ignored: list[Ignored]) -> None:
    base = str(root / entity)[: -len(entity)]
    folders = [entity]
    while folders:
        folder = folders.pop()
        for entry in _entries(base + folder, ignored):
            name = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif not entry.is_file(follow_symlinks=False):  # safeguard: no-link-listed
                ignored.append(Ignored(Path(base + name), "not a regular file"))
            else:
                found = landed_file(root, entity, name, base + name, mapping)
                if isinstance(found, Ignored):
                    found = _by_content(root, entity, name, mapping, found)
                (files if isinstance(found, LandedFile) else ignored).append(found)  # type: ignore[arg-type]


def _by_content(root: Path, entity: str, name: str, mapping: EntityMapping, ignored: Ignored) -> LandedFile | Ignored:
    """A file of an unknown extension, or none, that is plainly one of those that are read."""
    try:
        with open_landed(ignored.path, root) as source:
            head = os.pread(source.file.fileno(), HEAD_BYTES, 0)
    except Postponed as error:
        return Ignored(ignored.path, str(error))
    is_data = looks_landed(entity, name, mapping, head)
    return landed_file(root, entity, name, str(ignored.path), mapping, is_data=is_data)


def _entries(folder: Path | str, ignored: list[Ignored]) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing if it has just gone. Raises OSError if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    ignored += (Ignored(Path(entry.path), UNFINISHED) for entry in found if is_unfinished(entry.name))
    return [entry for entry in found if not is_unfinished(entry.name)]
