"""Where an id stands: in every file under a folder, whatever it is packed in, and in which records of landed files.

Files are read as what they are: the values of Parquet and DuckDB files, the strings in JSON, the text in archives, the
bytes of all others. Only looks; what is done about it, forget.py says.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.engines import duckdb as engine
from pipelines.forgotten import strings_in
from pipelines.landing import DamagedArchive, LandedFile, decompressed
from pipelines.raw import rejects_in

_CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 20  # of a record in CSV that goes on over several lines
_COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
_ESCAPE = b"\\u"  # in JSON: any letter of an id may be written as one

# Columns of raw and the lake that say whose record it is. Ids in others, of creators and guests, are public.
PERSONAL = ("viewer_id", "user_id")
# Fields of a landed record in which the same text is not the person: what they watched is the creator's, and a device
# that is named like somebody is a device.
_OF_OTHERS = {"creatorid", "deviceid", "sessionid", "streamid", "pledgeid", "source"}


@dataclass(frozen=True)
class Sought:
    """An id that is looked for."""

    user: str

    @cached_property
    def _spellings(self) -> list[bytes]:
        plain = (self.user, json.dumps(self.user)[1:-1], json.dumps(self.user, ensure_ascii=False)[1:-1])
        spellings = {*plain, *(each.replace("/", "\\/") for each in plain), self.user.replace('"', '""')}
        return sorted(_encoded(each) for each in spellings)

    @cached_property
    def _words(self) -> re.Pattern[bytes]:
        spelt = b"|".join(re.escape(each) for each in self._spellings)
        return re.compile(rb"(?<![A-Za-z0-9_-])(?:" + spelt + rb")(?![A-Za-z0-9_-])")

    def is_in_bytes(self, content: bytes) -> bool:
        """Whether it is a word of its own in some bytes: u1 is not in u12."""
        return self._words.search(content) is not None

    def is_in_chunks(self, chunks: Iterable[bytes], *, or_escaped: bool = False) -> bool:
        """The same of bytes that come in pieces, wherever they are cut and however long the id is.

        `or_escaped`: also if any letter in them is written as a JSON escape, so that the id may be.
        """
        kept = max(map(len, self._spellings)) + 2  # of what was seen: a spelling, and the byte on either side of it
        seen, decided = b"", 0
        for chunk in chunks:
            seen += chunk
            if or_escaped and _ESCAPE in seen:
                return True
            # At the very end of what was seen, the next byte decides whether it is a word of its own.
            if any(match.end() < len(seen) for match in self._words.finditer(seen, decided)):
                return True
            if len(seen) > kept:
                seen, decided = seen[-kept:], 1  # the first byte is there to be looked back at
        return self._words.search(seen, decided) is not None

    def is_in(self, text: str) -> bool:
        """The same of text."""
        return self.is_in_bytes(_encoded(text))

    def is_theirs(self, record: bytes | str, header: Sequence[str] = ()) -> bool:
        """Whether a landed record is theirs, or names them anywhere but as a creator.

        What cannot be read as JSON, nor as CSV under a `header`, is theirs if the id is a word of it.
        """
        content = _encoded(record) if isinstance(record, str) else record
        if not self.is_in_bytes(content) and _ESCAPE not in content:
            return False
        with suppress(ValueError, RecursionError):
            if isinstance(landed := json.loads(content), dict):
                return self.user in strings_in([v for name, v in landed.items() if _plain(name) not in _OF_OTHERS])
        if header:
            with suppress(csv.Error):
                cells = next(csv.reader([content.decode("utf-8", "replace").strip("\r\n")], strict=True), [])
                if len(cells) == len(header):
                    return any(
                        cell == self.user and _plain(name) not in _OF_OTHERS
                        for name, cell in zip(header, cells, strict=True)
                    )
        return self.is_in_bytes(content)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _plain(name: str) -> str:
    return name.replace("_", "").strip().lower()


# --- files of any kind -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """A file that holds the id."""

    path: Path
    is_public: bool  # it stands nowhere but in what is public: a creator's id, a stream's guests
    problem: str | None = None  # what is more than that, such as why it is not known whether the id is in it


def traces(connection: engine.Connection, paths: Iterable[Path], sought: Sought) -> Iterator[Trace]:
    """Those of some files that hold the id."""
    tables: list[Path] = []
    for path in sorted(paths):
        if path.suffix == ".parquet":
            tables.append(path)
            continue
        try:
            if path.suffix == ".duckdb":  # of public tables
                if _in_database(path, sought):
                    yield Trace(path, is_public=True)
            elif _in_json(path, sought) if path.suffix == ".json" else _in_file(path, sought):
                yield Trace(path, is_public=False)
        except (OSError, DamagedArchive, engine.Error) as error:
            yield Trace(path, is_public=False, problem=f"it cannot be read: {error}")
    yield from _in_tables(connection, tables, sought)


def _in_json(path: Path, sought: Sought) -> bool:
    """In a string, not in a number: a snapshot may hold as many bytes as somebody's id says."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return _in_file(path, sought)
    return any(sought.is_in(text) for text in strings_in(content, and_numbers=False))


