"""A folder of raw, and all of raw as folders: what is known of landed files without looking at each of them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pipelines.landing import Stamp
from pipelines.landing.named_day import named_day
from pipelines.raw.index import damaged_index, files_of, from_index
from pipelines.raw.layout import INDEX, INDEXES, PARSER_VERSION
from pipelines.raw.raw_file import RawFile, pack_table
from pipelines.raw.writer import WrittenFile


class RowsOfFile(msgspec.Struct, frozen=True, array_like=True):
    """Where the rows of one landed file stand in the files of a pack."""

    key: str
    rows: dict[str, tuple[int, int]]  # by UTC day: (the first one, how many)


class NamedTogether(msgspec.Struct, frozen=True, array_like=True):
    """The landed files of sessions of one folder whose names hold the same day, or none: see deliveries.py."""

    name: str  # of the first of them
    rows: dict[str, int]  # by UTC day
    rejected: int  # records; a file that cannot be read counts as one
    # Of the latest days of a large pack, the first of them by key that hold sessions; None: they are in its index.
    first: list[RowsOfFile] | None = None


# Files of the latest days, by which it is told what the days in names mean: see deliveries.usual_shift.
LEARNED_FROM = 15
_LARGE_PACK = 200  # landed files: the index of a smaller one is read in less time than is worth remembering it


class AlsoLanded(msgspec.Struct, frozen=True, array_like=True):
    """What a landed file has become since it was read: those bytes are not read again."""

    entity: str
    sha256: str
    read_as: str
    bytes: int
    read_with: str  # the sha256 that it was read with


def also_landed(landed: Iterable[RawFile]) -> list[AlsoLanded]:
    """What some landed files have become."""
    return [
        AlsoLanded(each.entity, sha256, each.identity[2], size, each.landed_sha256)
        for each in landed
        for sha256, size in each.also_landed.items()
    ]


class RawFolder(msgspec.Struct, frozen=True, dict=True):
    """A folder of raw: its files, and what there is to say of all the landed files together whose rows are meant.

    It is known by what its index says, and kept in index_cache.py: most of a long history is never looked at file by
    file. All of it is a function of the index.
    """

    location: str
    entity: str
    landed_files: int  # in the folder
    joined_keys: str  # of those that are meant, 64 hexadecimal digits each
    entries_sha256: str  # of what the lists of landed files of snapshots say of them: see `entries_digest`
    files: dict[str, WrittenFile]  # by UTC day of startedAt, or "all"
    rejects: WrittenFile | None
    landed_digests: dict[str, list[str]]  # of a pack, by file: of the rows that each landed file has in it, in order
    named: list[NamedTogether]  # of sessions
    records: int
    accepted: int
    rejected: int
    erased: int
    rejected_by_reason: dict[str, int]
    removed: dict[str, int]
    expired: dict[str, int]
    parser_version: int  # by which all of them were read; 0 where those differ
    is_mapped: bool  # whether some were read by a mapping, or out of `key=value` folders
    has_unreadable: bool
    has_empty: bool  # a landed file without a record
    also_landed: list[AlsoLanded]
    only: RawFile | None  # where it is one that is meant

    @classmethod
    def of(cls, landed: Sequence[RawFile]) -> RawFolder:
        """The folder of some landed files that are all in it."""
        files, rejects = files_of(landed)
        digests: dict[str, list[str]] = {}
        reasons: Counter[str] = Counter()
        removed: Counter[str] = Counter()
        expired: Counter[str] = Counter()
        for each in landed:
            for name, file in each.files.items():
                digests.setdefault(name, []).append(file.digest)
            reasons.update(each.rejected_by_reason)
            removed.update(each.removed)
            expired.update(each.expired)
        folder = cls(
            location=landed[0].location,
            entity=landed[0].entity,
            landed_files=landed[0].landed_files,
            joined_keys="".join(each.key for each in landed),
            entries_sha256=entries_digest(each.entry for each in landed),
            files=files,
            rejects=rejects,
            landed_digests={name: sorted(each) for name, each in digests.items()} if len(landed) > 1 else {},
            named=_named_together(landed) if landed[0].entity == "viewing_sessions" else [],
            records=sum(each.records for each in landed),
            accepted=sum(each.accepted for each in landed),
            rejected=sum(each.rejected for each in landed),
            erased=sum(each.erased for each in landed),
            rejected_by_reason=dict(reasons),
            removed=dict(removed),
            expired=dict(expired),
            parser_version=landed[0].parser_version if len({each.parser_version for each in landed}) == 1 else 0,
            is_mapped=any(each.mapping or each.reading or each.folders for each in landed),
            has_unreadable=any(each.unreadable for each in landed),
            has_empty=any(not each.records for each in landed),
            also_landed=also_landed(landed),
            only=landed[0] if len(landed) == 1 else None,
        )
        folder.__dict__["landed"] = landed
        return folder

    @cached_property
    def landed(self) -> Sequence[RawFile]:
        """The landed files whose rows are meant. Of a pack its index is read. Raises Damaged."""
        if self.only is not None:
            return [self.only]
        try:
            return from_index(self.path_of_folder, (self.path_of_folder / INDEX).read_bytes())
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            # safeguard: index-damaged-unnoticed-is-parsed-by-the-next-run
            (self.path_of_folder.parents[2] / INDEXES).unlink(missing_ok=True)
            raise damaged_index(self.path_of_folder) from error

    @cached_property
    def keys(self) -> Sequence[str]:
        """Of the landed files that are meant."""
        return [self.joined_keys[at : at + 64] for at in range(0, len(self.joined_keys), 64)]

    @property
    def is_current(self) -> bool:
        """Whether all were read by this parser and by no mapping: no other reading of their bytes counts in place of
        this one."""
        return self.parser_version == PARSER_VERSION and not self.is_mapped  # safeguard: earlier-reading-is-not-current

    @property
    def first_name(self) -> str | None:
        """A name by which one of its landed files landed; None of a pack of anything but sessions."""
        if self.named:
            return self.named[0].name
        return None if self.only is None else self.only.landed_name

    @property
    def is_whole(self) -> bool:
        """Whether all landed files in it are meant."""
        return len(self.joined_keys) == 64 * self.landed_files

    @property
    def key(self) -> str:
        """The key of its landed file, or the name of a pack."""
        return self.only.key if self.only is not None else self.path_of_folder.name

    @property
    def removed_days(self) -> dict[str, int]:
        """UTC day -> accepted records that retention has removed, whenever it did."""
        return dict(Counter(self.removed) + Counter(self.expired)) if self.removed or self.expired else {}

    @cached_property
    def path_of_folder(self) -> Path:
        """The folder. A Path is made when one is asked for, as of a RawFile."""
        return Path(self.location)

    def path(self, name: str) -> Path:
        """Where the file of a day, or `all`, stands."""
        return self.path_of_folder / f"{name}.parquet"

    @property
    def rejects_path(self) -> Path:
        """Where the rejected records stand, if there are any."""
        return self.path_of_folder / "rejects.parquet"

    def part(self, name: str, rows: tuple[int, int], columns: tuple[str, ...]) -> pa.Table:
        """Some rows (the first one, how many) of the file of a day, or of `all`, of a pack, checked. Raises Damaged."""
        return pack_table(self.path(name), self.files[name].sha256, columns).slice(*rows)

    def digests(self, name: str) -> tuple[str, ...]:
        """Of a pack, the digests of the rows that each of its landed files has in a file.

        What is derived is named by those: by what landed, and not by what shares a folder.
        """
        return tuple(self.landed_digests.get(name, ()))


def entries_digest(entries: Iterable[Mapping[str, Any]]) -> str:
    """The sha256 of what is said of landed files, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(ascii(sorted(each.items())) for each in entries)).encode()).hexdigest()


