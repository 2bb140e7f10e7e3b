"""Raw: immutable folders of what landed; a landed file is named by its bytes and by the parser that read them.

    <lake>/raw/<entity>/<name>/  of one landed file its key, of several (a pack) the sha256 of keys.json
        2013-07-01.parquet       sessions, one file a UTC day of startedAt; other entities: all.parquet
        rejects.parquet          what was not accepted: line, field, reason, text
        index.json               what is in the folder, and from which landed files; a folder without it does not exist
        keys.json                of a pack: the keys of its landed files, known though the index is lost

    key of a landed file = sha256 of "<landed sha256>:<entity>:<read as>:<PARSER_VERSION>[:<mapping>]"

The rows of a landed file in a pack stand one after the other, in its order, in every file that has some; so do its
rejected records. ingest.py makes folders, of small files by packs.py; pack_parts.py says which hold some landed files,
also where they are not all that a pack holds; jobs/redaction.py removes records for `forget` and retention.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.durable_files import (
    checked_table,
    json_bytes,
    verify,
    verify_checksum,
    with_checksum,
    write_bytes,
)
from pipelines.core.errors import Damaged
from pipelines.core.row_digest import combined_digest
from pipelines.core.settings import Settings
from pipelines.landing import Stamp, read_as, suggestions
from pipelines.landing.named_day import named_day
from pipelines.landing.schema import ENTITIES
from pipelines.landing.unreadable import OF_EVERY_RECORD, describe
from pipelines.raw.erasure_register import Register
from pipelines.raw.writer import WrittenFile

# Raise it when the same landed bytes would give other rows, other rejects or other columns. Every landed file that is
# still there is then read again; raw of an earlier version counts only where no later one exists.
PARSER_VERSION = 4

FOLDERS_SINCE = 4  # the first parser version that reads fields out of `key=value` folders

# What to do about damage. A run that has no need of the folder passes over it.
RUN_AGAIN = (
    "Run again: that parses it again from what landed. Should the same be said after the run, which passes over what "
    "it does not need, move that folder out of the lake and run."
)


INDEX, KEYS = "index.json", "keys.json"

BytesId: TypeAlias = tuple[str, str, str]  # (entity, sha256 of the landed bytes, their format)


def bytes_id_of(identity: tuple[str, str, str]) -> BytesId:
    """An identity without the fields that stood in folders."""
    entity, landed_sha256, how = identity
    return entity, landed_sha256, how.partition("@")[0]


class RawFile(msgspec.Struct, frozen=True, dict=True):
    """One landed file in raw: what the index of its folder says of it."""

    location: str  # of the folder
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
    erased: int = 0  # accepted records that are not there, since whose they were was forgotten
    also_landed: dict[str, int] = {}  # sha256 -> bytes of the landed file without those
    folders: str = ""  # digest of the fields that stood in the folders of its name
    mapping: str = ""  # digest of the mapping that it was read by
    reading: int = 0  # raised when a file is read by another mapping than before: the highest counts
    removed: dict[str, int] = {}  # UTC day -> accepted records that retention has removed
    expired: dict[str, int] = {}  # the same by earlier versions: see retention.require_days
    unreadable: str | None = None  # why the file could not be read, or not as a whole
    landed_files: int = 1  # in its folder

    @property
    def is_packed(self) -> bool:
        """Whether its folder holds other landed files as well."""
        return self.landed_files > 1

    @cached_property
    def folder(self) -> Path:
        """The folder. A Path is made when one is asked for: most of a long history is known and never opened."""
        return Path(self.location)

    @cached_property
    def identity(self) -> tuple[str, str, str]:
        """(entity, sha256 of the landed bytes, how they were read): what there is one of."""
        how = read_as(self.landed_name)
        return self.entity, self.landed_sha256, f"{how}@{self.folders}" if self.folders else how

    @property
    def bytes_id(self) -> BytesId:
        """(entity, sha256 of the landed bytes, their format), whatever folder they stood in."""
        return bytes_id_of(self.identity)

    @property
    def entry(self) -> dict[str, Any]:
        """What a snapshot that rests on it says of it."""
        return {
            "entity": self.entity,
            "name": self.landed_name,
            "sha256": self.landed_sha256,
            "key": self.key,
            "records": self.records,
            "accepted": self.accepted,
            "rejected": self.rejected,
            **({"folders": self.folders} if self.folders else {}),
        }

    @property
    def removed_days(self) -> dict[str, int]:
        """UTC day -> accepted records that retention has removed, whenever it did."""
        return dict(Counter(self.removed) + Counter(self.expired)) if self.removed or self.expired else {}

    def path(self, name: str) -> Path:
        """Where the file of a day, or `all`, stands."""
        return self.folder / f"{name}.parquet"

    @property
    def rejects_path(self) -> Path:
        """Where the rejected records stand, if there are any."""
        return self.folder / "rejects.parquet"

    def table(self, name: str, columns: tuple[str, ...] | None = None) -> pa.Table:
        """The rows of a day, or of `all`, of this landed file alone, checked. Raises Damaged."""
        facts = self.files[name]
        if not self.is_packed:
            return checked_table(self.path(name), facts.sha256, columns)
        return _pack_table(self.path(name), facts.sha256, columns).slice(facts.first_row, facts.rows)

    def rejected_records(self) -> Iterator[pa.RecordBatch]:
        """Its rejected records in order, some at a time, checked. Raises Damaged."""
        if self.rejects is None:
            return
        if not self.is_packed:
            verify(self.rejects_path, self.rejects.sha256)
            yield from rejects_in(self.rejects_path)
            return
        table = _pack_table(self.rejects_path, self.rejects.sha256, None)
        yield from table.slice(self.rejects.first_row, self.rejects.rows).to_batches()


def _pack_table(path: Path, sha256: str, columns: tuple[str, ...] | None) -> pa.Table:
    """A file of a pack, which is read for one of its landed files after the other; it is as small as they were."""
    return _read_pack_table(path, sha256, columns, _stamp_of(str(path)))


@lru_cache(maxsize=4)
def _read_pack_table(path: Path, sha256: str, columns: tuple[str, ...] | None, _: Stamp | None) -> pa.Table:
    return checked_table(path, sha256, columns)


class NamedTogether(msgspec.Struct, frozen=True, array_like=True):
    """The landed files of sessions of one folder whose names hold the same day, or none: see deliveries.py."""

    name: str  # of the first of them
    rows: dict[str, int]  # by UTC day
    rejected: int  # records; a file that cannot be read counts as one


class RawFolder(msgspec.Struct, frozen=True, dict=True):
    """A folder of raw: its files, and what there is to say of all the landed files together whose rows are meant.

    It is known by what its index says, and kept in the cache below: most of a long history is never looked at file by
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
            raise _damaged(self.path_of_folder) from error

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
    """The folders of some landed files, also of a few of a folder: see pack_parts.folders_of."""
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


