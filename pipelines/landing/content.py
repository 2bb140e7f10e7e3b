"""What a landed file is, by its first bytes: its name only says what to make of a text that could be either."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.landing.csv_dialect import Dialect
from pipelines.landing.files import NO_FORMAT, DamagedArchive, Source, decompressed, read_as
from pipelines.landing.lines import without_marks
from pipelines.landing.mapping import UNMAPPED, EntityMapping, in_folders, mapped_spellings
from pipelines.landing.resemblance import entity_of_names
from pipelines.landing.schema import FLAT_ENTITIES, landed_fields
from pipelines.landing.unreadable import ONLY_WHITE_SPACE, ZEROS
from pipelines.landing.values import Rejected

HEAD_BYTES = 1 << 14  # looked at, of the file and of the text in an archive
_PEEKED_BYTES = 64  # of an archive at a time: a few thousand may hold 64 MiB, of which HEAD_BYTES are wanted
SHOWN_BYTES = 300  # of a file that cannot be read

_ZERO_LENGTH = "it has no bytes, and no archive has none: its writer was cut off"
_CONVERT = "land the text as UTF-8"


class Content(NamedTuple):
    """How to read a file."""

    format: str  # ndjson, csv, json (a List Streams response) or parquet
    compression: str | None  # gz or zst
    problem: str | None = None  # why it cannot be read
    text: bytes = b""  # its beginning, if it cannot
    is_by_value: bool = False  # of JSON: not a value a line


_ENCRYPTED = "it is encrypted: land it decrypted"
_ZLIB = "it is compressed with zlib, without the frame of gzip: use gzip or zstd"
# What begins with these, and is not read; each with what to do.
_OTHERS = {
    b"BZh": "it is compressed with bzip2: use gzip or zstd",
    b"\xfd7zXZ\x00": "it is compressed with xz: use gzip or zstd",
    b"PK\x03\x04": "it is a zip archive (or a workbook): land the files in it, as CSV, NDJSON or Parquet",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive: use gzip or zstd",
    b"\x04\x22\x4d\x18": "it is compressed with LZ4: use gzip or zstd",
    b"\x5d\x00\x00": "it is compressed with LZMA: use gzip or zstd",
    b"\x78\x01": _ZLIB,
    b"\x78\x5e": _ZLIB,
    b"\x78\x9c": _ZLIB,
    b"\x78\xda": _ZLIB,
    b"\x1f\x9d": "it is compressed with compress: use gzip or zstd",
    b"PK\x05\x06": "it is a zip archive without a file in it: land CSV, NDJSON or Parquet",
    b"\xff\x06\x00\x00sNaPpY": "it is compressed with Snappy: use gzip or zstd",
    b"\x89LZO": "it is compressed with LZO: use gzip or zstd",
    b"ORC": "it is an ORC file: land Parquet",
    b"Obj\x01": "it is an Avro file: land Parquet or NDJSON",
    b"ARROW1": "it is an Arrow file: land Parquet",
    b"\xff\xff\xff\xff": "it is a stream of Arrow: land Parquet",
    b"FEA1": "it is a Feather file: land Parquet",
    b"SEQ\x06": "it is a Hadoop sequence file: land CSV, NDJSON or Parquet",
    b"RCF\x01": "it is an RCFile: land CSV, NDJSON or Parquet",
    b"Salted__": _ENCRYPTED,
    b"age-encryption.org/": _ENCRYPTED,
    b"PARE": "it is an encrypted Parquet file: land it unencrypted",
    b"\xd0\xcf\x11\xe0": "it is a workbook: land CSV",
    b"PGCOPY\n\xff\r\n\x00": "it is the binary format of PostgreSQL's COPY: land CSV",
    b"PGDMP": "it is a dump of PostgreSQL: land CSV",
    b"SQLite format 3\x00": "it is a SQLite database: land CSV, NDJSON or Parquet",
}
_ARCHIVES = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"} | {
    bytes([0x50 + number, 0x2A, 0x4D, 0x18]): "zst"
    for number in range(16)  # a frame to be skipped
}
_PARQUET = b"PAR1"
_TAR = "it is a tar archive: land the files in it, as CSV, NDJSON or Parquet"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_DUCKDB = "it is a DuckDB database: land CSV, NDJSON or Parquet"
_DUCKDB_MAGIC, _DUCKDB_MAGIC_AT = b"DUCK", 8


def content_of(entity: str, read_as: str, source: Source, mapping: EntityMapping = UNMAPPED) -> Content:
    """What an open landed file is. `read_as` is what its name says, such as csv.gz."""
    head = os.pread(source.file.fileno(), HEAD_BYTES, 0)
    named, _, compression = read_as.partition("@")[0].partition(".")
    if not head:
        is_text = not compression and named != "parquet"
        return Content(_text_format(entity, mapping, named, b""), None, None if is_text else _ZERO_LENGTH)
    if reason := _other_kind(head):
        return Content(named, None, reason)
    if head.startswith(_PARQUET):
        return Content("parquet", None)
    found = next((name for start, name in _ARCHIVES.items() if head.startswith(start)), None)
    if found is None:
        content = _content_of_text(entity, mapping, named, head)
        if compression and content.problem is None and not _is_ours(entity, mapping, content.format, head):
            return Content(named, None, f"it is not compressed as its name says ({compression}), or damaged", b"")
        if named == "parquet" and content.problem is None and not _is_ours(entity, mapping, content.format, head):
            return Content("parquet", None)
        return content
    text = _first_text(head, found)
    if text.startswith((_PARQUET, *_ARCHIVES)) and not _is_plain(text):
        return Content(named, found, "it is an archive within an archive: compress text once, and Parquet not at all")
    if reason := _other_kind(text):
        return Content(named, found, f"what is compressed in it cannot be read: {reason}")
    return _content_of_text(entity, mapping, named, text)._replace(compression=found)


def looks_landed(entity: str, name: str, mapping: EntityMapping, head: bytes) -> bool:
    """Whether a file of an unknown extension is one of those that are read, or refused, by its first HEAD_BYTES."""
    mapping = in_folders(entity, name, mapping)
    if head.startswith((_PARQUET, *_ARCHIVES)) or _other_kind(head):
        return True
    if _CONTROL.search(head) and any(read_as(part) != NO_FORMAT for part in _inner_names(name)):
        return True  # such as sessions.csv.gpg: it is no note about the file, and nobody would know that it is one
    return _is_ours(entity, mapping, _text_format(entity, mapping, "", head), head)


def entity_of(head: bytes) -> str | None:
    """The entity whose records a file that begins so holds, by the names of the fields that it needs; None: of none."""
    found = next((name for start, name in _ARCHIVES.items() if head.startswith(start)), None)
    start = without_marks(_first_text(head, found) if found else head).lstrip()
    line = start[:_RECORD_BYTES] if start.startswith((b"{", b"[")) else start.partition(b"\n")[0]
    names = {name.decode() for name in _WORD.findall(line)}
    return entity_of_names(names)


def looks_like_table(head: bytes) -> bool:
    """Whether a text holds the same number of cells, two or more, in each of its first lines."""
    lines = [line for line in head.splitlines()[:_LINES_OF_A_TABLE] if line.strip()]
    if len(head) == HEAD_BYTES:
        lines = lines[:-1]
    cells = ({len(each.findall(line)) for line in lines} for each in _SEPARATORS)
    return len(lines) > 1 and any(len(counts) == 1 and counts != {0} for counts in cells)


def looks_like_list(head: bytes) -> bool:
    """Whether a text holds one word a line."""
    return _LIST.fullmatch(head) is not None


_LIST = re.compile(rb"(?:[^\s\x00-\x1f]+\s*?(?:[\r\n]+|$))+")
_RECORD_BYTES = 4096  # in which each field that a record needs is named
_LINES_OF_A_TABLE = 20
_SEPARATORS = [re.compile(each) for each in (rb",(?!\s)", rb";(?!\s)", rb"\t", rb"\|")]  # of cells, and not of clauses
_WORD = re.compile(rb"\w+")


def _other_kind(head: bytes) -> str | None:
    """Why a file that begins so is of a kind that is not read; None: it may be read."""
    if is_tar(head):
        return _TAR
    if head.startswith(_DUCKDB_MAGIC, _DUCKDB_MAGIC_AT) and not _is_plain(head):
        return _DUCKDB
    return next((why for start, why in _OTHERS.items() if head.startswith(start) and not _is_plain(head)), None)


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive."""
    return head.startswith(_TAR_MAGIC, _TAR_MAGIC_AT)


