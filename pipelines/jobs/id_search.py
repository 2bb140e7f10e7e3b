"""Search for an id in every file under a folder, and find the records of landed files that belong to a user.

Files are read by their format: the values of Parquet and DuckDB files, the strings in JSON, the text in archives, the
bytes of all others. Nothing here changes a file: erase_user.py does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.lake.engines import duckdb as engine
from pipelines.landing import DamagedArchive, LandedFile, Postponed, Source, decompressed, open_landed
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
)
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.parquet import landed_values
from pipelines.landing.schema import landed_fields
from pipelines.landing.values import shown_object_id
from pipelines.raw.erasure_register import PERSON, strings_in
from pipelines.raw.index import rejects_in

_CHUNK_BYTES = 1 << 20
_COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
_ESCAPE = b"\\u"  # in JSON: any letter of an id may be written as one

# Columns of raw and the lake that say whose record it is. Ids in others, of creators and guests, are public.
PERSONAL = ("viewer_id", "user_id")
# Fields of a landed record in which the same text is not the person: what they watched is the creator's, and a device
# that is named like somebody is a device.
_OF_OTHERS = {"creatorid", "deviceid", "sessionid", "streamid", "pledgeid", "source"}


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
        return sorted(_encoded(each) for each in spellings)

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

    def is_in_chunks(self, chunks: Iterable[bytes], *, or_escaped: bool = False) -> bool:
        """The same of bytes that come in pieces, wherever they are cut and however long the id is.

        `or_escaped`: also if any letter in them is written as a JSON escape, so that the id may be.
        """
        kept = max(map(len, self._spellings)) + 2  # of what was seen: a spelling, and the byte on either side of it
        return any(
            (or_escaped and _ESCAPE in seen) or self._is_in(seen, decided, is_end=is_end)
            for seen, decided, is_end in _overlapping(chunks, kept)
        )

    def is_in_text(self, chunks: Iterable[bytes]) -> bool:
        """The same of a text that may be JSON: also with letters of the id as JSON escapes."""
        kept = _MAX_ESCAPED_BYTES * len(self.user) + 2
        return any(
            self._is_in(seen, decided, is_end=is_end, is_escaped=_ESCAPE in seen)
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
        return matcher.is_in_chunks(decompressed(_chunks(file), _COMPRESSIONS.get(path.suffix)))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


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


def may_hold(file: LandedFile, source: Source, matcher: IdMatcher) -> bool:
    """Whether an open landed file may hold records of the user: quick, with false positives alone.

    Raises Postponed, and DamagedArchive for one that is not what its checksum says.
    """
    if file.format == "parquet" or matcher.owns_all:
        return True
    return matcher.is_in_chunks(decompressed(_source_chunks(source), file.compression), or_escaped=True)


def find_unread(paths: Iterable[Path], root: Path, matcher: IdMatcher) -> Iterator[FileMatch]:
    """Find the files that hold the id among those that stand under a landing folder and are no landed files.

    Others may write there: each is read from the descriptor that was opened, and no link is followed.
    """
    for path in sorted(paths):
        try:
            with open_landed(path, root) as source:
                if _is_in_unread(source, path.suffix, matcher):
                    yield FileMatch(path, is_public=False)
        except (OSError, Postponed, DamagedArchive, pa.ArrowException) as error:
            yield FileMatch(path, is_public=False, problem=f"it cannot be read: {error}")


def _is_in_unread(source: Source, suffix: str, matcher: IdMatcher) -> bool:
    if suffix == ".parquet":
        with os.fdopen(os.dup(source.file.fileno()), "rb") as handle, pq.ParquetFile(handle) as table:
            return any(pc.any(owned_rows(batch, matcher)).as_py() for batch in table.iter_batches())
    return matcher.is_in_text(decompressed(_source_chunks(source), _COMPRESSIONS.get(suffix)))


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


def owned_lines(chunks: Iterable[bytes], matcher: IdMatcher, *, csv_entity: str | None) -> Iterator[range]:
    """The numbers of the lines, from 1, of each record of a landed text that is the person's.

    Records are those that a run reads of NDJSON, or of an entity's CSV, where a header is none. Raises DamagedArchive.
    """
    long: set[int] = set()
    pieces = _pieces(chunks, matcher, long)
    if csv_entity is not None:
        yield from _owned_in_csv(pieces, matcher, csv_entity, long)
        return
    for piece in pieces:
        if isinstance(piece, LongLine) and piece.line in long:
            yield range(piece.line, piece.line + 1)
        if isinstance(piece, Block) and (matcher.is_in_bytes(piece.data) or _ESCAPE in piece.data):
            for number, text in enumerate(lines_of(piece.data), piece.first_line):
                if matcher.is_owned(text):
                    yield range(number, number + 1)


def _pieces(chunks: Iterable[bytes], matcher: IdMatcher, long: set[int]) -> Iterator[Piece]:
    """The pieces of a landed text; which lines that are too long are the person's is noted in `long`."""
    for piece in blocks_of_lines(chunks, MAX_LINE_BYTES):
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
