"""Rewrite a landed file without the records of one person, for `forget --landing-too`.

Nothing else changes a landed file. In text the records become empty and their line ends stay, so that all other lines
keep their numbers; rows of Parquet are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from pipelines.core.shared_folders import new_file_in
from pipelines.landing.content import Content, content_of
from pipelines.landing.files import LandedFile, Postponed, Source, Stamp, decompressed, open_landed
from pipelines.landing.lines import BYTE_ORDER_MARK


class TextRange(NamedTuple):
    """A part of a text that is to be taken out. Lines count from 1 and end with LF, CRLF or CR; columns are bytes."""

    line: int
    column: int
    end_line: int
    end_column: int  # behind it; -1: to the end of the line
    records: int = 1


OpenText = Callable[[], Iterable[bytes]]  # the text of a landed file, from its beginning


@dataclass(frozen=True)
class Selection:
    """Which records are to be taken out."""

    ranges: Callable[[Content, OpenText], Iterable[TextRange]]  # of a text, in order
    rows: Callable[[pa.RecordBatch], pa.Array]  # which rows of Parquet go


@dataclass(frozen=True)
class Found:
    """The records to take out of a landed file."""

    records: int
    ranges: array[int]  # four numbers each, without the records; none of Parquet
    stamp: Stamp  # of the file that was looked at


@dataclass(frozen=True)
class Rewritten:
    """A landed file before and after."""

    records: int  # that are gone
    sha256_before: str
    sha256: str
    bytes: int
    stamp: Stamp | None = None  # of the new file, once it has the landed one's name


def find(file: LandedFile, selection: Selection) -> Found:
    """Find the records to take out of a landed file. Raises what `rewrite` does."""
    with open_landed(file.path, file.root) as source:
        ranges: array[int] = array("q")
        records = 0
        content = content_of(file.entity, file.read_as, source, file.mapping)
        if content.format == "parquet":
            with _table(source) as table:
                records = sum(pc.sum(selection.rows(batch)).as_py() or 0 for batch in table.iter_batches(_BATCH_ROWS))
        else:

            def text() -> Iterable[bytes]:
                source.rewind()
                return decompressed(source.chunks(), content.compression)

            for taken in selection.ranges(content, text):
                ranges.extend(taken[:4])
                records += taken.records
        source.check_unchanged()
        return Found(records, ranges, source.stamp)


def rewrite(file: LandedFile, selection: Selection, found: Found, on_written: Callable[[Rewritten], None]) -> Rewritten:
    """Put a file without the records that were found in the place of a landed one, durably.

    The new one has the old one's times and mode, and its owner and group where we may give a file away. `on_written` is
    called when it is whole and durable, before it takes the landed file's name. Its folder may be one that others
    write to: nothing but what has the landed file's name in it is replaced. Raises Postponed if the landed file changed
    since it was looked at, cannot be read, or was moved aside; DamagedArchive if it is not what its checksum says.
    """
    with open_landed(file.path, file.root) as source, new_file_in(source.folder) as new:
        if source.stamp != found.stamp:
            raise Postponed("it changed while it was read")
        content = content_of(file.entity, file.read_as, source, file.mapping)
        if content.format == "parquet":
            _write_rows_left(source, new.file, selection)
        else:
            _write_text_left(source, new.file, content.compression, found)
        sha256_before = source.sha256()
        source.check_unchanged()
        new.file.flush()
        _make_alike(source.file.fileno(), new.file.fileno())
        new.make_durable()
        new.file.seek(0)
        sha256 = hashlib.file_digest(new.file, "sha256").hexdigest()
        done = Rewritten(found.records, sha256_before, sha256, os.fstat(new.file.fileno()).st_size)
        on_written(done)
        links = os.fstat(source.file.fileno()).st_nlink
        source.check_unchanged()  # safeguard: landed-file-still-the-one-read
        new.rename(file.path.name)
        if os.fstat(source.file.fileno()).st_nlink >= links:  # safeguard: landed-file-was-the-one-replaced
            raise Postponed("it was moved aside while it was rewritten")
        if not os.path.samestat(os.lstat(file.path), os.fstat(new.file.fileno())):
            raise Postponed("something else took its name when it had been rewritten")
        return replace(done, stamp=Stamp.of(os.fstat(new.file.fileno())))


def _make_alike(old: int, new: int) -> None:
    """Give a new file the owner, mode and times of the landed one, both by their descriptors."""
    wanted = os.fstat(old)
    # A group may be given by who is in it, an owner by root.
    for uid, gid in ((-1, wanted.st_gid), (wanted.st_uid, -1)):
        with suppress(OSError):
            os.fchown(new, uid, gid)
    for name in os.listxattr(old) if hasattr(os, "listxattr") else ():
        if name.startswith("user.") or name == "system.posix_acl_access":
            with suppress(OSError):
                os.setxattr(new, name, os.getxattr(old, name))
    given = os.fstat(new)
    is_theirs = (given.st_uid, given.st_gid) == (wanted.st_uid, wanted.st_gid)
    # Last: a change of owner takes bits of the mode away. A file that stays ours must not run as us.
    os.fchmod(new, wanted.st_mode & (0o7777 if is_theirs else 0o777))  # safeguard: kept-file-runs-as-nobody
    os.utime(new, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))


def _write_text_left(source: Source, target: IO[bytes], compression: str | None, found: Found) -> None:
    """Write the text without the ranges; where only white space is left, none: that would be an unreadable file."""
    is_left = False
    with _compressing(target, compression) as out:
        for part in _blank_ranges(decompressed(source.chunks(), compression), found.ranges):
            is_left = is_left or bool(part.strip(BYTE_ORDER_MARK + b" \t\r\n"))
            out.write(part)
    if not is_left:
        target.seek(0)
        target.truncate()
        with _compressing(target, compression):
            pass


_LINE_END = re.compile(rb"\r?\n|\r(?!\n)")
_NO_END = 1 << 62


def _blank_ranges(chunks: Iterable[bytes], numbers: Sequence[int]) -> Iterator[bytes]:
    """Yield a text without some ranges, whose line ends stay."""
    ranges = (TextRange(*numbers[at : at + 4]) for at in range(0, len(numbers), 4))
    taken = next(ranges, None)
    line, column = 1, 0  # where the chunk begins
    for chunk in _between_line_ends(chunks):
        if taken is None:
            yield chunk
            continue
        parts: list[bytes] = []
        at = 0
        for match in (*_LINE_END.finditer(chunk), None):
            end, stop = match.span() if match else (len(chunk), len(chunk))
            last = column + end - at  # the column behind the text of this line, as far as it is in the chunk
            kept_from = column
            while taken is not None and taken.line <= line:
                start = max(kept_from, taken.column if taken.line == line else 0)
                goes_on = taken.end_line > line or taken.end_column < 0
                if start > last:
                    break
                parts.append(chunk[at + kept_from - column : at + start - column])
                kept_from = max(kept_from, min(_NO_END if goes_on else taken.end_column, last))
                if goes_on or taken.end_column > last:
                    break
                taken = next(ranges, None)
            parts.append(chunk[at + kept_from - column : stop])
            at, column = stop, last
            if match:
                line, column = line + 1, 0
                if taken is not None and taken.end_line < line:
                    taken = next(ranges, None)
        yield b"".join(parts)


def _between_line_ends(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut nowhere between CR and LF."""
    kept = b""
    for following in chunks:
        chunk = kept + following
        kept = b"\r" if chunk.endswith(b"\r") else b""
        yield chunk[:-1] if kept else chunk
    if kept:
        yield kept


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


def _write_rows_left(source: Source, target: IO[bytes], selection: Selection) -> None:
    with _table(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="ZSTD") as writer:
        for batch in file.iter_batches(_BATCH_ROWS):
            writer.write_batch(batch.filter(pc.invert(selection.rows(batch))))
    source.rewind()  # it was not read in order, nor hashed


@contextmanager
def _table(source: Source) -> Iterator[pq.ParquetFile]:
    """The Parquet file that was opened, which need not be the one that has its name now."""
    with os.fdopen(os.dup(source.file.fileno()), "rb") as handle, pq.ParquetFile(handle) as table:
        yield table