_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # in no text of single bytes


def _inner_names(name: str) -> Iterator[str]:
    """The name of a file without its last extension, and without those before."""
    while (dot := name.rfind(".")) > name.rfind("/") + 1:
        name = name[:dot]
        yield name


def _first_text(head: bytes, compression: str) -> bytes:
    parts = []
    little = (head[at : at + _PEEKED_BYTES] for at in range(0, len(head), _PEEKED_BYTES))
    try:
        for part in decompressed(little, compression):
            parts.append(part)
            if sum(map(len, parts)) >= HEAD_BYTES:
                break
    except DamagedArchive:
        pass
    return b"".join(parts)[:HEAD_BYTES]


def _is_plain(head: bytes) -> bool:
    """Whether it is a text after all, that begins like something else by chance."""
    return head[:64].isascii() and head[:64].decode("ascii").translate(_LINE_ENDS).isprintable()


_LINE_ENDS = str.maketrans("\t\r\n", "   ")


def _content_of_text(entity: str, mapping: EntityMapping, named: str, head: bytes) -> Content:
    file_format = _text_format(entity, mapping, named, head)
    if head and not without_marks(head):
        return Content(file_format, None, ONLY_WHITE_SPACE)
    if encoding := encoding_of(head):
        shown = head.decode(encoding, "replace").removeprefix("\ufeff").partition("\n")[0][:SHOWN_BYTES]
        name = encoding.upper().replace("-LE", "").replace("-BE", "")
        return Content(file_format, None, f"the text is {name}: {_CONVERT}", shown.encode("utf-8", "replace"))
    if head and not head.strip(b"\0"):
        return Content(file_format, None, ZEROS)
    start = without_marks(head).lstrip()
    if named == "csv" and start and entity not in FLAT_ENTITIES and not start.startswith((b"{", b"[")):
        return Content(file_format, None, f"{entity} have nested fields, which CSV cannot hold: land NDJSON or Parquet")
    if start.startswith(b"<"):
        return Content(file_format, None, "it is HTML or XML, perhaps an error page", start[:SHOWN_BYTES])
    return Content(file_format, None)