@dataclass(frozen=True)
class RejectedRecord:
    """One rejected record, as `mostwatched rejects` shows it."""

    entity: str
    file: str  # the landed file's name under the landing root
    line: int
    field: str | None
    reason: str
    text: str


def raw_key(entity: str, landed_sha256: str, read_as: str, parser_version: int | None = None, mapping: str = "") -> str:
    """The name of the raw folder of a landed file's bytes, as this parser (or that of `parser_version`) reads them.

    `read_as` is how: a file of NDJSON that landed as .csv was rejected, and is read once it is named .ndjson. `mapping`
    is the digest of what `mostwatched.toml` says of the entity.
    """
    version = PARSER_VERSION if parser_version is None else parser_version
    named = f"{landed_sha256}:{entity}:{read_as}:{version}"  # without a mapping as it always was
    return hashlib.sha256((f"{named}:{mapping}" if mapping else named).encode()).hexdigest()


def pack_key(keys: Iterable[str]) -> str:
    """The name of the raw folder of several landed files, by their keys: the sha256 of its keys.json."""
    return hashlib.sha256(keys_json(keys)).hexdigest()


def keys_json(keys: Iterable[str]) -> bytes:
    """The content of keys.json."""
    return json_bytes(sorted(keys))


def raw_files(settings: Settings) -> list[RawFile]:
    """Every landed file in raw, by (entity, key): for each landed file's bytes as the latest parser read it.

    Raises Damaged for an index that cannot be read.
    """
    return list(latest_parsed(read_raw(settings, on_damage=raise_damaged)))


