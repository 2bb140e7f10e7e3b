"""Search for ids in every file under a folder.

Files are read by what they are, whatever their names say: the values of Parquet and DuckDB files, the strings in JSON,
the text in archives and in UTF-16 and UTF-32, base64 and what else hidden_ids.py decodes, the bytes of all others. What
stands under a landing folder and is nothing of these is not looked into, and said not to be. Nothing here changes a
file. Each is read as often for a thousand ids as for one. Whose the records of landed files are, owned_records.py says.
"""

from __future__ import annotations

import bz2
import codecs
import io
import json
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.jobs.hidden_ids import MAX_UNPACKED_BYTES, HiddenIds, NotWhole
from pipelines.jobs.id_matcher import IdMatchers
from pipelines.jobs.owned_records import is_text, owners_in_table, source_chunks
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import Content, DamagedArchive, Postponed, Source, decompressed, open_landed
from pipelines.landing.batches import holds_no_text
from pipelines.landing.content import HEAD_BYTES, encoding_of, is_tar
from pipelines.raw.erasure_register import strings_in
from pipelines.raw.raw_file import rejects_in
from pipelines.snapshots import landed_list

_CHUNK_BYTES = 1 << 20

# Columns of raw and the lake that say whose record it is. Ids in others, of creators and guests, are public.
PERSONAL = ("viewer_id", "user_id")
# --- files of any kind -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileMatch:
    """A file that holds an id."""

    path: Path
    user: str
    is_public: bool  # it stands nowhere but in what is public: a creator's id, a stream's guests
    problem: str | None = None  # what is more than that, such as why it is not known whether the id is in it


def find_files(connection: engine.Connection, paths: Iterable[Path], ids: IdMatchers) -> Iterator[FileMatch]:
    """Find the files that hold one of the ids, among `paths`: a match for each id that one holds."""
    tables: list[Path] = []
    for path in sorted(paths):
        if path.suffix == ".parquet":
            tables.append(path)
            continue
        is_public = path.suffix == ".duckdb"  # of public tables
        try:
            if is_public:
                found = _in_database(path, ids)
            else:
                found = _in_json(path, ids) if path.name.endswith((".json", ".json.zst")) else _in_file(path, ids)
            yield from (FileMatch(path, user, is_public) for user in sorted(found))
        except NotLookedInto as error:
            yield from _of_each(path, error.found, None)
            yield from _of_each(path, ids.users - error.found, f"it may hold the id: {error}")
        except (*UNREADABLE, engine.Error) as error:
            yield from _of_each(path, ids.users, f"it cannot be read: {error}")
    yield from _in_tables(connection, tables, ids)


def _of_each(path: Path, users: Iterable[str], problem: str | None) -> Iterator[FileMatch]:
    return (FileMatch(path, user, is_public=False, problem=problem) for user in sorted(users))


def _in_json(path: Path, ids: IdMatchers) -> set[str]:
    """In a string, not in a number: a snapshot may hold as many bytes as somebody's id says."""
    content = path.read_bytes()
    try:
        if path.suffix == ".zst":
            content = landed_list.unpacked(content)
        texts = list(strings_in(json.loads(content), and_numbers=False))
    except (ValueError, RecursionError, OSError):
        return _in_file(path, ids)
    within = ids.among(ids.in_name("\n".join(texts)))
    return {user for text in texts for user in within.in_name(text)} if within.users else set()


def _in_file(path: Path, ids: IdMatchers) -> set[str]:
    with path.open("rb") as file:
        if file.read(4) == _ZIP:
            return _in_zip(file, ids)
        file.seek(0)
        try:
            return in_stream(_chunks(file), ids)
        except UnknownKind:  # a binary file of ours, in which ids are plain
            file.seek(0)
            return ids.in_chunks(_chunks(file))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


# --- a stream of any kind --------------------------------------------------------------------------------------------


class NotLookedInto(Exception):
    """A file is of a kind in which an id cannot be looked for; `found` in it were some all the same."""

    def __init__(self, reason: str, found: Collection[str] = ()) -> None:
        super().__init__(reason)
        self.found = frozenset(found)


