"""Small landed files of a run share a raw folder, a pack: what a file costs is then what is in it.

A platform may land a file a minute and shard. A folder, a few Parquet files and a dozen waits for the disk a file would
cost more than all that is in it, and every run would find and open each again. So small files are buffered until there
are many, those of plain lines are read together, and their rows go to one folder. Which files share one depends on what
landed together, and says nothing of them: see layout.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.durable_files import make_folder, name_folder, remove_leftover, temporary_beside
from pipelines.core.row_digest import row_digests
from pipelines.core.settings import Settings
from pipelines.landing import (
    Batch,
    ChecksumMismatch,
    Content,
    CorruptionStart,
    DamagedArchive,
    FastReader,
    InMemory,
    LandedFile,
    NotByLine,
    RejectedLine,
    Source,
    count_unknown,
    decompressed,
    read_landed,
)
from pipelines.landing.mapping import EntityMapping
from pipelines.landing.schema import FLAT_ENTITIES, RAW_SCHEMAS
from pipelines.landing.unreadable import ONLY_WHITE_SPACE
from pipelines.raw.erasure_register import Register
from pipelines.raw.index import as_index
from pipelines.raw.layout import INDEX, KEYS, PARSER_VERSION, keys_json, pack_key, raw_key, raw_root
from pipelines.raw.raw_file import RawFile
from pipelines.raw.writer import (
    AGES,
    ALL,
    MAX_DAYS,
    OPTIONAL_COLUMNS,
    PERSON,
    RawWriter,
    WrittenFile,
    within_days,
)

SMALL_BYTES = 1 << 20  # of a landed file that shares a pack, buffered in memory; what a larger one costs is its rows
BUFFERED_BYTES = 16 << 20  # of landed text that is buffered before it is read: a block, as of a large file
PACK_BYTES = 64 << 20  # of the landed files in one folder, which `forget` writes anew
PACK_FILES = 20_000
MANY_ROWS = 50_000  # in a small file: with fewer none is a part of its day by itself (see plan_sessions.PART_ROWS)

Result = TypeVar("Result")


@dataclass
class Counts:
    """What a landed file holds, counted as it is read."""

    entity: str
    register: Register
    accepted: int = 0
    erased: int = 0
    blank: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: str | None = None
    _days: set[date] = field(default_factory=set)

    def add(self, read: Batch) -> Batch:
        """Count the next batch; returns it without what does not get into raw."""
        batch = within_days(read, self._days) if self.entity == "viewing_sessions" else read
        left = _without_forgotten(self.register, self.entity, batch)
        self.accepted += batch.accepted.num_rows
        self.erased += batch.accepted.num_rows - left.accepted.num_rows
        self.blank += batch.blank
        self.unreadable = self.unreadable or batch.unreadable
        self.reasons.update(each.reason for each in batch.rejected)
        for name, times in batch.unknown_fields.items():
            count_unknown(self.unknown, name, times)
        return left

    def landed(self, file: LandedFile, sha256: str, size: int, reading: int) -> RawFile:
        """The landed file, counted, as it stands in a folder of its own; without its files."""
        unreadable = self.unreadable
        if unreadable == ONLY_WHITE_SPACE and sha256 in self.register.emptied.values():  # `forget` left it so
            unreadable = None
        return RawFile(
            location="",
            key=raw_key(file.entity, sha256, file.read_as, mapping=file.mapping.digest),
            entity=file.entity,
            landed_name=file.name,
            landed_sha256=sha256,
            landed_bytes=size,
            parser_version=PARSER_VERSION,
            records=self.accepted + self.reasons.total(),
            accepted=self.accepted,
            rejected=self.reasons.total(),
            blank=self.blank,
            unknown_fields=dict(sorted(self.unknown.items())),
            rejected_by_reason=dict(sorted(self.reasons.items())),
            files={},
            rejects=None,
            erased=self.erased,
            folders=file.mapping.folders_digest,
            mapping=file.mapping.digest,
            reading=reading,
            unreadable=unreadable,
        )


def _without_forgotten(register: Register, entity: str, read: Batch) -> Batch:
    return register.without_forgotten(entity, read)  # safeguard: forgotten-stay-out


def read_again(
    read: Callable[[Content, CorruptionStart | None], Result], content: Content, rewind: Callable[[], object]
) -> Result:
    """Read a file, from the beginning again where what it is turns out too late."""
    corruption: CorruptionStart | None = None
    while True:
        try:
            return read(content, corruption)
        except ChecksumMismatch as error:
            corruption = error.corruption
        except NotByLine:
            content = content._replace(is_by_value=True)
        rewind()


@dataclass
class _BufferedFile:
    """A landed file whose bytes are known and whose rows are not in a folder yet."""

    file: LandedFile
    content: Content
    sha256: str
    size: int
    reading: int
    data: bytes  # as it landed
    text: bytes | None  # lines of JSON that may be read together with others
    counts: Counts
    rows: list[pa.Table] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)


class PackWriter:
    """Holds small landed files of one entity, and writes them into packs."""

    def __init__(self, settings: Settings, entity: str, register: Register) -> None:
        self._root = raw_root(settings) / entity
        self.entity = entity
        self._register = register
        self._buffered: list[_BufferedFile] = []
        self._buffered_bytes = 0
        self._readers: dict[EntityMapping, FastReader] = {}
        self._writer: RawWriter | None = None
        self._workshop: Path | None = None
        self._files: list[RawFile] = []  # of the pack that is being written
        self._pack_bytes = self._rejected = 0
        self._done: list[RawFile] = []
        self.keys: set[str] = set()  # of all that was buffered

    def add(
        self,
        file: LandedFile,
        source: Source,
        content: Content,
        is_there: Callable[[str], bool],
        reading: Callable[[str], int],
    ) -> str | None:
        """Take an open small file; returns the sha256 of its bytes, None if it has to have a folder of its own.

        Nothing is taken of one whose bytes are in the lake or were taken before. Raises Postponed if it changes.
        """
        data = b"".join(source.chunks())
        sha256 = source.sha256()
        source.check_unchanged()
        key = raw_key(file.entity, sha256, file.read_as, mapping=file.mapping.digest)
        if key in self.keys or is_there(sha256):
            return sha256
        counts = Counts(self.entity, self._register)
        buffered = _BufferedFile(file, content, sha256, len(data), 0, data, _lines(self.entity, content, data), counts)
        if content.format == "parquet":  # is read from the file itself
            source.rewind()
            if not _read_alone(buffered, source):
                return None
            source.check_unchanged()
        elif buffered.text is None and not _read_alone(buffered, InMemory(data)):
            return None
        buffered.reading = reading(sha256)
        self.keys.add(key)
        self._buffered.append(buffered)
        self._buffered_bytes += len(data if buffered.text is None else buffered.text)
        if self._buffered_bytes >= BUFFERED_BYTES:
            self._write_buffered()
        return sha256

    def finish(self) -> list[RawFile]:
        """Write what is buffered; returns every landed file that was taken, in folders that are whole."""
        self._write_buffered()
        self._close()
        return self._done

    def abandon(self) -> None:
        """Drop what is not in a whole folder."""
        if self._writer is not None:
            self._writer.abandon()
        if self._workshop is not None:
            remove_leftover(self._workshop)

    def _write_buffered(self) -> None:
        buffered, self._buffered, self._buffered_bytes = self._buffered, [], 0
        if not buffered:
            return
        if self._writer is None:
            make_folder(self._root)
            self._workshop = temporary_beside(self._root / "unnamed")  # it is named once its landed files are known
            self._workshop.mkdir()
            self._writer = RawWriter(self.entity, self._workshop)
        parts = self._read_together(buffered)
        first = len(self._files)
        for number, each in enumerate(buffered):
            raw = each.counts.landed(each.file, each.sha256, each.size, each.reading)
            if each.rejected:
                rejects = WrittenFile(len(each.rejected), 0, "", "", None, first_row=self._rejected)
                raw = msgspec.structs.replace(raw, rejects=rejects)
                self._rejected += len(each.rejected)
                self._writer.append(Batch(RAW_SCHEMAS[self.entity].empty_table(), each.rejected, 0, Counter()))
            self._files.append(raw)
            self._pack_bytes += each.size
            parts += [_placed(rows, number) for rows in each.rows]
        if parts:
            self._write_rows(pa.concat_tables(parts), first)
        if self._pack_bytes >= PACK_BYTES or len(self._files) >= PACK_FILES:
            self._close()

    def _read_together(self, buffered: Sequence[_BufferedFile]) -> list[pa.Table]:
        """Read the files that are lines of JSON; returns the rows of those that could be read together, with the number
        of the file that each is of."""
        by_mapping: dict[EntityMapping, list[int]] = {}
        for number, each in enumerate(buffered):
            if each.text is not None:
                by_mapping.setdefault(each.file.mapping, []).append(number)
        found = []
        for mapping, numbers in by_mapping.items():
            if len(self._readers) > _MAX_READERS:
                self._readers.clear()
            reader = self._readers.setdefault(mapping, FastReader(self.entity, mapping=mapping))
            read = reader.read_texts([buffered[number].text or b"" for number in numbers])
            number_of_row = pa.array(numbers, pa.int64()).take(read.text_of_row)
            rows = read.rows.append_column(_FILE, number_of_row)
            for counted in pc.value_counts(number_of_row).to_pylist():
                buffered[counted["values"]].counts.accepted = counted["counts"]
            left = _without_forgotten(self._register, self.entity, Batch(rows, [], 0, Counter())).accepted
            if left.num_rows < rows.num_rows:
                gone = Counter(number_of_row.to_pylist())
                gone.subtract(left[_FILE].to_pylist())
                for number, count in gone.items():
                    buffered[number].counts.erased = count
            for text, unknown in read.unknown.items():
                buffered[numbers[text]].counts.unknown = unknown
            for text, number in enumerate(numbers):
                if text not in read.texts:
                    _read_alone(buffered[number], InMemory(buffered[number].data), limited=False)
            found.append(left)
        return found

    def _write_rows(self, rows: pa.Table, first: int) -> None:
        """Write rows of several files, each numbered from 0, by day and file; `first` is the place of file 0."""
        assert self._writer is not None
        is_by_day = self.entity == "viewing_sessions"
        days = pc.cast(rows["started_at"], pa.date32()) if is_by_day else pa.nulls(rows.num_rows, pa.date32())
        order = pc.sort_indices(
            pa.table({"day": days, "file": rows[_FILE], "line": rows["line"]}),
            sort_keys=[("day", "ascending"), ("file", "ascending"), ("line", "ascending")],
        )
        rows, days = rows.take(order).combine_chunks(), days.take(order)
        start = 0
        for found in pc.value_counts(days).to_pylist():  # in order of appearance
            name = found["values"].isoformat() if is_by_day else ALL
            of_day = rows.slice(start, found["counts"])
            start += found["counts"]
            first_row = self._writer.append_day(name, of_day.drop_columns([_FILE]))
            for number, facts in _by_file(of_day, first_row):
                self._files[first + number].files[name] = facts

    def _close(self) -> None:
        """Give the pack its name: from then on its landed files are in the lake, all at once."""
        if self._writer is None or self._workshop is None:
            return
        files, rejects = self._writer.finish()
        is_alone = len(self._files) == 1
        name = self._files[0].key if is_alone else pack_key(raw.key for raw in self._files)
        done = []
        for raw in self._files:
            its_files = {
                day: msgspec.structs.replace(own, bytes=files[day].bytes, sha256=files[day].sha256)
                for day, own in sorted(raw.files.items())
            }
            its_rejects = None
            if raw.rejects is not None and rejects is not None:
                its_rejects = msgspec.structs.replace(rejects, rows=raw.rejects.rows, first_row=raw.rejects.first_row)
            done.append(
                msgspec.structs.replace(
                    raw,
                    location=str(self._root / name),
                    files=its_files,
                    rejects=its_rejects,
                    landed_files=len(self._files),
                )
            )
        (self._workshop / INDEX).write_bytes(as_index(done))
        if not is_alone:
            (self._workshop / KEYS).write_bytes(keys_json(raw.key for raw in done))
        name_folder(self._workshop, self._root / name)
        remove_leftover(self._workshop)
        self._done += done
        self._writer = self._workshop = None
        self._files, self._pack_bytes, self._rejected = [], 0, 0


class Packs:
    """The packs of a run, those of one entity after those of another."""

    def __init__(self, settings: Settings, register: Register) -> None:
        self._settings = settings
        self._register = register
        self._writer: PackWriter | None = None
        self._done: list[RawFile] = []

    def __enter__(self) -> Packs:
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is not in a whole folder."""
        if self._writer is not None:
            self._writer.abandon()

    def add(
        self,
        file: LandedFile,
        source: Source,
        content: Content,
        is_there: Callable[[str], bool],
        reading: Callable[[str], int],
    ) -> str | None:
        """See PackWriter; files come by entity."""
        if self._writer is None or self._writer.entity != file.entity:
            self.finish()
            self._writer = PackWriter(self._settings, file.entity, self._register)
        return self._writer.add(file, source, content, is_there, reading)

    def finish(self) -> list[RawFile]:
        """Make the last pack whole; returns every landed file that was taken."""
        if self._writer is not None:
            self._done += self._writer.finish()
            self._writer = None
        return self._done


