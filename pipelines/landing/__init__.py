"""Find landed files, and read each into accepted rows and rejected records.

    find_landed(roots)          which files there are (files.py)
    open_landed(path)           one file's bytes, watched and hashed (files.py)
    read_landed(file, source)   its records in batches, in bounded memory whatever the file holds

What is accepted is defined by records.py, one record at a time, and by values.py, one value at a time; mapping.py says
how files are read that are not as the contract says. The other modules are about speed and file formats: lines.py,
ndjson.py, csv_text.py, parquet.py, parquet_sizes.py, fast.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.landing.batches import Batch, RejectedLine
from pipelines.landing.csv_text import read_csv
from pipelines.landing.fast import read_fast
from pipelines.landing.files import (
    CorruptionStart,
    DamagedArchive,
    Ignored,
    LandedFile,
    Postponed,
    Source,
    Stamp,
    decompressed,
    find_landed,
    find_unfinished,
    landed_file_of,
    open_landed,
    printable_name,
    read_as,
    unfinished_part,
    without_extension,
)
from pipelines.landing.lines import Damage, Piece, blocks_of_lines, split_corrupt
from pipelines.landing.ndjson import read_ndjson, read_response
from pipelines.landing.parquet import read_parquet
from pipelines.landing.records import count_unknown
from pipelines.landing.schema import FLAT_ENTITIES

__all__ = [
    "Batch",
    "ChecksumMismatch",
    "CorruptionStart",
    "DamagedArchive",
    "Ignored",
    "LandedFile",
    "Postponed",
    "RejectedLine",
    "Source",
    "Stamp",
    "count_unknown",
    "decompressed",
    "find_landed",
    "find_unfinished",
    "landed_file_of",
    "open_landed",
    "printable_name",
    "read_as",
    "read_landed",
    "unfinished_part",
    "without_extension",
]


class ChecksumMismatch(Exception):
    """An archive does not match its own checksum, found out after lines of it had been read."""

    def __init__(self, corruption: CorruptionStart) -> None:
        super().__init__(corruption)
        self.corruption = corruption


def read_landed(file: LandedFile, source: Source, corruption: CorruptionStart | None = None) -> Iterator[Batch]:
    """Every record of an open landed file, accepted or rejected, in order; nothing in it stops the reading.

    But for an archive that is not what its checksum says. That raises ChecksumMismatch: what was read is to be thrown
    away, and the file to be read again with the exception's `corruption`. Those lines are then rejected.
    """
    chunks = decompressed(source.chunks(), file.compression, corruption)
    match file.format:
        case "ndjson":
            if file.entity in FLAT_ENTITIES:
                return read_fast(file.entity, _pieces(chunks, corruption), file.mapping)
            return read_ndjson(file.entity, _pieces(chunks, corruption), file.mapping)
        case "json":
            return read_response(chunks, file.mapping)
        case "csv":
            return read_csv(file.entity, _pieces(chunks, corruption), mapping=file.mapping)
        case "parquet":
            return read_parquet(file.entity, source, mapping=file.mapping)
    raise ValueError(f"{file.format} is not a format that lands")


def _pieces(chunks: Iterator[bytes], corruption: CorruptionStart | None) -> Iterator[Piece]:
    if corruption is not None:
        yield from split_corrupt(blocks_of_lines(chunks), corruption.verified_lines)
        return
    for piece in blocks_of_lines(chunks):
        if isinstance(piece, Damage) and piece.corruption is not None:
            raise ChecksumMismatch(piece.corruption)
        yield piece