class UnknownKind(NotLookedInto):
    """Nothing says what a file is that is no text."""


_MAX_NESTED = 3  # archives in one another; nobody packs deeper, and each takes some memory
MAX_UNPACKED = 1 << 36  # bytes, of all that is packed in a file: some minutes
_ZIP = b"PK\x03\x04"
_MAX_XZ_BYTES = 256 << 20  # of memory; what `xz -9` writes needs 65 MiB
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # in no text of single bytes, but for zeros after it
_SEALED = (b"PAR1", b"PARE", b"ORC", b"Obj\x01", b"ARROW1", b"7z\xbc\xaf", b"\x04\x22\x4d\x18", b"\xff\x06\x00\x00s")
_PACKED = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x5d\x00\x00": "xz"}


def in_stream(chunks: Iterable[bytes], ids: IdMatchers, depth: int = 0, most: int = MAX_UNPACKED) -> set[str]:
    """The ids that stand in a stream: in text of any encoding, packed or not.

    Raises NotLookedInto for what is neither, DamagedArchive for an archive that is not whole.
    """
    head, chunks = _peek(chunks)
    packed = next((kind for start, kind in _PACKED.items() if head.startswith(start)), None)
    if packed is not None and (depth or not head.isascii()):
        if depth == _MAX_NESTED:
            raise NotLookedInto("archives in archives are looked into three deep")
        named = ids.in_bytes(_name_in_gzip(head)) if packed == "gz" else set()
        unpacked = _bounded(_unpacked(chunks, packed), most)
        return named | in_stream(unpacked, ids.among(ids.users - named), depth + 1, most)
    if head.startswith(_SEALED) and not head.isascii():
        raise NotLookedInto("its kind cannot be looked into")
    if encoding := encoding_of(head):
        return ids.in_text(_decoded(chunks, encoding))
    is_binary = False

    def watched() -> Iterator[bytes]:
        nonlocal is_binary
        for chunk in chunks:
            is_binary = is_binary or bool(_CONTROL.search(chunk.replace(b"\0" * 8, b""))) or holds_no_text(chunk)
            yield chunk

    hidden = hidden_ids(ids, depth)
    found = ids.in_text(hidden.watched(watched())) if depth < _MAX_NESTED else ids.in_text(watched())
    found |= hidden.found
    if is_binary and found < ids.users:  # safeguard: what-is-not-looked-into-is-named
        kind = NotLookedInto if depth or is_tar(head) else UnknownKind  # what is packed holds no id plainly
        raise kind("it is no text, and its kind cannot be looked into", found)
    if hidden.problem and found < ids.users:
        raise NotLookedInto(hidden.problem, found)
    return found


def hidden_ids(ids: IdMatchers, depth: int = 0) -> HiddenIds:
    """What looks through a text for ids that are encoded in it."""

    def look_into(content: bytes) -> set[str]:
        try:
            if content.startswith(_ZIP):
                return _in_zip(io.BytesIO(content), ids, MAX_UNPACKED_BYTES)
            return in_stream([content], ids, depth + 1, MAX_UNPACKED_BYTES)
        except NotLookedInto as error:
            if error.found >= ids.users:
                return set(error.found)
            raise NotWhole(str(error)) from error
        except UNREADABLE as error:
            raise NotWhole(str(error)) from error

    return HiddenIds(ids, look_into)


def _bounded(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The same chunks. Raises NotLookedInto where there are too many of them."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:  # safeguard: search-in-bombs-is-bounded
            raise NotLookedInto("what is packed in it is too large to be looked into")
        yield chunk


def _name_in_gzip(head: bytes) -> bytes:
    """The name and the comment that an archive begins with: those of the file that was packed."""
    if len(head) < 10 or not head[3] & 0b11000:
        return b""
    at = 10 + (2 + int.from_bytes(head[10:12], "little") if head[3] & 0b100 else 0)
    return b"\n".join(head[at:].split(b"\0", 2)[:2])


def _peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The beginning of a stream, and all of it."""
    chunks = iter(chunks)
    parts: list[bytes] = []
    for chunk in chunks:
        parts.append(chunk)
        if sum(map(len, parts)) >= HEAD_BYTES:
            break
    return b"".join(parts)[:HEAD_BYTES], chain(parts, chunks)


def _decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """A text in UTF-8 instead."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")