def _named_together(landed: Sequence[RawFile]) -> list[NamedTogether]:
    together: dict[date | None, list[RawFile]] = defaultdict(list)
    for each in landed:
        together[named_day(each.landed_name)].append(each)
    first = _first_of_latest(together) if len(landed) > _LARGE_PACK else {}
    return [
        NamedTogether(
            files[0].landed_name,
            _rows_by_name(files),
            sum(each.rejected or int(each.unreadable is not None) for each in files),
            first.get(day),
        )
        for day, files in together.items()
    ]


def _first_of_latest(together: Mapping[date | None, Sequence[RawFile]]) -> dict[date | None, list[RowsOfFile]]:
    """The first files by key of the latest days, as many as are learned from."""
    first: dict[date | None, list[RowsOfFile]] = {}
    found = 0
    for day in sorted((day for day in together if day is not None), reverse=True):
        if found >= LEARNED_FROM:
            break
        files = sorted((each for each in together[day] if each.files), key=lambda each: each.key)[:LEARNED_FROM]
        first[day] = [
            RowsOfFile(each.key, {name: (file.first_row, file.rows) for name, file in each.files.items()})
            for each in files
        ]
        found += len(files)
    return first


def _rows_by_name(landed: Iterable[RawFile]) -> dict[str, int]:
    rows: dict[str, int] = defaultdict(int)
    for each in landed:
        for name, file in each.files.items():
            rows[name] += file.rows
    return dict(rows)


