"""A landed file in raw: what the index of its folder says of it, and its rows and rejected records."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.durable_files import checked_table, verify
from pipelines.landing import Stamp, read_as
from pipelines.raw.writer import WrittenFile

# What to do where a file of a raw folder is damaged. A run that has no need of the folder passes over it.
RUN_AGAIN = (
    "Run again: that parses it again from what landed. Should the same be said after the run, which passes over what "
    "it does not need, move that folder out of the lake and run."
)

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
        return pack_table(self.path(name), facts.sha256, columns).slice(facts.first_row, facts.rows)

    def rejected_records(self) -> Iterator[pa.RecordBatch]:
        """Its rejected records in order, some at a time, checked. Raises Damaged."""
        if self.rejects is None:
            return
        if not self.is_packed:
            verify(self.rejects_path, self.rejects.sha256)
            yield from rejects_in(self.rejects_path)
            return
        table = pack_table(self.rejects_path, self.rejects.sha256, None)
        yield from table.slice(self.rejects.first_row, self.rejects.rows).to_batches()


def pack_table(path: Path, sha256: str, columns: tuple[str, ...] | None) -> pa.Table:
    """A file of a pack, which is read for one of its landed files after the other; it is as small as they were."""
    return _read_pack_table(path, sha256, columns, stamp_of(str(path)))


@lru_cache(maxsize=4)
def _read_pack_table(path: Path, sha256: str, columns: tuple[str, ...] | None, _: Stamp | None) -> pa.Table:
    return checked_table(path, sha256, columns)


_BATCH_BYTES = 1 << 20  # the text of one record may be as long


def rejects_in(path: Path) -> Iterator[pa.RecordBatch]:
    """The rejected records of a rejects.parquet in order, about a MiB of them at a time however many there are."""
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows = max(1, group.num_rows * _BATCH_BYTES // group.total_byte_size)
            yield from file.iter_batches(rows, [number])


def stamp_of(path: str) -> Stamp | None:
    """The stamp of a file; None where it cannot be asked for."""
    try:
        return Stamp.of(os.stat(path))  # noqa: PTH116 (of a name: a path would first have to be made)
    except OSError:
        return None
