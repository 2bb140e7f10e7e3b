"""Remove records from raw folders: those of persons (`forget`), or days that are too old (retention).

Otherwise a raw folder never changes. A redacted folder keeps its name and its counts, so that its landed file is not
read again: accepted = rows that are there + erased + removed with their day. The old folder is quarantined, like a
damaged one, until the new one has its name: a kill in between loses nothing.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec.structs import replace

from pipelines.core import durable_files
from pipelines.core.errors import Damaged
from pipelines.core.row_digest import RowDigest, row_digest
from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.landing.schema import RAW_SCHEMAS, REJECTS_SCHEMA
from pipelines.raw import erasure_register
from pipelines.raw.catalog import every_raw_file
from pipelines.raw.erasure_register import FORGOTTEN_TEXT, PERSON
from pipelines.raw.index import as_index, write_index
from pipelines.raw.layout import INDEX, KEYS
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.quarantine import quarantine
from pipelines.raw.raw_file import RawFile, rejects_in
from pipelines.raw.raw_folder import RawFolder
from pipelines.raw.writer import WrittenFile

SESSIONS = "viewing_sessions"
EXPIRED_TEXT = "(the text of this record was removed with the last day of its file)"


@dataclass(frozen=True)
class Redaction:
    """The records to remove from one raw folder."""

    folder: RawFolder
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
    folders = folders_of(raw)
    counts = _records_of(connection, folders, users)
    for each in folders:
        records = {name: counts[path] for name in each.files if (path := str(each.path(name))) in counts}
        rejected: Counter[str] = Counter()
        if each.rejects is not None:
            for rows in _whole_rejects(each):
                rejected.update(user for named in owners(rows["text"].to_pylist()) for user in named)
        if records or rejected:
            yield Redaction(each, records, rejected)


def _records_of(
    connection: engine.Connection, folders: Sequence[RawFolder], users: Collection[str]
) -> dict[str, dict[str, int]]:
    """How many records are whose, by path and user."""
    found: dict[str, dict[str, int]] = {}
    for entity, column in PERSON.items():
        if files := [_whole(each, name) for each in folders if each.entity == entity for name in each.files]:
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
    folder = redaction.folder
    with _replaced(folder) as new:
        landed = list(folder.landed)
        for name in folder.files:
            if name not in redaction.records:
                durable_files.link_or_copy(folder.path(name), new / f"{name}.parquet")
            else:
                landed = _write_rows_left(folder, landed, name, new, users)
        rejects = _rejects(folder, new, owners if redaction.rejected else None, FORGOTTEN_TEXT)
        _finish(folder, new, [_with_rejects(each, rejects) for each in landed])


def _write_rows_left(
    folder: RawFolder, landed: Sequence[RawFile], name: str, new: Path, users: Collection[str]
) -> list[RawFile]:
    """Write a file without the users' rows, unless none are left; returns what is said of each landed file then."""
    schema = RAW_SCHEMAS[folder.entity]
    target = new / f"{name}.parquet"
    digest = RowDigest(schema, leave_out=("line",))
    gone: list[int] = []  # places of their rows, ascending
    at = 0
    with pq.ParquetFile(_whole(folder, name)) as file, durable_files.parquet_writer(target, schema) as writer:
        for batch in file.iter_batches(batch_size=durable_files.ROW_GROUP_ROWS):
            rows = pa.Table.from_batches([batch])
            is_left = erasure_register.is_of_others(folder.entity, rows, users)
            gone += pc.add(pc.indices_nonzero(pc.invert(is_left)).cast(pa.int64()), at).to_pylist()
            at += batch.num_rows
            left = rows.filter(is_left).cast(schema)
            digest.update(left)
            writer.write_table(left, row_group_size=durable_files.ROW_GROUP_ROWS)
    written = (target.stat().st_size, durable_files.sha256_of(target))
    rows_left = pq.read_table(target).cast(schema) if folder.landed[0].is_packed else None
    if not digest.rows:
        target.unlink()
    found = []
    for each in landed:
        if name not in each.files:
            found.append(each)
            continue
        facts = each.files[name]
        before = bisect_left(gone, facts.first_row)
        erased = bisect_left(gone, facts.first_row + facts.rows) - before
        files = {day: file for day, file in each.files.items() if day != name}
        if erased < facts.rows:
            first_row, count, its_digest = facts.first_row - before, facts.rows - erased, facts.digest
            if rows_left is None:
                its_digest = digest.hexdigest()
            elif erased:
                its_digest = row_digest(rows_left.slice(first_row, count), leave_out=("line",))
            missing = None if erased else facts.missing
            left_of_it = WrittenFile(count, *written, its_digest, facts.newest, missing, first_row)
            files = dict(sorted({**files, name: left_of_it}.items()))
        found.append(replace(each, files=files, erased=each.erased + erased))
    return found