class RawFiles(Sequence[RawFile]):
    """Landed files in raw by (entity, key), known by their folders: one by one only where somebody goes through them.

    What is asked of all of them by a run in which little changed is asked of `folders`.
    """

    def __init__(self, folders: Sequence[RawFolder], stamps: Mapping[str, Stamp] | None = None) -> None:
        """`stamps` of the indexes of all that is in raw, by entity and folder, where these are all of it."""
        self.folders = folders
        self.stamps = stamps

    @cached_property
    def _apart(self) -> list[RawFile]:
        return sorted((raw for folder in self.folders for raw in folder.landed), key=lambda raw: (raw.entity, raw.key))

    def __len__(self) -> int:
        return sum(len(folder.joined_keys) for folder in self.folders) // 64

    def __iter__(self) -> Iterator[RawFile]:
        return iter(self._apart)

    def __getitem__(self, at: Any) -> Any:
        return self._apart[at]


def by_folder(raw: Iterable[RawFile]) -> Sequence[RawFolder]:
    """The folders of some landed files, also where they are not all of a folder: see pack_parts.folders_of."""
    if isinstance(raw, RawFiles):
        return raw.folders
    return [RawFolder.of(landed) for landed in in_folders(raw).values()]


def keys_of(raw: Iterable[RawFile]) -> Iterator[str]:
    """The key of each landed file."""
    return (key for folder in by_folder(raw) for key in folder.keys)


def divide_new(raw: Iterable[RawFile], seen_before: AbstractSet[str]) -> tuple[list[RawFile], RawFiles]:
    """(the files whose keys are not among `seen_before`, by (entity, key); all others)."""
    new: list[RawFile] = []
    others: list[RawFolder] = []
    for folder in by_folder(raw):
        if seen_before >= set(folder.keys):
            others.append(folder)
            continue
        new += (each for each in folder.landed if each.key not in seen_before)
        if left := [each for each in folder.landed if each.key in seen_before]:
            others.append(RawFolder.of(left))
    return sorted(new, key=lambda each: (each.entity, each.key)), RawFiles(others)


def packed_keys(raw: Iterable[RawFile]) -> frozenset[str]:
    """The keys of the landed files that are in packs."""
    return frozenset(key for folder in by_folder(raw) if folder.landed_files > 1 for key in folder.keys)


def in_folders(raw: Iterable[RawFile]) -> dict[str, list[RawFile]]:
    """Landed files by the location of their folders."""
    found: dict[str, list[RawFile]] = {}
    for each in raw:
        found.setdefault(each.location, []).append(each)
    return found
