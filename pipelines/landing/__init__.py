"""Find landed files, and read each into accepted rows and rejected records.

    find_landed(roots)          which files there are (finding.py)
    open_landed(path)           one file's bytes, watched and hashed (files.py)
    read_landed(file, source)   its records in batches, in bounded memory whatever the file holds

What is accepted is defined by records.py, one record at a time, and by values.py, one value at a time; mapping.py says
how files are read that are not as the contract says. The other modules are about speed and file formats: lines.py,
ndjson.py, csv_text.py, csv_cells.py, parquet.py, parquet_sizes.py, fast.py, json_columns.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.landing.batches import Batch, Encoding, RejectedLine, Rows, with_records
from pipelines.landing.content import Content, content_of
from pipelines.landing.csv_text import read_csv
from pipelines.landing.fast import FastReader, read_fast
from pipelines.landing.files import (
    CorruptionStart,
    DamagedArchive,
    Ignored,
    InMemory,
    LandedFile,
    Postponed,
    Source,
    Stamp,
    decompressed,
    landed_file_of,
    open_landed,
    printable_name,
    read_as,
    unfinished_part,
    without_extension,
)
from pipelines.landing.finding import Blocks, find_landed, require_landing
from pipelines.landing.lines import Damage, Piece, blocks_of_lines, split_corrupt
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.ndjson import read_response
from pipelines.landing.objects import NotByLine, value_pieces
from pipelines.landing.parquet import read_parquet
from pipelines.landing.records import count_unknown

__all__ = [
    "Batch",
    "Blocks",
    "ChecksumMismatch",
    "Content",
    "CorruptionStart",
    "DamagedArchive",
    "FastReader",
    "Ignored",
    "InMemory",
    "LandedFile",
    "NotByLine",
    "Postponed",
    "RejectedLine",
    "Source",
    "Stamp",
    "content_of",
    "count_unknown",
    "decompressed",
    "find_landed",
    "landed_file_of",
    "open_landed",
    "printable_name",
    "read_as",
    "read_landed",
    "require_landing",
    "unfinished_part",
    "without_extension",
]


class ChecksumMismatch(Exception):
    """An archive does not match its own checksum, found out after lines of it had been read."""

    def __init__(self, corruption: CorruptionStart) -> None:
        super().__init__(corruption)
        self.corruption = corruption


def read_landed(
    entity: str,
    content: Content,
    source: Source | InMemory,
    corruption: CorruptionStart | None = None,
    mapping: EntityMapping = UNMAPPED,
) -> Iterator[Batch]:
    """Every record of an open landed file, accepted or rejected, in order; nothing in it stops the reading.

    But for what is found out too late. ChecksumMismatch: the archive is not what its checksum says. NotByLine: the
    lines of a text of JSON are not values. What was read is then to be thrown away, and the file to be read again: with
    the exception's `corruption`, so that the lines it is about are rejected; with a content that is read by value.
    """
    if content.problem is not None:
        rows = Rows(entity, mapping)
        rows.give_up(1, content.problem, content.text)
        return iter([rows.batch()])
    if content.format == "parquet":
        assert isinstance(source, Source)  # it is read from its end
        return read_parquet(entity, source, mapping=mapping)
    chunks = decompressed(source.chunks(), content.compression, corruption)
    if content.format == "csv":
        encoding = Encoding()
        pieces = encoding.watched(_pieces(chunks, corruption, quotes=True))
        return encoding.judged(entity, read_csv(entity, pieces, mapping=mapping))
    if content.format == "json" and not content.is_by_value:
        return read_response(chunks, mapping)
    encoding = Encoding()
    if content.is_by_value:
        pieces = encoding.watched(_raising(value_pieces(chunks, corruption), corruption))
    else:
        pieces = encoding.watched(_pieces(chunks, corruption))
    return encoding.judged(
        entity, with_records(entity, read_fast(entity, pieces, mapping), mapping, may_be_empty=content.is_by_value)
    )


def _pieces(chunks: Iterator[bytes], corruption: CorruptionStart | None, *, quotes: bool = False) -> Iterator[Piece]:
    pieces = blocks_of_lines(chunks, quotes=quotes)
    return _raising(pieces, corruption) if corruption is None else split_corrupt(pieces, corruption.verified_lines)


def _raising(pieces: Iterator[Piece], corruption: CorruptionStart | None) -> Iterator[Piece]:
    for piece in pieces:
        if corruption is None and isinstance(piece, Damage) and piece.corruption is not None:
            raise ChecksumMismatch(piece.corruption)
        yield piece