def _with_rejects(raw: RawFile, rejects: WrittenFile | None) -> RawFile:
    """A landed file in a folder whose rejected records were written anew, as many as before."""
    if raw.rejects is None or rejects is None:
        return raw
    return replace(raw, rejects=replace(raw.rejects, bytes=rejects.bytes, sha256=rejects.sha256))


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


def expire(folder: RawFolder, days: Collection[date]) -> None:
    """Replace a folder of sessions by one without some of its days, durably.

    When no day is left, the texts of its rejected records go as well.
    """
    names = {day.isoformat() for day in days}
    with _replaced(folder) as new:
        landed, expired = [], []
        for each in folder.landed:
            removed = Counter({name: facts.rows for name, facts in each.files.items() if name in names})
            files = {name: facts for name, facts in each.files.items() if name not in names}
            if removed and not files:
                expired.append(each)
            removed.update(each.removed)
            landed.append(replace(each, files=files, removed=dict(sorted(removed.items()))))
        for name in folder.files.keys() - names:
            durable_files.link_or_copy(folder.path(name), new / f"{name}.parquet")
        rejects = _rejects(folder, new, _names_somebody if expired else None, EXPIRED_TEXT, of=expired)
        _finish(folder, new, [_with_rejects(each, rejects) for each in landed])


# --- a folder in place of another ------------------------------------------------------------------------------------


def record_replacement(raw: RawFile, sha256: str, size: int) -> None:
    """Note that bytes of that sha256 are what became of the folder's landed file, so that they are not read as new."""
    write_index(replace(raw, also_landed={**raw.also_landed, sha256: size}))


@contextmanager
def _replaced(folder: RawFolder) -> Iterator[Path]:
    """Yield a folder to fill; when the block ends well it stands in place of the raw folder, which is gone, durably."""
    final = folder.path_of_folder
    new = durable_files.temporary_beside(final)
    new.mkdir()
    try:
        yield new
        for path in new.iterdir():
            durable_files.fsync(path)
        durable_files.fsync(new)
        aside = quarantine(final)
        new.rename(final)
        durable_files.fsync(final.parent)
        shutil.rmtree(aside)
        durable_files.fsync(final.parent)
    finally:
        durable_files.remove_leftover(new)


def _names_somebody(texts: Sequence[str]) -> list[set[str]]:
    return [{""} for _ in texts]


def _rejects(
    folder: RawFolder,
    new: Path,
    owners: Owners | None,
    replacement: str,
    of: Sequence[RawFile] | None = None,
) -> WrittenFile | None:
    """The rejected records, with another text where one names somebody; None: as they are.

    Only those `of` some landed files, where they are given.
    """
    if folder.rejects is None:
        return None
    target = new / folder.rejects_path.name
    if owners is None:
        durable_files.link_or_copy(folder.rejects_path, target)
        return folder.rejects
    places = [
        range(each.rejects.first_row, each.rejects.first_row + each.rejects.rows)
        for each in folder.landed
        if each.rejects is not None and (of is None or each in of)
    ]
    at = 0
    with durable_files.parquet_writer(target, REJECTS_SCHEMA) as writer:
        for rows in _whole_rejects(folder):
            texts = rows["text"].to_pylist()
            chosen = {place - at for each in places for place in each if at <= place < at + len(texts)}
            named = owners(texts)
            texts = [replacement if n in chosen and named[n] else text for n, text in enumerate(texts)]
            at += len(texts)
            columns = {name: pa.array(texts) if name == "text" else rows[name] for name in REJECTS_SCHEMA.names}
            writer.write_table(pa.table(columns).cast(REJECTS_SCHEMA))
    return replace(folder.rejects, bytes=target.stat().st_size, sha256=durable_files.sha256_of(target))


def _finish(folder: RawFolder, new: Path, landed: Sequence[RawFile]) -> None:
    (new / INDEX).write_bytes(as_index(landed))
    if landed[0].is_packed:
        durable_files.link_or_copy(folder.path_of_folder / KEYS, new / KEYS)


def _whole(folder: RawFolder, name: str) -> Path:
    """The path of a file of a raw folder whose bytes are those that were written. Raises Damaged."""
    path = folder.path(name)
    try:
        durable_files.verify(path, folder.files[name].sha256)
    except Damaged as error:
        raise _with_remedy(error, folder) from error
    return path


def _whole_rejects(folder: RawFolder) -> Iterator[pa.RecordBatch]:
    assert folder.rejects is not None
    try:
        durable_files.verify(folder.rejects_path, folder.rejects.sha256)
    except Damaged as error:
        raise _with_remedy(error, folder) from error
    return rejects_in(folder.rejects_path)


def _with_remedy(error: Damaged, folder: RawFolder) -> Damaged:
    """A run alone may not come across it: it reads no day that is older than what it rests on."""
    return Damaged(
        f"{error} Move {folder.location} out of {folder.path_of_folder.parent} and give `mostwatched run`: that parses "
        f"{folder.landed[0].landed_name} again from what landed. Then give this command again."
    )