def _in_file(path: Path, sought: Sought) -> bool:
    with path.open("rb") as file:
        return sought.is_in_chunks(decompressed(_chunks(file), _COMPRESSIONS.get(path.suffix)))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


def _in_database(path: Path, sought: Sought) -> bool:
    with engine.opened(path) as database:
        query = "select table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' and not internal"
        for row in engine.query(database, query).to_pylist():
            table, column = (name.replace('"', '""') for name in row.values())
            asked = f'select count(*) as hits from "{table}" where contains("{column}", $user)'
            if engine.query(database, asked, {"user": sought.user})["hits"][0].as_py():
                return True
    return False


def _in_tables(connection: engine.Connection, paths: Iterable[Path], sought: Sought) -> Iterator[Trace]:
    """Of Parquet files. Those of one kind, with the same columns, are asked together."""
    kinds: dict[str, tuple[pa.Schema, list[Path]]] = {}
    for path in paths:
        try:
            schema = pq.read_schema(path)
            if path.name == "rejects.parquet":
                if any(sought.is_theirs(text) for rows in rejects_in(path) for text in rows["text"].to_pylist()):
                    yield Trace(path, is_public=False)
                continue
        except (OSError, pa.ArrowException) as error:
            yield Trace(path, is_public=False, problem=f"it cannot be read: {error}")
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
            for row in engine.query(connection, query, {"user": sought.user}).to_pylist():
                path = named[row["filename"]]
                found[path] = found.get(path, True) and field.name not in PERSONAL
        yield from (Trace(path, is_public) for path, is_public in sorted(found.items()))


def _condition(field: pa.Field) -> str | None:
    column = '"' + field.name.replace('"', '""') + '"'
    if field.name.endswith("_id"):
        return f"{column} = $user" if _is_text(field.type) else None
    return f"contains({column}, $user)" if _is_text(field.type) else None


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


# --- landed files ----------------------------------------------------------------------------------------------------


def may_hold(file: LandedFile, sought: Sought) -> bool:
    """Whether it is worth looking at the records of a landed file: quick, and wrong only in saying yes.

    Raises OSError, and DamagedArchive for one that is not what its checksum says.
    """
    if file.format == "parquet":
        return True
    with file.path.open("rb") as opened:
        return sought.is_in_chunks(decompressed(_chunks(opened), file.compression), or_escaped=True)


def theirs(rows: pa.RecordBatch, sought: Sought) -> pa.Array:
    """Of each row of a landed Parquet file whether it is the person's."""
    found = pa.array([False] * rows.num_rows)
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if _plain(field.name) in _OF_OTHERS:
            continue
        if _is_text(field.type):
            hit = pc.fill_null(pc.equal(column.cast(pa.string()), sought.user), False)
        elif pa.types.is_nested(field.type):
            hit = pa.array([sought.user in strings_in(value) for value in column.to_pylist()], pa.bool_())
        else:
            continue
        found = pc.or_(found, hit)
    return found


def without(lines: Iterable[bytes], sought: Sought, *, is_csv: bool) -> Iterator[tuple[bytes, bool]]:
    """(line, False) for the lines of a landed file; for each record that is the person's, (nothing but its end, True).

    So all others keep their places.
    """
    header: list[str] = []
    for record in _records(lines) if is_csv else ([line] for line in lines):
        content = b"".join(record)
        if is_csv and not header and content.strip():
            with suppress(csv.Error, StopIteration):
                header = next(csv.reader([content.decode("utf-8-sig", "replace").strip("\r\n")]))
        if sought.is_theirs(content, header):
            yield from ((b"\n" if line.endswith(b"\n") else b"", True) for line in record)
        else:
            yield from ((line, False) for line in record)


def _records(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines of CSV by record: a quoted cell may hold line ends. One that never ends is its own line's fault."""
    source = iter(lines)
    pushed: list[bytes] = []
    while True:
        record: list[bytes] = []
        quotes = size = 0
        while not record or quotes % 2:
            line = pushed.pop() if pushed else next(source, None)
            if line is None or size > _MAX_LINE_BYTES:
                pushed += [line] if line is not None else []
                pushed += reversed(record[1:])
                record = record[:1]
                break
            record.append(line)
            quotes, size = quotes + line.count(b'"'), size + len(line)
        if not record:
            return
        yield record