def encoding_of(head: bytes) -> str | None:
    """UTF-16 or UTF-32, in the words of Python, of a text that begins so; None for one of single bytes, or none."""
    for mark, name in _MARKS:
        if head.startswith(mark) and b"\0" in head:
            return name
    if b"\0" not in head:
        return None
    text = head[: len(head) // 4 * 4]
    zeros = [text[place::4].count(0) * 4 for place in range(4)]  # each out of len(text)
    full = len(text) * 3 // 4
    for name, places in _ZEROS_AT:
        if all((zeros[place] >= full) == (place in places) == (not head[place]) for place in range(min(4, len(text)))):
            return name
    return None


_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ZEROS_AT = (("utf-16-le", (1, 3)), ("utf-16-be", (0, 2)), ("utf-32-le", (1, 2, 3)), ("utf-32-be", (0, 1, 2)))


def _text_format(entity: str, mapping: EntityMapping, named: str, head: bytes) -> str:
    """JSON begins with a bracket and CSV with a header; where neither is plain it is what the name says."""
    start = without_marks(head).lstrip()
    if named == "json" and entity == "lls_streams":
        return "json"
    if entity not in FLAT_ENTITIES:
        return "ndjson"
    if start.startswith((b"{", b"[")):
        return "ndjson"
    if _has_header(entity, mapping, start):
        return "csv"
    return "csv" if named == "csv" else "ndjson"


def _is_ours(entity: str, mapping: EntityMapping, file_format: str, head: bytes) -> bool:
    """Whether a text is plainly of an entity."""
    start = without_marks(head).lstrip()
    return start.startswith((b"{", b"[")) if file_format != "csv" else _has_header(entity, mapping, start)


def _has_header(entity: str, mapping: EntityMapping, start: bytes) -> bool:
    """Whether a text begins with a line of CSV that names the required fields."""
    line = start.splitlines()[0] if start else b""
    try:
        names = next(Dialect(mapping).records([line.decode()]), [])
    except (UnicodeDecodeError, csv.Error, Rejected):
        return False
    known = mapped_spellings(entity, mapping)
    given = {known.get(name) for name in names} | {field for field, _ in mapping.in_folders}
    return all(field.name in given for field in landed_fields(entity) if field.required)
