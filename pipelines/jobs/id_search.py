"""Search for an id in every file under a folder, and find the records of landed files that belong to a user.

Files are read by what they are, whatever their names say: the values of Parquet and DuckDB files, the strings in JSON,
the text in archives and in UTF-16 and UTF-32, base64, the bytes of all others. What stands under a landing folder and
is nothing of these is not looked into, and said not to be. Nothing here changes a file: erase_user.py does.
"""

from __future__ import annotations

import base64
import bz2
import codecs
import json
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.lake.engines import duckdb as engine
from pipelines.landing import Content, DamagedArchive, LandedFile, Postponed, Source, decompressed, open_landed
from pipelines.landing.content import HEAD_BYTES, encoding_of
from pipelines.landing.csv_text import Header, csv_records
from pipelines.landing.lines import (
    MAX_LINE_BYTES,
    Block,
    Damage,
    LongLine,
    Piece,
    blocks_of_lines,
    has_long_line,
    lines_of,
    with_line_feeds,
)
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.objects import Scanner
from pipelines.landing.parquet import landed_values
from pipelines.landing.rewrite import OpenText, TextRange
from pipelines.landing.schema import landed_fields
from pipelines.landing.values import shown_object_id
from pipelines.raw.erasure_register import PERSON, strings_in
from pipelines.raw.index import rejects_in

_CHUNK_BYTES = 1 << 20
_ESCAPE = b"\\u"  # in JSON: any letter of an id may be written as one

# Columns of raw and the lake that say whose record it is. Ids in others, of creators and guests, are public.
PERSONAL = ("viewer_id", "user_id")
# Fields of a landed record in which the same text is not the person: what they watched is the creator's, and a device
# that is named like somebody is a device.
_OF_OTHERS = {"creatorid", "deviceid", "sessionid", "streamid", "pledgeid", "source"}


LEAST_IN_BASE64 = 3  # bytes of an id that is looked for there: of fewer, any long text holds the letters everywhere