_FILE = "landed_file"  # a column beside those of raw, for as long as rows of several files are together
_MAX_READERS = 64


def _placed(rows: pa.Table, number: int) -> pa.Table:
    return rows.append_column(_FILE, pa.repeat(pa.scalar(number, pa.int64()), rows.num_rows))


def _lines(entity: str, content: Content, data: bytes) -> bytes | None:
    """The text of a file of lines of JSON of a flat entity; None of any other, or of one that is not so small."""
    if content.format != "ndjson" or content.problem or content.is_by_value or entity not in FLAT_ENTITIES:
        return None
    text = data
    if content.compression is not None:
        parts, size = [], 0
        with suppress(DamagedArchive):
            for part in decompressed(iter([data]), content.compression):
                parts.append(part)
                size += len(part)
                if size > BUFFERED_BYTES:
                    return None
            text = b"".join(parts)
        if text is data:
            return None
    return text if text and text.count(b"\n") < MAX_DAYS else None


def _read_alone(buffered: _BufferedFile, source: Source | InMemory, *, limited: bool = True) -> bool:
    """Read a buffered file by itself; False where what is in it is too much to be buffered."""

    def read(content: Content, corruption: CorruptionStart | None) -> bool:
        buffered.counts = Counts(buffered.file.entity, buffered.counts.register)
        buffered.rows, buffered.rejected = [], []
        size = 0
        for batch in read_landed(buffered.file.entity, content, source, corruption, buffered.file.mapping):
            left = buffered.counts.add(batch)
            buffered.rejected += left.rejected
            size += left.accepted.nbytes + sum(len(each.text) + 100 for each in left.rejected)
            if left.accepted.num_rows:
                buffered.rows.append(left.accepted)
            if limited and (size > BUFFERED_BYTES or buffered.counts.accepted >= MANY_ROWS):
                return False
        return True

    return read_again(read, buffered.content, source.rewind if isinstance(source, Source) else lambda: None)