def _unpacked(chunks: Iterable[bytes], kind: str) -> Iterator[bytes]:
    if kind in ("gz", "zst"):
        yield from decompressed(chunks, kind)
        return
    unpacker: Any = None
    try:
        for chunk in chunks:
            rest = chunk
            while rest or (unpacker is not None and not unpacker.needs_input):
                if unpacker is None:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    unpacker = bz2.BZ2Decompressor() if kind == "bz2" else lzma.LZMADecompressor(memlimit=_MAX_XZ_BYTES)
                yield unpacker.decompress(rest, _CHUNK_BYTES)
                rest = b""
                if unpacker.eof:
                    rest, unpacker = unpacker.unused_data, None
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DamagedArchive(f"it is damaged, or no archive: {error}") from error
    if unpacker is not None:
        raise DamagedArchive("it ends in the middle")


def _in_database(path: Path, ids: IdMatchers) -> set[str]:
    found: set[str] = set()
    with engine.opened(path) as database:
        query = "select table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' and not internal"
        for row in engine.query(database, query).to_pylist():
            table, column = (name.replace('"', '""') for name in row.values())
            texts = engine.query(database, f'select distinct "{column}" as text from "{table}"')["text"]
            found |= ids.contained_in(texts).keys()
    return found


def _in_tables(connection: engine.Connection, paths: Iterable[Path], ids: IdMatchers) -> Iterator[FileMatch]:
    """Of Parquet files. Those of one kind, with the same columns, are asked together."""
    kinds: dict[str, tuple[pa.Schema, list[Path]]] = {}
    for path in paths:
        try:
            schema = pq.read_schema(path)
            if path.name == "rejects.parquet":
                texts = (rows["text"].to_pylist() for rows in rejects_in(path))
                yield from _of_each(
                    path, {user for each in texts for owners in ids.owners_of(each) for user in owners}, None
                )
                continue
        except (OSError, pa.ArrowException) as error:
            yield from _of_each(path, ids.users, f"it cannot be read: {error}")
        else:
            kinds.setdefault(str(schema.remove_metadata()), (schema, []))[1].append(path)
    for schema, files in kinds.values():
        named = {str(path): path for path in files}
        found: dict[tuple[Path, str], bool] = {}
        engine.register(connection, "looked_at", files, with_filename=True)
        for field in schema:
            for filename, user in _in_column(connection, field, ids) if is_text(field.type) else ():
                key = named[filename], user
                found[key] = found.get(key, True) and field.name not in PERSONAL
        yield from (FileMatch(path, user, is_public) for (path, user), is_public in sorted(found.items()))


def _in_column(connection: engine.Connection, field: pa.Field, ids: IdMatchers) -> Iterator[tuple[str, str]]:
    """(file, id) of the files whose column is one of the ids, or, where it is none of ids, holds one."""
    column = '"' + field.name.replace('"', '""') + '"'
    query = f"select distinct filename, {column} as text from looked_at"
    if field.name.endswith("_id"):
        query += f" where {column} in (select unnest($users))"
        for row in engine.query(connection, query, {"users": sorted(ids.users)}).to_pylist():
            yield row["filename"], row["text"]
        return
    rows = engine.query(connection, query)
    for user, places in ids.contained_in(rows["text"]).items():
        yield from ((filename, user) for filename in pc.unique(rows["filename"].take(places)).to_pylist())


# --- what stands under a landing folder -------------------------------------------------------------------------------


