"""Remove records from raw folders: those of persons (`forget`), or days that are too old (retention).

Otherwise a raw folder never changes. A redacted folder keeps its name and its counts, so that its landed file is not
read again: accepted = rows that are there + erased + removed with their day. The old folder is quarantined, like a
damaged one, until the new one has its name: a kill in between loses nothing.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from pipelines.core import durable_files
from pipelines.core.errors import Damaged
from pipelines.core.row_digest import RowDigest
from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.landing.schema import RAW_SCHEMAS, REJECTS_SCHEMA
from pipelines.raw import erasure_register
from pipelines.raw.erasure_register import FORGOTTEN_TEXT, PERSON
from pipelines.raw.index import RawFile, as_index, every_raw_file, quarantine, rejects_in
from pipelines.raw.writer import WrittenFile

SESSIONS = "viewing_sessions"
EXPIRED_TEXT = "(the text of this record was removed with the last day of its file)"


@dataclass(frozen=True)
class Redaction:
    """The records to remove from one raw folder."""

    raw: RawFile
    records: Mapping[str, Mapping[str, int]]  # accepted records by file of the folder, and in it by user
    rejected: Mapping[str, int]  # rejected records whose text names a user


Owners = Callable[[Sequence[str]], list[set[str]]]  # whom each of some texts names


# --- persons --------------------------------------------------------------------------------------------------------


def find_records(
    connection: engine.Connection, raw: Iterable[RawFile], users: Collection[str], owners: Owners
) -> Iterator[Redaction]:
    """The raw folders that hold records of some users, or the text of a rejected record that names one.

    Raises Damaged for a file that is not what was written: who can tell whom it names?
    """
    raw = list(raw)
    counts = _records_of(connection, raw, users)
    for each in raw:
        records = {name: counts[path] for name in each.files if (path := str(each.path(name))) in counts}
        rejected: Counter[str] = Counter()
        if each.rejects is not None:
            for rows in _whole_rejects(each, each.rejects):
                rejected.update(user for named in owners(rows["text"].to_pylist()) for user in named)
        if records or rejected:
            yield Redaction(each, records, rejected)


def _records_of(
    connection: engine.Connection, raw: Sequence[RawFile], users: Collection[str]
) -> dict[str, dict[str, int]]:
    """How many records are whose, by path and user."""
    found: dict[str, dict[str, int]] = {}
    for entity, column in PERSON.items():
        if files := [_whole(each, name) for each in raw if each.entity == entity for name in each.files]:
            engine.register(connection, "landed", files, with_filename=True)
            query = (
                f"select filename, {column} as user_id, count(*) as records from landed "
                f"where {column} in (select unnest($users)) group by all"
            )
            for row in engine.query(connection, query, {"users": sorted(users)}).to_pylist():
                found.setdefault(row["filename"], {})[row["user_id"]] = row["records"]
    return found


def redact(redaction: Redaction, users: Collection[str], owners: Owners) -> None:
    """Replace the folder by one without the users' records, durably. Raises Damaged for one that is not what was
    written."""
    raw = redaction.raw
    gone = {name: sum(records.values()) for name, records in redaction.records.items()}
    with _replaced(raw) as new:
        files = {}
        for name, facts in raw.files.items():
            if name not in gone:
                durable_files.link_or_copy(raw.path(name), new / f"{name}.parquet")
                files[name] = facts
            elif gone[name] < facts.rows:
                files[name] = _write_rows_left(raw, name, new, users)
        rejects = _rejects(raw, new, owners if redaction.rejected else None, FORGOTTEN_TEXT)
        erased = raw.erased + sum(gone.values())
        _finish(new, replace(raw, files=files, rejects=rejects, erased=erased))


def _write_rows_left(raw: RawFile, name: str, new: Path, users: Collection[str]) -> WrittenFile:
    schema = RAW_SCHEMAS[raw.entity]
    facts, target = raw.files[name], new / f"{name}.parquet"
    digest = RowDigest(schema, leave_out=("line",))
    with pq.ParquetFile(_whole(raw, name)) as file, durable_files.parquet_writer(target, schema) as writer:
        for batch in file.iter_batches(batch_size=durable_files.ROW_GROUP_ROWS):
            rows = erasure_register.exclude_users(raw.entity, pa.Table.from_batches([batch]), users).cast(schema)
            digest.update(rows)
            writer.write_table(rows, row_group_size=durable_files.ROW_GROUP_ROWS)
    return WrittenFile(
        digest.rows, target.stat().st_size, durable_files.sha256_of(target), digest.hexdigest(), facts.newest
    )


# What earlier versions wrote in place of the id of somebody who was forgotten: in most of their records, and in
# those that a version of somebody else's had outdated. No id that lands is empty.
_PSEUDONYMS = ("\U0010fffdforgotten", "")


def remove_pseudonyms(settings: Settings) -> None:
    """Remove the records that earlier versions kept of the forgotten under other names, and say in the register that
    there are none any more. Cut short, it begins again. Raises Damaged for raw files that are not what was written.

    The erasure of the first of those names, in standing.ndjson, stays: it is nobody's, and snapshots rest on it.
    """
    raw = [each for each in every_raw_file(settings) if each.entity != "erasures"]
    with engine.session(settings, "forget") as connection:
        found = list(find_records(connection, raw, _PSEUDONYMS, _names_nobody))
    for each in found:
        redact(each, _PSEUDONYMS, _names_nobody)
    erasure_register.write(settings, erasure_register.read(settings))


def _names_nobody(texts: Sequence[str]) -> list[set[str]]:
    return [set() for _ in texts]


# --- days ------------------------------------------------------------------------------------------------------------


def expire(raw: RawFile, days: Collection[date]) -> None:
    """Replace a folder of sessions by one without some of its days, durably.

    When no day is left, the texts of its rejected records go as well.
    """
    with _replaced(raw) as new:
        files, removed = {}, dict(raw.removed)
        for name, facts in raw.files.items():
            if date.fromisoformat(name) in days:
                removed[name] = removed.get(name, 0) + facts.rows
            else:
                durable_files.link_or_copy(raw.path(name), new / f"{name}.parquet")
                files[name] = facts
        rejects = _rejects(raw, new, None if files else _names_somebody, EXPIRED_TEXT)
        _finish(new, replace(raw, files=files, rejects=rejects, removed=dict(sorted(removed.items()))))


# --- a folder in place of another ------------------------------------------------------------------------------------


def record_replacement(raw: RawFile, sha256: str, size: int) -> None:
    """Note that bytes of that sha256 are what became of the folder's landed file, so that they are not read as new."""
    noted = replace(raw, also_landed={**raw.also_landed, sha256: size})
    durable_files.write_json(raw.folder / "index.json", as_index(noted))


