"""Find the records of landed files that belong to users: the rows of Parquet, and where they stand in text.

Nothing here changes a file: erase_landed.py does. Each file is read as often for a thousand ids as for one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.jobs.id_matcher import IdMatchers
from pipelines.landing import Content, DamagedArchive, Source, decompressed
from pipelines.landing.csv_cells import Header
from pipelines.landing.csv_text import csv_records
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
from pipelines.landing.mapping import COMMA
from pipelines.landing.objects import Scanner
from pipelines.landing.parquet import landed_values
from pipelines.landing.rewrite import OpenText, TextRange
from pipelines.raw.erasure_register import strings_in

_CHUNK_BYTES = 1 << 20
_ESCAPED_IN_CSV = "\b\f\n\r\t\v\0\x1a\\\"'"


def may_hold(content: Content, source: Source, ids: IdMatchers) -> set[str]:
    """The users of whom an open landed file may hold records: quick, with false positives alone.

    Raises Postponed, and DamagedArchive for one that is not what its checksum says.
    """
    if content.format == "parquet" or (ids.are_many and content.format != "csv"):  # what follows is as quick
        return set(ids.users)
    # A dialect of CSV may write these in more ways than are looked for.
    special = (
        {*_ESCAPED_IN_CSV, ids.mapping.delimiter or COMMA, ids.mapping.quote} if content.format == "csv" else set()
    )
    odd = {user for user in ids.users if not special.isdisjoint(user)}  # safeguard: odd-ids-always-looked-for-in-csv
    return ids.in_text(decompressed(source_chunks(source), content.compression)) | ids.owners_of_all | odd


def source_chunks(source: Source) -> Iterator[bytes]:
    return iter(lambda: source.read(_CHUNK_BYTES), b"")


def owners_in_table(handle: IO[bytes], ids: IdMatchers) -> Iterator[set[str]]:
    """Whose the rows of a landed Parquet file are that somebody's are."""
    with pq.ParquetFile(handle) as table:
        for batch in table.iter_batches():
            yield from owners_of_rows(batch, ids).values()


def rows_of(owners: Collection[int], count: int) -> pa.Array:
    """Return for each of so many rows whether it is one of those."""
    return pc.is_in(pa.arange(0, count), pa.array(sorted(owners), pa.int64()))


def owners_of_rows(rows: pa.RecordBatch, ids: IdMatchers) -> dict[int, set[str]]:
    """Return whose the rows of a landed Parquet file are, by row, of those that belong to one of the users."""
    found: dict[int, set[str]] = {}
    if ids.owners_of_all:
        found = {row: set(ids.owners_of_all) for row in range(rows.num_rows)}
    users = pa.array(sorted(ids.users), pa.string())
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if ids.is_of_others(field.name):
            continue
        if pa.types.is_nested(field.type):
            values: list[Iterable[str]] = [ids.users.intersection(strings_in(value)) for value in column.to_pylist()]
            hits = [(row, user) for row, owners in enumerate(values) for user in owners]
        elif pa.types.is_floating(field.type) or pa.types.is_temporal(field.type) or pa.types.is_boolean(field.type):
            continue
        else:
            texts = column.cast(pa.string()) if is_text(field.type) else _shown(column)
            places = pc.indices_nonzero(pc.is_in(texts, users))
            hits = list(zip(places.to_pylist(), texts.take(places).to_pylist(), strict=True))
        for row, user in hits:
            found.setdefault(row, set()).add(user)
    return found


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _shown(column: pa.Array) -> pa.Array:
    """As texts, what may be ids that landed as numbers, UUIDs or bytes."""
    return pa.array([None if each is None else str(each) for each in landed_values(column)], pa.string())


def owned_ranges(
    content: Content, open_text: OpenText, *, entity: str, ids: IdMatchers, owned: Counter[str] | None = None
) -> Iterable[TextRange]:
    """Where the records of a landed text stand that are the persons'; how many are whose is counted in `owned`.

    Records are those that a run reads of JSON, or of an entity's CSV, where a header is none. Raises DamagedArchive.
    """
    owned = Counter() if owned is None else owned
    long: dict[int, set[str]] = {}
    if content.format == "csv":
        found = _owned_in_csv(_pieces(open_text(), ids, long, quotes=True), ids, entity, long, owned)
        return [TextRange(lines.start, 0, lines.stop - 1, -1) for lines in found]
    ranges: list[TextRange] = []
    odd: dict[int, set[str]] = {}  # lines that may not be one record
    by_line: Counter[str] = Counter()
    for piece in _pieces(open_text(), ids, long):
        within = ids.among(ids.in_text([piece.data]) | ids.owners_of_all) if isinstance(piece, Block) else ids
        if isinstance(piece, Block) and (within.users or b"\0" in piece.data):
            lines = lines_of(piece.data)
            each = within if within.users and b"\0" not in piece.data else ids
            for number, (text, owners) in enumerate(zip(lines, each.owners_of(lines), strict=True), piece.first_line):
                if owners:
                    by_line.update(owners)
                    ranges.append(TextRange(number, 0, number, -1))
                    if not _is_record(text):
                        odd[number] = owners
    odd |= long
    if odd:
        return list(_owned_values(open_text(), ids, odd, owned))
    owned.update(by_line)
    return ranges


def _is_record(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _owned_values(
    chunks: Iterable[bytes], ids: IdMatchers, odd: Mapping[int, set[str]], owned: Counter[str]
) -> Iterator[TextRange]:
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
            owners = {user for line in range(value.line, value.end_line + 1) for user in odd.get(line, ())}
        else:
            owners = ids.owners(value.text)
        owned.update(owners)
        is_owned = bool(owners)
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


def _pieces(
    chunks: Iterable[bytes], ids: IdMatchers, long: dict[int, set[str]], *, quotes: bool = False
) -> Iterator[Piece]:
    """The pieces of a landed text; whose the lines are that are too long is noted in `long`."""
    for piece in blocks_of_lines(chunks, MAX_LINE_BYTES, quotes=quotes):
        if isinstance(piece, Damage):
            raise DamagedArchive(piece.reason, piece.corruption)
        if isinstance(piece, LongLine) and (found := ids.in_text(piece.parts)):
            long[piece.line] = found
        if isinstance(piece, Block) and has_long_line(piece.data):
            for line, text in enumerate(lines_of(piece.data), piece.first_line):
                if len(text) > MAX_LINE_BYTES and (found := ids.in_text([text])):
                    long[line] = found
        yield piece


def _owned_in_csv(
    pieces: Iterable[Piece], ids: IdMatchers, entity: str, long: Mapping[int, set[str]], owned: Counter[str]
) -> Iterator[range]:
    names: list[str] | None = None  # of the columns; empty where no record of the file can be accepted
    for record in csv_records(pieces, ids.mapping):
        if names is None and (record.problem or record.text.strip()):
            is_header = record.problem is None and Header(entity, record.cells, ids.mapping).problem is None
            names = record.cells if is_header else []
            owners = set() if is_header else ids.owners(record.text)
        elif record.problem is None and names and len(record.cells) == len(names):
            owners = ids.owners_of_cells(names, record.cells)
        else:
            owners = ids.owners(record.text)
        owners |= long.get(record.line, set())
        owned.update(owners)
        if owners:
            yield range(record.line, record.line + record.lines)