@dataclass(frozen=True)
class IdMatcher:
    """Matches one user's id, as a whole word, in bytes, text and records."""

    user: str
    mapping: EntityMapping = UNMAPPED  # of the landed file whose records are looked at
    owns_all: bool = False  # the folder that the file stands in says that each of its records is the user's

    def of_file(self, file: LandedFile) -> IdMatcher:
        """The matcher of a landed file's records, which are read as a run reads them."""
        person = next((each.name for each in landed_fields(file.entity) if each.column == PERSON[file.entity]), None)
        return replace(self, mapping=file.mapping, owns_all=(person, self.user) in file.mapping.in_folders)

    @cached_property
    def _spellings(self) -> list[bytes]:
        plain = (self.user, json.dumps(self.user)[1:-1], json.dumps(self.user, ensure_ascii=False)[1:-1])
        spellings = {*plain, *(each.replace("/", "\\/") for each in plain), self.user.replace('"', '""')}
        in_latin_1 = [] if any(letter > "\xff" for letter in self.user) else [self.user.encode("latin-1")]
        return sorted({*map(_encoded, spellings), *in_latin_1})

    @cached_property
    def _word(self) -> re.Pattern[bytes]:
        return _as_word(b"|".join(re.escape(each) for each in self._spellings))

    @cached_property
    def _escaped_word(self) -> re.Pattern[bytes]:
        spellings = map(re.escape, self._spellings)
        return _as_word(b"|".join([*spellings, b"".join(map(_escaped, self.user))]))

    def is_in_bytes(self, content: bytes) -> bool:
        """Whether it is a word of its own in some bytes: u1 is not in u12."""
        return self.owns_all or self._is_in(content, 0, is_end=True)

    @cached_property
    def _base64(self) -> list[tuple[bytes, int, int]]:
        """(what base64 always has of the id, how many of its bytes stand before the id in a group, where it begins)"""
        user = _encoded(self.user)
        if len(user) < LEAST_IN_BASE64:
            return []
        found = []
        for before in range(3):
            first, end = -(-before * 8 // 6), (before + len(user)) * 8 // 6
            found.append((base64.b64encode(bytes(before) + user)[first:end], before, first))
        return [each for each in found if each[0]]

    def is_in_base64(self, content: bytes) -> bool:
        """Whether it is a word of its own in what is written as base64."""
        plain = content.translate(_PLAIN_BASE64).replace(b"\\/", b"/")
        for fixed, before, first in self._base64:
            length = 4 * -(-(before + len(_encoded(self.user)) + 1) // 3)  # with the byte behind the id
            at = plain.find(fixed)
            while at >= 0:
                group = at - first
                if group >= 0 and self.is_in_bytes(
                    _from_base64(plain[max(0, group - 4) : group]) + _from_base64(plain[group : group + length])
                ):
                    return True
                at = plain.find(fixed, at + 1)
        return False

    def is_in_chunks(self, chunks: Iterable[bytes], *, or_escaped: bool = False) -> bool:
        """The same of bytes that come in pieces, wherever they are cut and however long the id is.

        `or_escaped`: also if any letter in them is written as a JSON escape, so that the id may be, and in base64.
        """
        # Of what was seen: a spelling, also in base64, and the bytes on either side of it.
        kept = max(map(len, self._spellings)) * 4 // 3 + 12
        return any(
            (or_escaped and (_ESCAPE in seen or self.is_in_base64(seen))) or self._is_in(seen, decided, is_end=is_end)
            for seen, decided, is_end in _overlapping(chunks, kept)
        )

    def is_in_text(self, chunks: Iterable[bytes]) -> bool:
        """The same of a text that may be JSON: also with letters of the id as JSON escapes, and in base64."""
        kept = _MAX_ESCAPED_BYTES * len(self.user) + 12
        return any(
            self._is_in(seen, decided, is_end=is_end, is_escaped=_ESCAPE in seen) or self.is_in_base64(seen)
            for seen, decided, is_end in _overlapping(chunks, kept)
        )

    def _is_in(self, seen: bytes, start: int, *, is_end: bool, is_escaped: bool = False) -> bool:
        if not is_escaped and not any(spelling in seen for spelling in self._spellings):
            return False  # as it mostly is: sooner than by a pattern
        words = self._escaped_word if is_escaped else self._word
        # At the very end of what was seen, the next byte decides whether it is a word of its own.
        return any(is_end or match.end() < len(seen) for match in words.finditer(seen, start))

    def is_in(self, text: str) -> bool:
        """The same of text."""
        return self.is_in_bytes(_encoded(text))

    def is_owned(self, record: bytes | str) -> bool:
        """Whether a landed record belongs to the user, or names them anywhere but as a creator.

        What cannot be read as JSON, or is too long to be read, belongs to them if the id is a word of it.
        """
        content = _encoded(record) if isinstance(record, str) else record
        if self.owns_all:
            return bool(content.strip())
        if b"\0" in content and self.is_in_bytes(content.replace(b"\0", b"")):  # a line of UTF-16
            return True
        if self.is_in_base64(content):
            return True
        if not self.is_in_bytes(content) and _ESCAPE not in content:
            return False
        if len(content) <= MAX_LINE_BYTES:
            with suppress(ValueError, RecursionError):
                if isinstance(landed := json.loads(content), dict):
                    return self.user in strings_in([v for name, v in landed.items() if not self.is_of_others(name)])
        return self.is_in_text([content])

    def is_in_cells(self, header: Sequence[str], cells: Sequence[str]) -> bool:
        """Whether a record of CSV belongs to the user, or names them anywhere but as a creator."""
        return self.owns_all or any(
            self.user in (cell, shown_object_id(cell)) and not self.is_of_others(name)
            for name, cell in zip(header, cells, strict=True)
        )

    def is_of_others(self, name: str) -> bool:
        """Whether a landed field of this name says who or what it was that the person watched, or by which device."""
        return _plain(dict(self.mapping.rename).get(name, name)) in _OF_OTHERS


_PLAIN_BASE64 = bytes.maketrans(b"-_", b"+/")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*")


def _from_base64(text: bytes) -> bytes:
    """What the letters of base64 that a text begins with stand for."""
    match = _BASE64.match(text)
    letters = match[0] if match else b""
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


_MAX_ESCAPED_BYTES = 12  # of a letter as two JSON escapes


def _as_word(spelt: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![A-Za-z0-9_-])(?:" + spelt + rb")(?![A-Za-z0-9_-])")


def _escaped(letter: str) -> bytes:
    """A pattern for a letter in each way that JSON may write it."""
    units = letter.encode("utf-16-be", "surrogatepass")
    escape = b"".join(rb"\\u(?i:%04x)" % int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    short = [json.dumps(letter, ensure_ascii=False)[1:-1], *([r"\/"] if letter == "/" else [])]
    return b"(?:" + b"|".join([*(re.escape(_encoded(each)) for each in short), escape]) + b")"


def _overlapping(chunks: Iterable[bytes], kept: int) -> Iterator[tuple[bytes, int, bool]]:
    """(bytes, where what is new in them begins, whether they are the last): each with the end of those before.

    No byte is looked at more than twice, however small the chunks are.
    """
    seen, waiting, size, decided = b"", [], 0, 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size <= kept:
            continue
        seen = b"".join([seen, *waiting])
        yield seen, decided, False
        # safeguard: id-search-across-pieces
        seen, waiting, size, decided = seen[-kept:], [], 0, 1  # the first byte is there to be looked back at
    yield b"".join([seen, *waiting]), decided, True


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _plain(name: str) -> str:
    return name.replace("_", "").strip().lower()


# --- files of any kind -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileMatch:
    """A file that holds the id."""

    path: Path
    is_public: bool  # it stands nowhere but in what is public: a creator's id, a stream's guests
    problem: str | None = None  # what is more than that, such as why it is not known whether the id is in it


def find_files(connection: engine.Connection, paths: Iterable[Path], matcher: IdMatcher) -> Iterator[FileMatch]:
    """Find the files that hold the id, among `paths`."""
    tables: list[Path] = []
    for path in sorted(paths):
        if path.suffix == ".parquet":
            tables.append(path)
            continue
        try:
            if path.suffix == ".duckdb":  # of public tables
                if _in_database(path, matcher):
                    yield FileMatch(path, is_public=True)
            elif _in_json(path, matcher) if path.suffix == ".json" else _in_file(path, matcher):
                yield FileMatch(path, is_public=False)
        except (OSError, DamagedArchive, engine.Error) as error:
            yield FileMatch(path, is_public=False, problem=f"it cannot be read: {error}")
    yield from _in_tables(connection, tables, matcher)


def _in_json(path: Path, matcher: IdMatcher) -> bool:
    """In a string, not in a number: a snapshot may hold as many bytes as somebody's id says."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return _in_file(path, matcher)
    return any(matcher.is_in(text) for text in strings_in(content, and_numbers=False))


def _in_file(path: Path, matcher: IdMatcher) -> bool:
    with path.open("rb") as file:
        try:
            return is_in_stream(_chunks(file), matcher)
        except NotLookedInto:  # a binary file of ours, in which ids are plain
            file.seek(0)
            return matcher.is_in_chunks(_chunks(file))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


# --- a stream of any kind --------------------------------------------------------------------------------------------


class NotLookedInto(Exception):
    """A file is of a kind in which an id cannot be looked for."""


_MAX_NESTED = 3  # archives in one another; nobody packs deeper, and each takes some memory
_MAX_XZ_BYTES = 256 << 20  # of memory; what `xz -9` writes needs 65 MiB
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # in no text of single bytes, but for zeros after it
_SEALED = (b"PAR1", b"PARE", b"ORC", b"Obj\x01", b"ARROW1", b"7z\xbc\xaf", b"\x04\x22\x4d\x18", b"\xff\x06\x00\x00s")
_PACKED = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x5d\x00\x00": "xz"}


def is_in_stream(chunks: Iterable[bytes], matcher: IdMatcher, depth: int = 0) -> bool:
    """Whether the id stands in a stream: in text of any encoding, packed or not.

    Raises NotLookedInto for what is neither, DamagedArchive for an archive that is not whole.
    """
    head, chunks = _peek(chunks)
    packed = next((kind for start, kind in _PACKED.items() if head.startswith(start)), None)
    if packed is not None and (depth or not head.isascii()):
        if depth == _MAX_NESTED:
            raise NotLookedInto("archives in archives are looked into three deep")
        return is_in_stream(_unpacked(chunks, packed), matcher, depth + 1)
    if head.startswith(_SEALED) and not head.isascii():
        raise NotLookedInto("its kind cannot be looked into")
    if encoding := encoding_of(head):
        return matcher.is_in_text(_decoded(chunks, encoding))
    is_binary = False

    def watched() -> Iterator[bytes]:
        nonlocal is_binary
        for chunk in chunks:
            is_binary = is_binary or bool(_CONTROL.search(chunk.replace(b"\0" * 8, b"")))
            yield chunk

    if matcher.is_in_text(watched()):
        return True
    if is_binary:  # safeguard: what-is-not-looked-into-is-named
        raise NotLookedInto("it is no text, and its kind cannot be looked into")
    return False


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
        yield _encoded(decoder.decode(chunk))


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


def _in_database(path: Path, matcher: IdMatcher) -> bool:
    with engine.opened(path) as database:
        query = "select table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' and not internal"
        for row in engine.query(database, query).to_pylist():
            table, column = (name.replace('"', '""') for name in row.values())
            asked = f'select count(*) as hits from "{table}" where contains("{column}", $user)'
            if engine.query(database, asked, {"user": matcher.user})["hits"][0].as_py():
                return True
    return False


def _in_tables(connection: engine.Connection, paths: Iterable[Path], matcher: IdMatcher) -> Iterator[FileMatch]:
    """Of Parquet files. Those of one kind, with the same columns, are asked together."""
    kinds: dict[str, tuple[pa.Schema, list[Path]]] = {}
    for path in paths:
        try:
            schema = pq.read_schema(path)
            if path.name == "rejects.parquet":
                if any(matcher.is_owned(text) for rows in rejects_in(path) for text in rows["text"].to_pylist()):
                    yield FileMatch(path, is_public=False)
                continue
        except (OSError, pa.ArrowException) as error:
            yield FileMatch(path, is_public=False, problem=f"it cannot be read: {error}")
        else:
            kinds.setdefault(str(schema.remove_metadata()), (schema, []))[1].append(path)
    for schema, files in kinds.values():
        named = {str(path): path for path in files}
        found: dict[Path, bool] = {}
        engine.register(connection, "looked_at", files, with_filename=True)
        for field in schema:
            condition = _condition(field)
            if condition is None:
                continue
            query = f"select filename, count(*) as hits from looked_at where {condition} group by filename"
            for row in engine.query(connection, query, {"user": matcher.user}).to_pylist():
                path = named[row["filename"]]
                found[path] = found.get(path, True) and field.name not in PERSONAL
        yield from (FileMatch(path, is_public) for path, is_public in sorted(found.items()))


def _condition(field: pa.Field) -> str | None:
    column = '"' + field.name.replace('"', '""') + '"'
    if field.name.endswith("_id"):
        return f"{column} = $user" if _is_text(field.type) else None
    return f"contains({column}, $user)" if _is_text(field.type) else None


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


# --- landed files ----------------------------------------------------------------------------------------------------


def may_hold(content: Content, source: Source, matcher: IdMatcher) -> bool:
    """Whether an open landed file may hold records of the user: quick, with false positives alone.

    Raises Postponed, and DamagedArchive for one that is not what its checksum says.
    """
    if content.format == "parquet" or matcher.owns_all:
        return True
    return matcher.is_in_chunks(decompressed(_source_chunks(source), content.compression), or_escaped=True)


def is_in_unread(source: Source, matcher: IdMatcher) -> bool:
    """Whether the id stands in an open file that is no landed one, or an unreadable one.

    Raises NotLookedInto, Postponed, DamagedArchive, and what pyarrow and zipfile raise.
    """
    head = os.pread(source.file.fileno(), 4, 0)
    with os.fdopen(os.dup(source.file.fileno()), "rb") as handle:
        if head == b"PAR1":
            with pq.ParquetFile(handle) as table:
                return any(pc.any(owned_rows(batch, matcher)).as_py() for batch in table.iter_batches())
        if head == b"PK\x03\x04":
            return _in_zip(handle, matcher)
    source.rewind()
    return is_in_stream(_source_chunks(source), matcher)


def _in_zip(handle: IO[bytes], matcher: IdMatcher) -> bool:
    with zipfile.ZipFile(handle) as archive:
        for member in archive.infolist():
            if matcher.is_in(member.filename):
                return True
            if member.flag_bits & 1:
                raise NotLookedInto("it is encrypted")
            with archive.open(member) as file:
                if is_in_stream(_chunks(file), matcher, 1):
                    return True
    return False


def find_unread(paths: Iterable[Path], root: Path, matcher: IdMatcher) -> Iterator[FileMatch]:
    """Find the files that hold the id, or may, among those that stand under a landing folder and are no landed files.

    Others may write there: each is read from the descriptor that was opened, and no link is followed.
    """
    for path in sorted(paths):
        try:
            with open_landed(path, root) as source:
                if is_in_unread(source, matcher):
                    yield FileMatch(path, is_public=False)
        except NotLookedInto as error:
            yield FileMatch(path, is_public=False, problem=f"it may hold the id: {error}")
        except UNREADABLE as error:
            yield FileMatch(path, is_public=False, problem=f"it cannot be read: {error}")


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


def _source_chunks(source: Source) -> Iterator[bytes]:
    return iter(lambda: source.read(_CHUNK_BYTES), b"")


def owned_rows(rows: pa.RecordBatch, matcher: IdMatcher) -> pa.Array:
    """Return for each row of a landed Parquet file whether it belongs to the user."""
    found = pa.array([matcher.owns_all] * rows.num_rows, pa.bool_())
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if matcher.is_of_others(field.name):
            continue
        if _is_text(field.type):
            hit = pc.fill_null(pc.equal(column.cast(pa.string()), matcher.user), False)
        elif pa.types.is_nested(field.type):
            hit = pa.array([matcher.user in strings_in(value) for value in column.to_pylist()], pa.bool_())
        elif pa.types.is_floating(field.type) or pa.types.is_temporal(field.type) or pa.types.is_boolean(field.type):
            continue
        else:  # an id that landed as a number, a UUID, bytes
            hit = pa.array([str(value) == matcher.user for value in landed_values(column)], pa.bool_())
        found = pc.or_(found, hit)
    return found


def owned_ranges(content: Content, open_text: OpenText, *, entity: str, matcher: IdMatcher) -> Iterable[TextRange]:
    """Where the records of a landed text stand that are the person's.

    Records are those that a run reads of JSON, or of an entity's CSV, where a header is none. Raises DamagedArchive.
    """
    long: set[int] = set()
    if content.format == "csv":
        found = _owned_in_csv(_pieces(open_text(), matcher, long, quotes=True), matcher, entity, long)
        return [TextRange(lines.start, 0, lines.stop - 1, -1) for lines in found]
    ranges: list[TextRange] = []
    odd: set[int] = set()  # lines that may not be one record
    for piece in _pieces(open_text(), matcher, long):
        if isinstance(piece, Block) and (
            matcher.is_in_bytes(piece.data) or _ESCAPE in piece.data or matcher.is_in_base64(piece.data)
        ):
            for number, text in enumerate(lines_of(piece.data), piece.first_line):
                if matcher.is_owned(text):
                    ranges.append(TextRange(number, 0, number, -1))
                    if not _is_record(text):
                        odd.add(number)
    odd |= long
    return list(_owned_values(open_text(), matcher, odd)) if odd else ranges


def _is_record(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _owned_values(chunks: Iterable[bytes], matcher: IdMatcher, odd: Collection[int]) -> Iterator[TextRange]:
    """Where those values stand. One in an array goes with a comma, so that the others still are an array."""
    array, is_kept = 0, False  # the array that we are in, and whether a value before is kept of it
    waiting: TextRange | None = None  # of values at the beginning of an array, up to the next one
    for value in Scanner(iter(with_line_feeds(chunks))).values():
        if value.array != array:
            if waiting:
                yield waiting
            waiting, array, is_kept = None, value.array, False
        start, end = (value.line, value.column), (value.end_line, value.end_column)
        if value.is_long:
            is_owned = any(line in odd for line in range(value.line, value.end_line + 1))
        else:
            is_owned = matcher.is_owned(value.text)
        if is_owned and array and not is_kept:
            waiting = TextRange(*(waiting[:2] if waiting else start), *end, (waiting.records if waiting else 0) + 1)
        elif is_owned:
            yield TextRange(*(value.comma or start), *end)
        else:
            is_kept = True
            if waiting:
                yield TextRange(*waiting[:2], *start, waiting.records)
                waiting = None
    if waiting:
        yield waiting


def _pieces(chunks: Iterable[bytes], matcher: IdMatcher, long: set[int], *, quotes: bool = False) -> Iterator[Piece]:
    """The pieces of a landed text; which lines that are too long are the person's is noted in `long`."""
    for piece in blocks_of_lines(chunks, MAX_LINE_BYTES, quotes=quotes):
        if isinstance(piece, Damage):
            raise DamagedArchive(piece.reason, piece.corruption)
        if isinstance(piece, LongLine) and matcher.is_in_text(piece.parts):
            long.add(piece.line)
        if isinstance(piece, Block) and has_long_line(piece.data):
            lines = enumerate(lines_of(piece.data), piece.first_line)
            long.update(line for line, text in lines if len(text) > MAX_LINE_BYTES and matcher.is_in_text([text]))
        yield piece


def _owned_in_csv(pieces: Iterable[Piece], matcher: IdMatcher, entity: str, long: set[int]) -> Iterator[range]:
    names: list[str] | None = None  # of the columns; empty where no record of the file can be accepted
    for record in csv_records(pieces, matcher.mapping):
        if names is None and (record.problem or record.text.strip()):
            is_header = record.problem is None and Header(entity, record.cells, matcher.mapping).problem is None
            names = record.cells if is_header else []
            is_owned = not is_header and matcher.is_owned(record.text)
        elif record.problem is None and names and len(record.cells) == len(names):
            is_owned = matcher.is_in_bytes(record.text) and matcher.is_in_cells(names, record.cells)
        else:
            is_owned = matcher.is_owned(record.text)
        if is_owned or record.line in long:
            yield range(record.line, record.line + record.lines)