@contextmanager
def _replaced(raw: RawFile) -> Iterator[Path]:
    """Yield a folder to fill; when the block ends well it stands in place of the raw folder, which is gone, durably."""
    new = durable_files.temporary_beside(raw.folder)
    new.mkdir()
    try:
        yield new
        for path in new.iterdir():
            durable_files.fsync(path)
        durable_files.fsync(new)
        aside = quarantine(raw.folder)
        new.rename(raw.folder)
        durable_files.fsync(raw.folder.parent)
        shutil.rmtree(aside)
        durable_files.fsync(raw.folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _names_somebody(texts: Sequence[str]) -> list[set[str]]:
    return [{""} for _ in texts]


def _rejects(raw: RawFile, new: Path, owners: Owners | None, replacement: str) -> WrittenFile | None:
    """The rejected records, with another text where one names somebody; None: as they are."""
    if raw.rejects is None:
        return None
    target = new / raw.rejects_path.name
    if owners is None:
        durable_files.link_or_copy(raw.rejects_path, target)
        return raw.rejects
    with durable_files.parquet_writer(target, REJECTS_SCHEMA) as writer:
        for rows in _whole_rejects(raw, raw.rejects):
            landed = rows["text"].to_pylist()
            texts = [replacement if named else text for text, named in zip(landed, owners(landed), strict=True)]
            columns = {name: pa.array(texts) if name == "text" else rows[name] for name in REJECTS_SCHEMA.names}
            writer.write_table(pa.table(columns).cast(REJECTS_SCHEMA))
    return replace(raw.rejects, bytes=target.stat().st_size, sha256=durable_files.sha256_of(target))


def _finish(new: Path, raw: RawFile) -> None:
    (new / "index.json").write_bytes(durable_files.json_bytes(as_index(raw)))


def _whole(raw: RawFile, name: str) -> Path:
    """The path of a file of a raw folder whose bytes are those that were written. Raises Damaged."""
    path = raw.path(name)
    try:
        durable_files.verify(path, raw.files[name].sha256)
    except Damaged as error:
        raise _with_remedy(error, raw) from error
    return path


def _whole_rejects(raw: RawFile, facts: WrittenFile) -> Iterator[pa.RecordBatch]:
    try:
        durable_files.verify(raw.rejects_path, facts.sha256)
    except Damaged as error:
        raise _with_remedy(error, raw) from error
    return rejects_in(raw.rejects_path)


def _with_remedy(error: Damaged, raw: RawFile) -> Damaged:
    """A run alone may not come across it: it reads no day that is older than what it rests on."""
    return Damaged(
        f"{error} Move {raw.folder} out of {raw.folder.parent} and give `mostwatched run`: that parses "
        f"{raw.landed_name} again from what landed. Then give this command again."
    )