def in_unread(source: Source, ids: IdMatchers) -> set[str]:
    """The ids that stand in an open file that is no landed one, or an unreadable one.

    Raises NotLookedInto, Postponed, DamagedArchive, and what pyarrow and zipfile raise.
    """
    head = os.pread(source.file.fileno(), 4, 0)
    with os.fdopen(os.dup(source.file.fileno()), "rb") as handle:
        if head == b"PAR1":
            found = {user for users in owners_in_table(handle, ids) for user in users}
            hidden = hidden_in_table(handle, ids)
            if hidden.problem and found | hidden.found < ids.users:
                raise NotLookedInto(hidden.problem, found | hidden.found)
            return found | hidden.found
        if head == _ZIP:
            return _in_zip(handle, ids)
    source.rewind()
    return in_stream(source_chunks(source), ids)


def hidden_in_table(handle: IO[bytes], ids: IdMatchers) -> HiddenIds:
    """The ids in a Parquet file that no row is told by: in what describes it, within longer texts, or encoded."""
    hidden = hidden_ids(ids)
    with pq.ParquetFile(handle) as table:
        schema = table.schema_arrow
        described = [str(schema), *(str(each.metadata or "") for each in schema), str(schema.metadata or "")]
        hidden.found |= ids.in_bytes(
            "\n".join([*described, str(table.metadata.metadata or "")]).encode("utf-8", "replace")
        )
        for batch in table.iter_batches():
            for field, column in zip(schema, batch.columns, strict=True):
                if not pa.types.is_nested(field.type) and not _may_be_text(field.type):
                    continue
                values = (
                    strings_in(column.to_pylist()) if pa.types.is_nested(field.type) else pc.unique(column).to_pylist()
                )
                texts = [each if isinstance(each, bytes) else str(each).encode("utf-8", "replace") for each in values]
                hidden.look_at_values(texts)
    hidden.finish()
    return hidden


def _may_be_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def hidden_in_text(source: Source, content: Content, ids: IdMatchers) -> HiddenIds:
    """The ids in a landed text, from its beginning, that no record is told by: within longer texts, or encoded."""
    hidden = hidden_ids(ids)
    head = os.pread(source.file.fileno(), HEAD_BYTES, 0)
    if content.compression == "gz":
        hidden.found |= ids.in_bytes(_name_in_gzip(head))
    source.rewind()
    for chunk in decompressed(source_chunks(source), content.compression):
        hidden.look(chunk)
        hidden.look_for_mentions(chunk)
        if not chunk.isascii() and holds_no_text(chunk):  # safeguard: what-is-no-text-is-named
            hidden.problem = "a part of it is no text"
    hidden.finish()
    return hidden


def _in_zip(handle: IO[bytes], ids: IdMatchers, most: int = MAX_UNPACKED) -> set[str]:
    found: set[str] = set()
    try:
        with zipfile.ZipFile(handle) as archive:
            found |= ids.in_bytes(archive.comment)
            for member in archive.infolist():
                found |= ids.in_name(member.filename) | ids.in_bytes(member.comment + b"\n" + member.extra)
                if found >= ids.users:
                    break
                if member.flag_bits & 1:
                    raise NotLookedInto("it is encrypted")
                with archive.open(member) as file:
                    found |= in_stream(_bounded(_chunks(file), most), ids.among(ids.users - found), 1, most)
    except NotLookedInto as error:
        raise NotLookedInto(str(error), error.found | found) from error
    return found


def find_unread(paths: Iterable[Path], root: Path, ids: IdMatchers) -> Iterator[FileMatch]:
    """Find the files that hold an id, or may, among those that stand under a landing folder and are no landed files.

    Others may write there: each is read from the descriptor that was opened, and no link is followed.
    """
    for path in sorted(paths):
        try:
            with open_landed(path, root) as source:
                yield from _of_each(path, in_unread(source, ids), None)
        except NotLookedInto as error:
            yield from _of_each(path, error.found, None)
            yield from _of_each(path, ids.users - error.found, f"it may hold the id: {error}")
        except UNREADABLE as error:
            yield from _of_each(path, ids.users, f"it cannot be read: {error}")


UNREADABLE = (
    OSError,
    Postponed,
    DamagedArchive,
    pa.ArrowException,
    zipfile.BadZipFile,
    RuntimeError,  # zipfile's, of what it cannot unpack
    zlib.error,
    lzma.LZMAError,
    EOFError,
)