def latest_parsed(raw: Iterable[RawFile]) -> RawFiles:
    """For each landed file's bytes the raw folder of the latest parser and mapping, by (entity, key)."""
    if not isinstance(raw, RawFiles):
        return RawFiles(by_folder(_latest_parsed(raw)))
    whole: list[RawFolder] = []  # of which every landed file counts, so that none need be looked at by itself
    apart: list[RawFile] = []
    for entity in dict.fromkeys(folder.entity for folder in raw.folders):
        folders = [folder for folder in raw.folders if folder.entity == entity]
        current = [folder for folder in folders if folder.is_current]
        keys = [key for folder in current for key in folder.keys]
        known = set(keys)
        is_read_once = len(known) == len(keys)  # safeguard: pack-that-is-made-again-counts-once
        if not is_read_once or any(folder.is_mapped for folder in folders):
            apart += _latest_parsed(RawFiles(folders))
            continue
        whole += current
        # What an earlier parser read counts where this one has not read the same bytes.
        earlier = _latest_parsed(RawFiles([folder for folder in folders if not folder.is_current]))
        apart += (
            each for each in earlier if raw_key(entity, each.landed_sha256, read_as(each.landed_name)) not in known
        )
    return RawFiles([*whole, *by_folder(apart)]) if apart or len(whole) < len(raw.folders) else raw


def _latest_parsed(raw_folders: Iterable[RawFile]) -> list[RawFile]:
    raw_folders = list(raw_folders)
    readings = latest_readings(raw_folders)
    in_folders = {raw.bytes_id for raw in raw_folders if raw.folders}
    latest: dict[tuple[str, str, str], RawFile] = {}
    for raw in raw_folders:
        if readings and raw.reading != readings.get(raw.bytes_id, (0, ""))[0]:
            continue  # safeguard: superseded-mapping-does-not-count
        if in_folders and raw.parser_version < FOLDERS_SINCE and raw.bytes_id in in_folders:
            continue
        known = latest.get(raw.identity)
        if known is None or known.parser_version < raw.parser_version:
            latest[raw.identity] = raw
    return sorted(latest.values(), key=lambda raw: (raw.entity, raw.key))


def latest_readings(raw_folders: Iterable[RawFile]) -> dict[BytesId, tuple[int, str]]:
    """(the highest reading, the mapping of it) of the bytes that were read by a mapping at some time."""
    mapped = [raw for raw in raw_folders if raw.mapping or raw.reading]
    readings: dict[BytesId, tuple[int, str]] = {}
    for raw in mapped:
        if raw.reading >= readings.get(raw.bytes_id, (0, ""))[0]:
            readings[raw.bytes_id] = (raw.reading, raw.mapping)
    return readings


def resolve_landed(
    raw: Iterable[RawFile], landed: Iterable[Mapping[str, Any]], register: Register
) -> tuple[list[RawFile], list[str]]:
    """(the raw folders of the files that a manifest says had `landed`, the names of those of which there is none).

    By the `register` a landed file may have become another, without who was forgotten; by a mapping it may stand in
    folders whose names are fields by now.
    """
    there = {each.identity: each for each in raw}
    known = {landed_sha256 for _, landed_sha256, _ in there}
    by_bytes: dict[BytesId, list[RawFile]] | None = None
    found: dict[tuple[str, str, str], RawFile] = {}
    gone = []
    for file in landed:
        how = read_as(file["name"])
        content = (file["entity"], register.now(file["sha256"], known), how)
        identity = (*content[:2], f"{how}@{file['folders']}") if file.get("folders") else content
        if identity in there:
            found[identity] = there[identity]
            continue
        if by_bytes is None:
            by_bytes = defaultdict(list)
            for each in there.values():
                by_bytes[each.bytes_id].append(each)
        if content not in by_bytes:
            gone.append(file["name"])
        for each in by_bytes.get(content, ()):
            found[each.identity] = each
    return list(found.values()), gone


def every_raw_file(settings: Settings) -> list[RawFile]:
    """Every complete raw folder, also those of earlier parsers. Raises Damaged for an index that cannot be read."""
    return list(indexes(settings, on_damage=raise_damaged))


def raw_folders(settings: Settings) -> list[Path]:
    """The folders that hold raw folders, as far as they are there: by their names everything in raw is found."""
    root = raw_root(settings)
    return [folder for folder in (root, *(root / entity for entity in ENTITIES)) if folder.is_dir()]