def _by_file(rows: pa.Table, first_row: int) -> Iterator[tuple[int, WrittenFile]]:
    """(the number of a file, what there is to say of its rows) of rows of one day, in the order of the files."""
    landed = rows
    aggregates: list[tuple[str, str] | tuple[str, str, pc.FunctionOptions]] = [("line", "count")]
    names = rows.column_names
    ages = [name for name in AGES if name in names]
    for name in ages:
        rows = rows.set_column(names.index(name), name, pc.cast(rows[name], pa.int64()))
        aggregates.append((name, "max"))
    is_sessions = "session_id" in names
    if is_sessions:
        nobody = pc.and_(pc.is_null(rows["viewer_id"]), pc.is_null(rows["device_id"]))
        rows = rows.append_column(PERSON, nobody.cast(pa.int64()))
        aggregates += [(name, "count", pc.CountOptions(mode="only_null")) for name in OPTIONAL_COLUMNS]
        aggregates.append((PERSON, "sum"))
    found = rows.group_by(_FILE, use_threads=False).aggregate(aggregates).sort_by(_FILE).to_pylist()
    digests = row_digests(landed, [each["line_count"] for each in found], leave_out=("line", _FILE))
    for each, digest in zip(found, digests, strict=True):
        newest = max((at for name in ages if (at := each[f"{name}_max"]) is not None), default=None)
        missing = None
        if is_sessions:
            missing = {name: each[f"{name}_count"] for name in OPTIONAL_COLUMNS} | {PERSON: each[f"{PERSON}_sum"]}
        yield each[_FILE], WrittenFile(each["line_count"], 0, "", digest, newest, missing, first_row)
        first_row += each["line_count"]
