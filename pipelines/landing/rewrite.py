"""Rewrite a landed file without the records of one person, for `forget --landing-too`.

Nothing else changes a landed file. Lines of text become empty, so that all others keep their numbers; rows of Parquet
are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import shutil
from array import array
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
class Selection:
    """Which records are to be taken out."""

    lines: Callable[[Iterable[bytes]], Iterator[range]]  # the numbers of the lines, from 1, of each record that goes
    rows: Callable[[pa.RecordBatch], pa.Array]  # which rows of Parquet go


@dataclass(frozen=True)
class Found:
    """The records to take out of a landed file."""

    records: int
    lines: array[int]  # their numbers, from 1; none of Parquet
    stamp: Stamp  # of the file that was looked at


@dataclass(frozen=True)
class Rewritten:
    """A landed file before and after."""

    records: int  # that are gone
    sha256_before: str
    sha256: str
    bytes: int


def find(file: LandedFile, selection: Selection) -> Found:
    """Find the records to take out of a landed file. Raises what `rewrite` does."""
    with open_landed(file.path, file.root) as source:
        lines: array[int] = array("q")
        records = 0
        if file.format == "parquet":
            with pq.ParquetFile(file.path) as table:
                records = sum(pc.sum(selection.rows(batch)).as_py() or 0 for batch in table.iter_batches(_BATCH_ROWS))
        else:
            for taken in selection.lines(decompressed(source.chunks(), file.compression)):
                lines.extend(taken)
                records += 1
        return Found(records, lines, source.stamp)


def rewrite(file: LandedFile, selection: Selection, found: Found, on_written: Callable[[Rewritten], None]) -> Rewritten:
    """Put a file without the records that were found in the place of a landed one, durably.

    The new one has the old one's times and mode, and its owner and group where we may give a file away. `on_written` is
    called when it is whole and durable, before it takes the landed file's name. Raises Postponed if the landed file
    changed since it was looked at or cannot be read, DamagedArchive if it is not what its checksum says: then it stays
    as it was.
    """
    temporary = file.path.with_name(f"{PREFIX}{secrets.token_hex(6)}")  # without the old name, which may be a long one
    try:
        temporary.touch(mode=0o600, exist_ok=False)  # nobody else is to read it before it has the mode of the old one
        with open_landed(file.path, file.root) as source:
            if source.stamp != found.stamp:
                raise Postponed("it changed while it was read")
            if file.format == "parquet":
                _write_rows_left(file.path, temporary, selection)
            else:
                chunks = decompressed(source.chunks(), file.compression)
                with temporary.open("wb") as raw, _compressing(raw, file.compression) as out:
                    for part in _blank_records(chunks, found.lines):
                        out.write(part)
            sha256_before = source.sha256()
            source.check_unchanged()
            _make_alike(file.path, temporary)
            _fsync(temporary)
            with temporary.open("rb") as written:
                sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            done = Rewritten(found.records, sha256_before, sha256, temporary.stat().st_size)
            on_written(done)
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


def _blank_records(chunks: Iterable[bytes], numbers: Iterable[int]) -> Iterator[bytes]:
    """Yield a text with some lines, by their numbers from 1 on, made empty."""
    blanked = iter(numbers)
    following = next(blanked, None)
    line = 1  # in which the chunk begins
    for chunk in chunks:
        last = line + chunk.count(b"\n")  # in which it ends
        if following is None or following > last:
            yield chunk
        else:
            parts = chunk.split(b"\n")
            while following is not None and following <= last:
                parts[following - line] = b""
                if following == last:  # it may go on in the next chunk
                    break
                following = next(blanked, None)
            yield b"\n".join(parts)
        line = last


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


def _write_rows_left(path: Path, target: Path, selection: Selection) -> None:
    with pq.ParquetFile(path) as file, pq.ParquetWriter(target, file.schema_arrow, compression="ZSTD") as writer:
        for batch in file.iter_batches(_BATCH_ROWS):
            writer.write_batch(batch.filter(pc.invert(selection.rows(batch))))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
