"""Find the landed files under landing folders, and say what was passed over and why."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from zlib import crc32

from pipelines.core.errors import UsageError
from pipelines.landing.content import HEAD_BYTES, entity_of, looks_landed, looks_like_list, looks_like_table
from pipelines.landing.files import (
    NO_FORMAT,
    NOT_A_FOLDER,
    NOT_REGULAR,
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


@dataclass
class Blocks:
    """The landed files of a folder in runs of some hundred names: what has not changed is passed over as a whole.

    A block is named by the folder and by the names and stamps in it. Where one ends is told by its last name alone, so
    that a file that joins a folder, or leaves it, changes no block but its own.
    """

    settled: AbstractSet[str]  # names of blocks that are not to be looked at
    looked_at: AbstractSet[str] = frozenset()  # entities of which every file is
    passed_over: dict[str, tuple[str, Sequence[str]]] = field(default_factory=dict)  # name -> (folder, files)
    others: dict[str, tuple[str, Sequence[str]]] = field(default_factory=dict)
    roots: set[Path] = field(default_factory=set)  # that hold what was passed over

    def divide(self, root: Path, folder: str, files: Sequence[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
        """Note the blocks of the files in a folder, sorted by name; returns the files that are to be looked at."""
        left: list[os.DirEntry[str]] = []
        names = [entry.name for entry in files]
        ends = [
            at for at, each in enumerate(names, 1) if not crc32(each.encode(errors="surrogateescape")) % _BLOCK_FILES
        ]
        for start, end in pairwise(dict.fromkeys((0, *ends, len(files)))):
            block = files[start:end]
            name = _block_name(folder, block)
            is_settled = name in self.settled
            (self.passed_over if is_settled else self.others)[name] = folder, names[start:end]
            if is_settled:
                self.roots.add(root)
            else:
                left += block
        return left

    @property
    def files(self) -> int:
        """How many files were passed over."""
        return sum(len(names) for _, names in self.passed_over.values())

    def has_name(self, name: str) -> bool:
        """Whether a file that was passed over landed by a name, whatever its extensions say."""
        inside, _, wanted = without_extension(name).rpartition("/")
        folders = {f"{root}/{inside}" for root in self.roots}
        return any(
            without_extension(printable_name(each)) == wanted
            for folder, names in self.passed_over.values()
            if printable_name(folder) in folders
            for each in names
        )

    def locations(self) -> Iterator[str]:
        """Where the files are that were passed over."""
        return (f"{folder}/{name}" for folder, names in self.passed_over.values() for name in names)


_BLOCK_FILES = 256  # about: each block that changed is looked at as a whole, and of each the name is remembered


def _block_name(folder: str, files: Sequence[os.DirEntry[str]]) -> str:
    """The sha256 of a folder, and of the names and stamps of some files in it; "" where one has just gone."""
    parts = [folder]
    try:
        for entry in files:
            found = entry.stat(follow_symlinks=False)
            # safeguard: block-named-by-stamps
            stamp = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
            parts.append(f"{entry.name}/{stamp}")
    except OSError:
        return ""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def find_landed(roots: Sequence[Path], blocks: Blocks | None = None) -> tuple[list[LandedFile], list[Ignored]]:
    """Every complete landed file under `roots`, by (entity, name), and what was ignored.

    With `blocks` without the files of those that are settled, and what others there are is noted in it.
    Names that begin with "." or "_" or end in ".part" or ".tmp" are not complete yet. Raises UsageError for a root that
    is not there, OSError for a folder that cannot be listed: what is in it would be missing.
    """
    files: list[LandedFile] = []
    ignored: list[Ignored] = []
    for root in dict.fromkeys(roots):
        if not root.is_dir():
            raise UsageError(f"The landing folder {root} does not exist. Create it, or name another with --landing.")
        mappings = read_mappings(root)
        with _listed(root, ignored) as entries:
            folders = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        for name, is_folder in folders.items():
            if name == MAPPING_NAME:
                continue
            if name not in ENTITIES:
                ignored.append(Ignored(root / name, _not_an_entity(name), _entity_within(root / name)))
            elif not is_folder:
                ignored.append(Ignored(root / name, NOT_A_FOLDER, name))
            else:
                # safeguard: mapped-files-are-looked-at
                is_looked_at = name in mappings or (blocks is not None and name in blocks.looked_at)
                of_entity = None if is_looked_at else blocks
                _walk(root, name, mappings.get(name, UNMAPPED), files, ignored, of_entity)
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


def _entity_within(path: Path) -> str | None:
    """The entity whose records probably lie in a file or folder that is ignored: by its name, else by what is in it."""
    is_folder = path.is_dir() and not path.is_symlink()
    files = _data_files(path, FOLDERS_LOOKED_AT) if is_folder else iter([path])
    for file in itertools.islice(files, FILES_LOOKED_AT):
        if read_as(file.name) == NO_FORMAT or not file.is_file():
            continue
        names = (path.name, *file.relative_to(path).parts[:-1])
        if meant := next(filter(None, map(resembling, names)), None):
            return meant
        try:
            with open_landed(file) as source:
                head = os.pread(source.file.fileno(), HEAD_BYTES, 0)
        except Postponed:
            continue
        if held := entity_of(head):
            return held
    return None


FILES_LOOKED_AT, FOLDERS_LOOKED_AT = 20, 100  # of a folder that is no entity's, and which may hold anything


def resembling(name: str) -> str | None:
    """The entity that a name resembles, with or without an extension."""
    found = get_close_matches(without_extension(name).lower().replace("-", "_"), ENTITIES, 1, 0.6)
    return found[0] if found else None


def require_landing(roots: Iterable[Path], used: AbstractSet[Path]) -> None:
    """Raise UsageError for a landing folder that holds files, and none in the folder of an entity: for any that is not
    `used`."""
    for root in roots:
        if root in used:
            continue
        stray = next((path for path in _data_files(root) if not _landed_meanwhile(root, path)), None)
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


def _landed_meanwhile(root: Path, path: Path) -> bool:
    """Whether a file stands where files are read: it was not there when they were listed."""
    try:
        return path.relative_to(root).parts[0] in ENTITIES and stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def _data_files(root: Path, most_folders: int | None = None) -> Iterator[Path]:
    """Complete files under a folder by whose names data lands; of its first folders alone if it says how many."""
    for folder, folders, names in itertools.islice(os.walk(root), most_folders):
        folders[:] = sorted(name for name in folders if not is_unfinished(name))
        for name in sorted(names):
            if not is_unfinished(name) and read_as(name) != NO_FORMAT:
                yield Path(folder, name)


def _walk(
    root: Path,
    entity: str,
    mapping: EntityMapping,
    files: list[LandedFile],
    ignored: list[Ignored],
    blocks: Blocks | None,
) -> None:
    base = str(root / entity)[: -len(entity)]
    folders = [entity]
    while folders:
        folder = folders.pop()
        with _listed(base + folder, ignored) as entries:
            left = entries
            if blocks is not None:
                regular: list[os.DirEntry[str]] = []
                left = []
                for entry in entries:
                    (regular if entry.is_file(follow_symlinks=False) else left).append(entry)
                left += blocks.divide(root, base + folder, regular)
            for entry in left:
                name = f"{folder}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif not entry.is_file(follow_symlinks=False):  # safeguard: no-link-listed
                    ignored.append(Ignored(Path(base + name), NOT_REGULAR, entity if entry.is_symlink() else None))
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
    # Whom to forget may stand in a list without a header.
    is_suspect = looks_like_table(head) or (entity == "erasures" and looks_like_list(head))
    found = landed_file(root, entity, name, str(ignored.path), mapping, is_data=is_data)
    return replace(found, holds=entity) if isinstance(found, Ignored) and is_suspect else found


@contextmanager
def _listed(folder: Path | str, ignored: list[Ignored]) -> Iterator[list[os.DirEntry[str]]]:
    """Yield what is in a folder, by name; nothing if it has just gone. Raises OSError if it cannot be listed.

    It is open meanwhile: what is asked of each of thousands of files below a descriptor takes two thirds of the time.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield []
        return
    try:
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=attrgetter("name"))
        unfinished = {entry.name for entry in found if is_unfinished(entry.name)}
        ignored += (Ignored(Path(folder, name), UNFINISHED) for name in sorted(unfinished))
        yield [entry for entry in found if entry.name not in unfinished] if unfinished else found
    finally:
        os.close(descriptor)
