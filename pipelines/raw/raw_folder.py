"""A folder of raw, and all of raw as folders: what is known of landed files without looking at each of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from pipelines.landing import Stamp
from pipelines.landing.named_day import named_day
from pipelines.raw.index import damaged_index, files_of, from_index
from pipelines.raw.layout import INDEX, INDEXES, PARSER_VERSION
from pipelines.raw.raw_file import RawFile
from pipelines.raw.writer import WrittenFile


class NamedTogether(msgspec.Struct, frozen=True, array_like=True):
    """The landed files of sessions of one folder whose names hold the same day, or none: see deliveries.py."""

    name: str  # of the first of them
    rows: dict[str, int]  # by UTC day
    rejected: int  # records; a file that cannot be read counts as one


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

    def digests(self, name: str) -> tuple[str, ...]:
        """Of a pack, the digests of the rows that each of its landed files has in a file.

        What is derived is named by those: by what landed, and not by what shares a folder.
        """
        return tuple(self.landed_digests.get(name, ()))


def entries_digest(entries: Iterable[Mapping[str, Any]]) -> str:
    """The sha256 of what is said of landed files, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(ascii(sorted(each.items())) for each in entries)).encode()).hexdigest()


def _named_together(landed: Sequence[RawFile]) -> list[NamedTogether]:
    found: dict[date | None, NamedTogether] = {}
    for each in landed:
        day = named_day(each.landed_name)
        before = found.get(day, NamedTogether(each.landed_name, {}, 0))
        rows = Counter(before.rows)
        rows.update({name: file.rows for name, file in each.files.items()})
        rejected = before.rejected + (each.rejected or int(each.unreadable is not None))
        found[day] = NamedTogether(before.name, dict(rows), rejected)
    return list(found.values())


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