def rejected_records(settings: Settings) -> Iterator[RejectedRecord]:
    """Every rejected record of the lake by (entity, file, line), read as it is asked for."""
    with_rejects = [raw for raw in raw_files(settings) if raw.rejects]
    for raw in sorted(with_rejects, key=lambda raw: (raw.entity, raw.landed_name, raw.key)):
        try:
            for batch in raw.rejected_records():
                for row in batch.to_pylist():
                    yield RejectedRecord(raw.entity, raw.landed_name, **row)
        except Damaged as error:
            raise Damaged(f"{error} {RUN_AGAIN}") from error


def describe_unreadable(raw: RawFile) -> str:
    """Say in sentences why a landed file could not be read, and what to do."""
    assert raw.unreadable is not None
    text = next((found for found in _texts_of(raw, raw.unreadable)), "")
    return describe(raw.entity, raw.landed_name, raw.unreadable, text)


def _texts_of(raw: RawFile, reason: str) -> Iterator[str]:
    """The text of the record that was rejected for a reason; of one that is about all of them, the first."""
    for batch in raw.rejected_records():
        place = 0 if reason in OF_EVERY_RECORD else pc.index(batch["reason"], reason).as_py()
        if place >= 0:
            yield str(batch["text"][place])


def suggest_mapping(raw: Iterable[RawFile]) -> Iterator[str]:
    """Yield for each entity with rejected records what `mostwatched.toml` should say for them to be read.

    Looked at are some records of some files: a platform that writes otherwise does so throughout.
    """
    by_entity: dict[str, list[RawFile]] = defaultdict(list)
    for each in raw:
        if each.rejects and not each.unreadable and len(by_entity[each.entity]) < _FILES_LOOKED_AT:
            by_entity[each.entity].append(each)
    for entity, files in by_entity.items():
        batches = (batch for each in files for batch in itertools.islice(each.rejected_records(), 1))
        rows = [row for batch in batches for row in batch.slice(0, _REJECTS_LOOKED_AT).to_pylist()]
        if suggestion := suggestions.of_rejections(entity, ((row["reason"], row["text"]) for row in rows)):
            yield suggestion


_FILES_LOOKED_AT = 5
_REJECTS_LOOKED_AT = 100
_BATCH_BYTES = 1 << 20  # the text of one record may be as long


