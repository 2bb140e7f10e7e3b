"""Write a landed file anew without the records of one person. The only place where a landed file is changed, and only
where somebody asked for it: `forget --landing-too`.

Lines of text become empty and all others keep their numbers; rows of Parquet are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from pipelines.landing.files import LandedFile, Postponed, Stamp, decompressed, open_landed

PREFIX = ".mostwatched-"  # of a file that is being written; a name that no run reads


@dataclass(frozen=True)
class Cut:
    """What is to be taken out."""

    lines: Callable[[Iterable[bytes]], Iterator[tuple[bytes, bool]]]  # (what stays of each line, whether it is emptied)
    rows: Callable[[pa.RecordBatch], pa.Array]  # which rows of Parquet go


@dataclass(frozen=True)
class Emptied:
    """A landed file before and after."""

    records: int  # that are gone
    sha256_before: str
    sha256: str
    bytes: int


def counted(file: LandedFile, cut: Cut) -> int:
    """How many lines or rows there are to take out of a landed file. Raises what `emptied` does."""
    with open_landed(file.path, file.root) as source:
        if file.format == "parquet":
            with pq.ParquetFile(file.path) as table:
                return sum(pc.sum(cut.rows(batch)).as_py() or 0 for batch in table.iter_batches(_BATCH_ROWS))
        return sum(is_emptied for _, is_emptied in cut.lines(_lines(decompressed(source.chunks(), file.compression))))


def emptied(file: LandedFile, cut: Cut, before_it_stands: Callable[[Emptied], None]) -> Emptied | None:
    """Put a file without some records in the place of a landed one, durably; None if there are none to take out.

    The new one has the old one's times and mode, and its owner and group where we may give a file away.
    `before_it_stands` is called when it is whole and durable. Raises Postponed if the landed file changed
    meanwhile or cannot be read, DamagedArchive if it is not what its checksum says: then it stays as it was.
    """
    temporary = file.path.with_name(f"{PREFIX}{secrets.token_hex(6)}")  # without the old name, which may be a long one
    try:
        temporary.touch(mode=0o600, exist_ok=False)  # nobody else is to read it before it has the mode of the old one
        with open_landed(file.path, file.root) as source:
            if file.format == "parquet":
                records = _rows_left(file.path, temporary, cut)
            else:
                chunks = decompressed(source.chunks(), file.compression)
                records = _lines_left(chunks, temporary, file.compression, cut)
            sha256_before = source.sha256()
            source.check_unchanged()
            if not records:
                return None
            _make_alike(file.path, temporary)
            _fsync(temporary)
            with temporary.open("rb") as written:
                sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            done = Emptied(records, sha256_before, sha256, temporary.stat().st_size)
            before_it_stands(done)
            if Stamp.of(os.lstat(file.path)) != source.stamp:
                raise Postponed("it changed while it was read")
        temporary.rename(file.path)
        _fsync(file.path.parent)
        return done
    finally:
        temporary.unlink(missing_ok=True)


def _make_alike(path: Path, new: Path) -> None:
    owner = path.stat()
    for uid, gid in ((-1, owner.st_gid), (owner.st_uid, -1)):  # a group may be given by who is in it, an owner by root
        with suppress(OSError):
            os.chown(new, uid, gid)
    shutil.copystat(path, new)  # last: a change of owner takes bits of the mode away


def sweep(root: Path) -> None:
    """Remove what a killed command left half-written under a landing folder."""
    for path in root.rglob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)


def _lines_left(chunks: Iterable[bytes], target: Path, compression: str | None, cut: Cut) -> int:
    records = 0
    with target.open("wb") as raw, _compressing(raw, compression) as out:
        for line, is_emptied in cut.lines(_lines(chunks)):
            records += is_emptied
            out.write(line)
    return records


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends."""
    before = b""
    for chunk in chunks:
        *whole, before = (before + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if before:
        yield before


@contextmanager
def _compressing(raw: IO[bytes], compression: str | None) -> Iterator[Any]:
    if compression == "gz":
        with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as out:
            yield out
    elif compression == "zst":
        with zstandard.ZstdCompressor(write_checksum=True).stream_writer(raw, closefd=False) as out:
            yield out
    else:
        yield raw


_BATCH_ROWS = 1 << 16


def _rows_left(path: Path, target: Path, cut: Cut) -> int:
    records = 0
    with pq.ParquetFile(path) as file, pq.ParquetWriter(target, file.schema_arrow, compression="ZSTD") as writer:
        for batch in file.iter_batches(_BATCH_ROWS):
            goes = cut.rows(batch)
            records += pc.sum(goes).as_py() or 0
            writer.write_batch(batch.filter(pc.invert(goes)))
    return records


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