def rejects_in(path: Path) -> Iterator[pa.RecordBatch]:
    """The rejected records of a rejects.parquet in order, about a MiB of them at a time however many there are."""
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows = max(1, group.num_rows * _BATCH_BYTES // group.total_byte_size)
            yield from file.iter_batches(rows, [number])


# --- damaged folders: never removed before there is another in their place -----------------------------------------


QUARANTINE_PREFIX = ".damaged-"


def quarantine(folder: Path) -> Path:
    """Rename a raw folder out of the way until another takes its place: the next `ingest` makes a damaged one again
    from what landed. Returns its new path."""
    (folder.parents[2] / INDEXES).unlink(missing_ok=True)  # what is remembered of it goes too
    return folder.rename(folder.with_name(QUARANTINE_PREFIX + folder.name))


def restore_quarantined(settings: Settings) -> list[Path]:
    """Remove quarantined folders that have been made again; put the others back. Returns those that were put back.

    A pack has been made again when each of its landed files is in some folder: the next run may read it with others.
    """
    lost = []
    for aside in _all_quarantined(settings):
        named = folder = aside.with_name(aside.name.removeprefix(QUARANTINE_PREFIX))
        keys = None
        with suppress(OSError, ValueError, msgspec.MsgspecError, Damaged):  # its index is damaged, too
            folder = folder_of(settings, from_index(aside, (aside / "index.json").read_bytes()))
        with suppress(OSError, ValueError):
            content = (aside / KEYS).read_bytes()
            keys = set(json.loads(content)) if hashlib.sha256(content).hexdigest() == named.name else None
        # safeguard: pack-stays-until-all-of-it-is-read-again
        if folder.exists() or (keys and keys <= {raw.key for raw in indexes(settings, on_damage=lambda _: None)}):
            shutil.rmtree(aside)
        else:
            aside.rename(folder)
            if folder == named:
                lost.append(folder)  # or nothing but its name was wrong
    return lost


def _all_quarantined(settings: Settings) -> list[Path]:
    return [
        folder / name
        for folder in raw_folders(settings)
        for name in sorted(os.listdir(folder))  # noqa: PTH208 (names are enough, of thousands)
        if name.startswith(QUARANTINE_PREFIX)
    ]


def raw_root(settings: Settings) -> Path:
    return settings.lake / "raw"


def exists(
    settings: Settings, entity: str, landed_sha256: str, read_as: str, mapping: str, packed: Collection[str]
) -> bool:
    """Whether raw holds a landed file of these bytes; `packed` are the keys of those in packs."""
    key = raw_key(entity, landed_sha256, read_as, mapping=mapping)
    return key in packed or os.path.isfile(f"{settings.lake}/raw/{entity}/{key}/{INDEX}")  # noqa: PTH113 (of thousands)


def packed_keys(raw: Iterable[RawFile]) -> frozenset[str]:
    """The keys of the landed files that are in packs."""
    return frozenset(key for folder in by_folder(raw) if folder.landed_files > 1 for key in folder.keys)


def is_in_raw(settings: Settings) -> Callable[[str, str, str, str], bool]:
    """Tells of (entity, sha256, read as, mapping) whether raw has a folder for it that counts."""

    @cache
    def there() -> RawFiles:
        return read_raw(settings, on_damage=lambda _: None)

    @cache
    def packed() -> frozenset[str]:
        return packed_keys(there())

    @cache
    def superseded() -> set[str]:
        return set(keys_of(there())) - set(keys_of(latest_parsed(there())))

    def is_there(entity: str, landed_sha256: str, read_as: str, mapping: str) -> bool:
        key = raw_key(entity, landed_sha256, read_as, mapping=mapping)
        return exists(settings, entity, landed_sha256, read_as, mapping, packed()) and key not in superseded()

    return is_there


def raise_damaged(folder: Path) -> None:
    raise _damaged(folder)


def _damaged(folder: Path) -> Damaged:
    return Damaged(
        f"{folder / 'index.json'} is damaged or missing. The next run makes the folder again from what "
        "landed; if the landed file is no longer there, land it again."
    )


def indexes(settings: Settings, on_damage: Callable[[Path], object]) -> Iterator[RawFile]:
    """Every landed file of the raw folders whose index can be read, by entity and folder."""
    for folder in read_raw(settings, on_damage).folders:
        yield from folder.landed


def read_raw(settings: Settings, on_damage: Callable[[Path], object]) -> RawFiles:
    """All of raw whose index can be read, by entity and folder. An index is parsed when it was written, not again."""
    known = _remembered(settings).folders
    folders: list[RawFolder] = []
    stamps: dict[str, Stamp] = {}
    for entity in ENTITIES:
        root = raw_root(settings) / entity
        if not root.is_dir():
            continue
        for name in sorted(os.listdir(root)):  # noqa: PTH208 (names are enough, of thousands)
            if name.startswith("."):
                continue
            stamp = _stamp_of(f"{root}/{name}/index.json")
            stamp_then, folder = known.get(f"{entity}/{name}", (None, None))
            if folder is None or stamp_then != stamp:  # safeguard: index-that-was-written-is-parsed
                folder = _parsed(root / name, settings, on_damage)
            if folder is not None:
                folders.append(folder)
                if stamp is not None:
                    stamps[f"{entity}/{name}"] = stamp
    return RawFiles(folders, stamps)


def _parsed(folder: Path, settings: Settings, on_damage: Callable[[Path], object]) -> RawFolder | None:
    """What the index of a folder says; None of what is no folder, or damaged."""
    try:
        found = from_index(folder, (folder / "index.json").read_bytes())
        if folder_of(settings, found) != folder:
            raise Damaged(f"{folder} is not named by what is in it.")
    except NotADirectoryError:
        return None
    except (FileNotFoundError, ValueError, msgspec.MsgspecError, Damaged):
        on_damage(folder)  # it got its name whole: an index that is not there was lost
        return None
    return RawFolder.of(found)


# --- what is remembered of raw: only a saving of time ---------------------------------------------------------------

INDEXES = "indexes.cache"  # in the lake, of this machine alone
_FORM = 3  # of its content, and of what RawFolder says of an index: raise it when either changes


class _Remembered(msgspec.Struct, frozen=True, array_like=True):
    form: int
    root: str
    parser_version: int
    folders: dict[str, tuple[Stamp, RawFolder]]  # by entity and folder: the stamp of its index and what it says
    settled: frozenset[str]  # see settled_blocks


def settled_blocks(settings: Settings, raw: RawFiles) -> frozenset[str]:
    """Blocks of landed files (landing/finding.py) all of which are in raw: such a block need not be looked at.

    None where an index is not what it was when that was noted, or is gone.
    """
    known = _remembered(settings)
    # safeguard: settled-while-raw-stays-as-it-was
    is_same = {name: stamp for name, (stamp, _) in known.folders.items()} == raw.stamps
    return known.settled if is_same else frozenset()


def save_indexes(settings: Settings, raw: RawFiles, settled: frozenset[str]) -> None:
    """Remember what indexes say, and what landed files need not be looked at, so that the next command does neither.

    An index is replaced and never changed: whatever damages one leaves it another change time.
    """
    known = _remembered(settings)
    stamps = raw.stamps or {}
    if known.settled == settled and {name: stamp for name, (stamp, _) in known.folders.items()} == stamps:
        return
    saved = {
        name: (stamps[name], folder) for folder in raw.folders if (name := _folder_name(folder.location)) in stamps
    }
    content = msgspec.json.encode(_Remembered(_FORM, str(raw_root(settings)), PARSER_VERSION, saved, settled))
    write_bytes(settings.lake / INDEXES, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def in_folders(raw: Iterable[RawFile]) -> dict[str, list[RawFile]]:
    """Landed files by the location of their folders."""
    found: dict[str, list[RawFile]] = {}
    for each in raw:
        found.setdefault(each.location, []).append(each)
    return found


def _folder_name(location: str) -> str:
    """The entity and the name of a folder of raw."""
    return "/".join(location.rsplit("/", 2)[1:])


def _remembered(settings: Settings) -> _Remembered:
    """What is remembered; nothing, where that is missing, damaged, or of another form, place or parser."""
    path = settings.lake / INDEXES
    root = str(raw_root(settings))
    stamp = _stamp_of(str(path))
    found = None if stamp is None else _read_remembered(path, stamp)
    if found is not None and (found.root, found.parser_version) == (root, PARSER_VERSION):
        return found
    return _Remembered(_FORM, root, PARSER_VERSION, {}, frozenset())


@lru_cache(maxsize=1)
def _read_remembered(path: Path, stamp: Stamp) -> _Remembered | None:
    del stamp  # it names the content
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
        # safeguard: cache-of-indexes-compared-with-checksum
        if checksum != hashlib.sha256(content).hexdigest().encode():
            return None
        found = msgspec.json.decode(content, type=_Remembered)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return found if found.form == _FORM else None


def _stamp_of(path: str) -> Stamp | None:
    try:
        return Stamp.of(os.stat(path))  # noqa: PTH116 (of a name: a path would first have to be made)
    except OSError:
        return None


def write_index(raw: RawFile) -> None:
    """Say something else of a landed file in the index of its folder, durably."""
    found = from_index(raw.folder, (raw.folder / INDEX).read_bytes()) if raw.is_packed else []
    write_bytes(raw.folder / INDEX, as_index([raw if each.key == raw.key else each for each in found] or [raw]))


def as_index(found: Sequence[RawFile]) -> bytes:
    """Return the content of index.json for the raw folder of some landed files."""
    if len(found) == 1 and not found[0].is_packed:
        return json_bytes(with_checksum(_facts(found[0])))
    files, rejects = files_of(found)
    landed = [
        {
            "key": each.key,
            **_facts(each),
            "files": {name: _rows_of(file) for name, file in each.files.items()},
            "rejects": each.rejects and {"rows": each.rejects.rows, "first_row": each.rejects.first_row},
        }
        for each in found
    ]
    for each in landed:
        del each["entity"]
    content = msgspec.json.encode(
        {
            "entity": found[0].entity,
            "files": {name: _as_json(file) for name, file in files.items()},
            "rejects": rejects and _rejects_as_json(rejects),
            "landed": landed,
        }
    )
    # As `with_checksum` has it, which writes a line a value: there may be twenty thousand landed files.
    body = content.removesuffix(b"}")
    return body + b',\n "seal": "' + hashlib.sha256(body + b"\n}\n").hexdigest().encode() + b'"\n}\n'


def _facts(raw: RawFile) -> dict[str, Any]:
    left_out = ("location", "key", "landed_files")
    facts: dict[str, Any] = {name: getattr(raw, name) for name in RawFile.__struct_fields__ if name not in left_out}
    # Of few files: that are no longer what was parsed, or were read by a mapping, out of folders, or not as a whole.
    for name in ("erased", "also_landed", "removed", "expired", "folders", "mapping", "reading", "unreadable"):
        if not facts[name]:
            del facts[name]
    facts["files"] = {name: _as_json(file) for name, file in raw.files.items()}
    facts["rejects"] = raw.rejects and _rejects_as_json(raw.rejects)
    return facts


def _as_json(file: WrittenFile) -> dict[str, Any]:
    facts = msgspec.structs.asdict(file)
    del facts["first_row"]
    if file.missing is None:
        del facts["missing"]
    return facts


def _rejects_as_json(rejects: WrittenFile) -> dict[str, Any]:
    return {"rows": rejects.rows, "bytes": rejects.bytes, "sha256": rejects.sha256}


def _rows_of(file: WrittenFile) -> dict[str, Any]:
    """What the index of a pack says of the rows of one landed file in one of its files."""
    facts = {"rows": file.rows, "first_row": file.first_row, "digest": file.digest, "newest": file.newest}
    return facts if file.missing is None else {**facts, "missing": file.missing}


def files_of(found: Sequence[RawFile]) -> tuple[dict[str, WrittenFile], WrittenFile | None]:
    """(the Parquet files of a raw folder by day or `all`, its rejected records), by all of its landed files."""
    if len(found) == 1:
        return found[0].files, found[0].rejects
    parts: dict[str, list[WrittenFile]] = defaultdict(list)
    for each in found:
        for name, file in each.files.items():
            parts[name].append(file)
    rejects = [each.rejects for each in found if each.rejects is not None]
    return {name: _added_up(parts[name]) for name in sorted(parts)}, _added_up(rejects) if rejects else None


def _added_up(parts: Sequence[WrittenFile]) -> WrittenFile:
    newest = max((each.newest for each in parts if each.newest is not None), default=None)
    missing: Counter[str] | None = None
    if all(each.missing is not None for each in parts):
        missing = Counter()
        for each in parts:
            missing.update(each.missing or {})
    return msgspec.structs.replace(
        parts[0],
        rows=sum(each.rows for each in parts),
        digest=combined_digest(each.digest for each in parts),
        newest=newest,
        missing=None if missing is None else dict(missing),
        first_row=0,
    )


def from_index(folder: Path, content: bytes) -> list[RawFile]:
    """The landed files of a raw folder by the content of its index. Raises ValueError, MsgspecError or Damaged."""
    index = verify_checksum(content)
    if index.get("rejects"):
        index["rejects"] = {**index["rejects"], **_NO_DIGEST}
    if "landed" not in index:
        return [msgspec.convert({**index, "location": str(folder), "key": folder.name}, RawFile)]
    common = {"entity": index["entity"], "location": str(folder), "landed_files": len(index["landed"])}
    landed = [
        {
            **each,
            **common,
            "files": {name: index["files"][name] | rows for name, rows in each["files"].items()},
            "rejects": each["rejects"] and index["rejects"] | each["rejects"],
        }
        for each in index["landed"]
    ]
    return msgspec.convert(landed, list[RawFile])


_NO_DIGEST = {"digest": "", "newest": None}


def folder_of(settings: Settings, found: Sequence[RawFile]) -> Path:
    """Return the path of a raw folder by what its index says of its landed files. Raises Damaged for a wrong key."""
    keys = [
        raw_key(each.entity, each.landed_sha256, each.identity[2], each.parser_version, each.mapping) for each in found
    ]
    if found[0].is_packed and keys != [each.key for each in found]:
        raise Damaged(f"{found[0].folder} holds a landed file that is not named by its bytes.")
    return raw_root(settings) / found[0].entity / (pack_key(keys) if found[0].is_packed else keys[0])
