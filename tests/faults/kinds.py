"""Files as they come out of shells, editors, gateways and full disks: hundreds of kinds, each of records that we know.

A kind is a name of a file and its bytes, out of records that were drawn, and what must become of it. The judge is the
list of records: what is accepted is of them, and whatever is not is counted as rejected, or the file is unreadable.
"""

from __future__ import annotations

import base64
import bz2
import csv
import gzip
import io
import json
import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import zstandard

from faults.campaign import Effort, Figure
from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest

Records = list[dict[str, str]]
FIELDS = ["sessionId", "creatorId", "viewerId", "startedAt", "endedAt"]
# exact: every record is read; counted: whatever is not is rejected or in an unreadable file; refused: unreadable
Wanted = Literal["exact", "counted", "refused", "passed over"]


@dataclass(frozen=True)
class Kind:
    """A landed file, and what must become of it."""

    file: str
    content: bytes
    wanted: Wanted
    records: Records  # that are in it


def drawn(draw: Random, count: int) -> Records:
    """Sessions."""
    start = datetime(2026, 3, 9, tzinfo=UTC) + timedelta(seconds=draw.randrange(3600))
    found = []
    for number in range(count):
        at = start + timedelta(minutes=7 * number)
        times = [each.strftime("%Y-%m-%dT%H:%M:%SZ") for each in (at, at + timedelta(minutes=5))]
        found.append(dict(zip(FIELDS, [f"s{number}", f"c{number % 5}", f"v{draw.randrange(99)}", *times], strict=True)))
    return found


# --- writers ---------------------------------------------------------------------------------------------------------


def lines(records: Records, end: str = "\n") -> str:
    return "".join(json.dumps(each) + end for each in records)


def table(records: Records, end: str = "\n", header: list[str] | None = FIELDS, **options: Any) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, **options)
    if header:
        writer.writerow(header)
    writer.writerows([each[name] for name in FIELDS] for each in records)
    return text.getvalue()


def parquet(records: Records, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), file, **options)
    return file.getvalue()


def tar(records: Records) -> bytes:
    file = io.BytesIO()
    half = len(records) // 2
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, part in (("a.ndjson", records[:half]), ("b.ndjson", records[half:])):
            content = lines(part).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.ndjson", content)
    return file.getvalue()


def by_path(write: Callable[[pa.Table, str], object], records: Records, folder: Path) -> bytes:
    path = folder / "written"
    write(pa.Table.from_pylist(records), str(path))
    return path.read_bytes()


def bgzip(content: bytes, size: int) -> bytes:
    """Block gzip, as htslib writes it: each block says its own length, and an empty one is the end."""
    out = b""
    for at in range(0, len(content), size):
        block = content[at : at + size]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(block) + packer.flush()
        out += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25) + packed
        out += struct.pack("<II", zlib.crc32(block), len(block))
    return out + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


# --- the kinds -------------------------------------------------------------------------------------------------------


def kinds(draw: Random, folder: Path) -> dict[str, Kind]:
    """Every kind, of records that are drawn."""
    records = drawn(draw, draw.randint(30, 60))
    found: dict[str, Kind] = {}
    for part in (_line_ends, _headers, _quotes, _holes, _objects, _bodies, _archives, _tables):
        for name, (file, content, wanted) in part(draw, records, folder).items():
            raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
            found[name] = Kind(file, raw, wanted, records)
    return found


Part = Mapping[str, tuple[str, str | bytes, Wanted]]


def _line_ends(_: Random, records: Records, __: Path) -> Part:
    cut, text, cells = len(records) // 2, lines(records), table(records)
    found: dict[str, tuple[str, str | bytes, Wanted]] = {}
    for end in ("\n", "\r", "\r\n", "\n\r", "\r\r\n", "\n\n"):
        found |= {
            f"NDJSON, {end!r}": ("a.ndjson", lines(records, end), "exact"),
            f"NDJSON, {end!r}, none at the end": ("a.ndjson", lines(records, end).removesuffix(end), "exact"),
            f"CSV, {end!r}": ("a.csv", table(records, end), "exact"),
            f"CSV, {end!r}, quoted": ("a.csv", table(records, end, quoting=csv.QUOTE_ALL), "exact"),
            f"CSV, {end!r}, none at the end": ("a.csv", table(records, end).removesuffix(end), "exact"),
        }
    for end in ("\x85", "\u2028", "\u2029", "\v", "\f", "\x1e", "\x1c", "\x1f", "\0", " ", "", ",", ",\n", ";", " , "):
        found[f"JSON, {end!r} between"] = ("a.ndjson", lines(records, end), "counted")
        found[f"CSV, {end!r} for line ends"] = ("a.csv", cells.replace("\n", end), "counted")
    mark = "\ufeff"
    swapped = ["sessionId", "viewerId", "creatorId", "startedAt", "endedAt"]
    other = ",".join(swapped) + "\n" + _in_order(records[cut:], swapped)
    return found | {
        "NDJSON, marks within": ("a.ndjson", mark + lines(records[:cut]) + mark + lines(records[cut:]), "exact"),
        "NDJSON, two marks": ("a.ndjson", mark * 2 + text, "exact"),
        "JSON, marks between arrays": ("a.json", mark + json.dumps(records[:cut]) + mark + json.dumps(records[cut:]),
                                       "exact"),
        "CSV, two marks": ("a.csv", mark * 2 + cells, "exact"),
        "CSV, mark and quoted header": ("a.csv", mark + table(records, quoting=csv.QUOTE_ALL), "exact"),
        "CSV, header again": ("a.csv", table(records[:cut]) + table(records[cut:]), "counted"),
        "CSV, mark and header again": ("a.csv", mark + table(records[:cut]) + mark + table(records[cut:]), "counted"),
        "CSV, header of another order": ("a.csv", table(records[:cut]) + other, "refused"),
        "CSV, header of another order, marked": ("a.csv", mark + table(records[:cut]) + mark + other, "refused"),
        "CSV, header in another spelling": ("a.csv", table(records[:cut]) + _snake(table(records[cut:])), "counted"),
        "CSV, then JSON": ("a.csv", table(records[:cut]) + lines(records[cut:]), "counted"),
        "JSON, then CSV": ("a.ndjson", lines(records[:cut]) + table(records[cut:]), "counted"),
    }  # fmt: skip


def _in_order(records: Records, names: list[str]) -> str:
    return "".join(",".join(each[name] for name in names) + "\n" for each in records)


def _snake(text: str) -> str:
    head, _, rest = text.partition("\n")
    for name in FIELDS:
        head = head.replace(name, "".join(f"_{each.lower()}" if each.isupper() else each for each in name))
    return f"{head}\n{rest}"


def _headers(_: Random, records: Records, __: Path) -> Part:
    cells, bare = table(records), table(records, header=None)
    first, rest = cells.partition("\n")[::2]
    found: dict[str, tuple[str, str | bytes, Wanted]] = {
        f"CSV, {what} first": ("a.csv", line + cells, "refused")
        for what, line in {
            "sep=;": "sep=;\n", "a comment": "# export\n", "a title": "Sessions\n", "cells of nothing": ",,,,\n",
            "a conflict": "<<<<<<< HEAD\n", "HTTP": "HTTP/1.1 200 OK\r\n\r\n", "MIME": "MIME-Version: 1.0\n\n",
        }.items()
    }  # fmt: skip
    found |= {
        f"CSV, {what} at the end": ("a.csv", cells + line, "counted")
        for what, line in {"psql's count": "(40 rows)\n", "COPY's end": "\\.\n", "a comment": "# 40 rows\n",
                           "cells of nothing": ",,,,\n" * 5, "control-Z": "\x1a", "the log": "exit 1\n"}.items()
    }  # fmt: skip
    for delimiter in (";", "\t", "|", "\x01", "^", "~", " ", ":"):
        text = table(records, delimiter=delimiter, quotechar="`")
        found[f"CSV, between cells {delimiter!r}"] = ("a.csv", text, "refused")
        found[f"CSV, {delimiter!r} in rows alone"] = ("a.csv", f"{first}\n{text.partition(chr(10))[2]}", "counted")
    return found | {
        "CSV, no header": ("a.csv", bare, "refused"),
        "CSV, header twice": ("a.csv", f"{first}\n{cells}", "counted"),
        "CSV, units": ("a.csv", f"{first}\nid,id,id,UTC,UTC\n{rest}", "counted"),
        "CSV, dashes": ("a.csv", f"{first}\n--,--,--,--,--\n{rest}", "counted"),
        "CSV, capitals": ("a.csv", f"{first.upper()}\n{rest}", "refused"),
        "CSV, blank lines first": ("a.csv", "\n\n\n" + cells, "exact"),
        "CSV, reversed columns": ("a.csv", ",".join(FIELDS[::-1]) + "\n" + _in_order(records, FIELDS[::-1]), "exact"),
        "CSV, a column too many": ("a.csv", f"{first},source\n{rest}", "counted"),
        "CSV, a column too few": ("a.csv", f"{first.rpartition(',')[0]}\n{rest}", "counted"),
        "CSV, a blank column": ("a.csv", cells.replace("\n", ",\n"), "exact"),
        "CSV, two blank columns": ("a.csv", cells.replace("\n", ",,\n"), "counted"),
        "CSV, a column twice": ("a.csv", f"{first},viewerId\n" + rest.replace("\n", ",x\n"), "refused"),
        "CSV, transposed": ("a.csv", "".join(",".join([name, *(each[name] for each in records)]) + "\n"
                                             for name in FIELDS), "refused"),
        "CSV, header over two lines": ("a.csv", cells.replace(",startedAt", ",\nstartedAt", 1), "refused"),
    }  # fmt: skip


def _quotes(draw: Random, records: Records, _: Path) -> Part:
    opened = draw.randrange(1, len(records) - 3)
    closed = draw.randrange(opened + 1, len(records))
    rows = table(records).splitlines()
    found: dict[str, tuple[str, str | bytes, Wanted]] = {}
    for cell in range(3):
        for what, is_closing in (("closed", True), ("opened again", False), ("never closed", None)):
            changed = [row.split(",") for row in rows]
            changed[opened][cell] = '"' + changed[opened][cell]
            if is_closing is not None:
                last = changed[closed][cell]
                changed[closed][cell] = last + '"' if is_closing else '"' + last
            text = "".join(",".join(row) + "\n" for row in changed)
            found[f"CSV, quotation mark in cell {cell}, {what}"] = ("a.csv", text, "counted")
    quoted = table(records, quoting=csv.QUOTE_ALL)
    return found | {
        "CSV, single quotes": ("a.csv", table(records, quotechar="'", quoting=csv.QUOTE_ALL), "refused"),
        "CSV, smart quotes": ("a.csv", quoted.replace('"', "\u201d"), "refused"),
        "CSV, lines in quotes": ("a.csv", "".join(f'"{row}"\n' for row in rows), "refused"),
        "CSV, lines but the first in quotes": ("a.csv", rows[0] + "\n" + "".join(f'"{row}"\n' for row in rows[1:]),
                                               "counted"),
        "CSV, a quotation mark missing": ("a.csv", _without_one(draw, quoted), "counted"),
        "CSV, a quotation mark at the end": ("a.csv", table(records) + '"\n', "counted"),
    }  # fmt: skip


def _without_one(draw: Random, quoted: str) -> str:
    """Without the quotation mark that ends a cell, of a record that is not the header."""
    body = quoted.index("\n")
    ends = [at for at in range(body, len(quoted) - 1) if quoted[at] == '"' and quoted[at + 1] in ",\n"]
    at = draw.choice(ends)
    return quoted[:at] + quoted[at + 1 :]


def _holes(draw: Random, records: Records, _: Path) -> Part:
    cut, text, cells = len(records) // 2, lines(records).encode(), table(records).encode()
    found: dict[str, tuple[str, str | bytes, Wanted]] = {}
    for size in (8, 512, 4096, 1 << 20):
        found |= {
            f"NDJSON, {size} zeros behind": ("a.ndjson", text + bytes(size), "counted"),
            f"CSV, {size} zeros behind": ("a.csv", cells + bytes(size), "counted"),
            f"NDJSON, {size} zeros before": ("a.ndjson", bytes(size) + text, "counted"),
            f"NDJSON, {size} zeros between": ("a.ndjson", lines(records[:cut]).encode() + bytes(size)
                                              + lines(records[cut:]).encode(), "counted"),
            f"CSV, {size} zeros between": ("a.csv", table(records[:cut]).encode() + bytes(size)
                                           + table(records[cut:], header=None).encode(), "counted"),
        }  # fmt: skip
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp037"):
        found[f"NDJSON, {encoding}"] = ("a.ndjson", text.decode().encode(encoding), "refused")
        found[f"CSV, {encoding}"] = ("a.csv", cells.decode().encode(encoding), "refused")
        found[f"NDJSON, {encoding} from the middle on"] = (
            "a.ndjson", lines(records[:cut]).encode() + lines(records[cut:]).encode(encoding), "counted",
        )  # fmt: skip
    at = draw.randrange(len(text))
    return found | {
        "NDJSON, 0xFF behind": ("a.ndjson", text + b"\xff" * 999, "counted"),
        "NDJSON, written into": ("a.ndjson", text[:at] + text[at - 40 :], "counted"),
        "NDJSON, spaces behind": ("a.ndjson", text + b" " * 5000, "exact"),
    }


def _objects(draw: Random, records: Records, _: Path) -> Part:
    cut, at = len(records) // 2, draw.randrange(1, len(records) - 1)
    one_line = ",".join(json.dumps(each) for each in records)
    found: dict[str, tuple[str, str | bytes, Wanted]] = {}

    def add(what: str, text: str, wanted: Wanted = "counted") -> None:
        found[f"JSON, {what}"] = (draw.choice(["a.json", "a.ndjson"]), text, wanted)

    for key in ("records", "data", "Items", "results", "rows", "value"):
        add(f"in {key}", json.dumps({key: records, "count": len(records)}), "refused")
        add(f"in {key}, indented", json.dumps({key: records}, indent=2), "refused")
    add("in pages", "\n".join(json.dumps({"records": records[at : at + 9]}) for at in range(0, len(records), 9)),
        "refused")  # fmt: skip
    add("in hits.hits", json.dumps({"hits": {"hits": [{"_source": each} for each in records]}}), "refused")
    add("in columns", json.dumps({name: [each[name] for each in records] for name in FIELDS}), "refused")
    add("in columns by number", json.dumps({name: {str(at): each[name] for at, each in enumerate(records)}
                                            for name in FIELDS}), "refused")  # fmt: skip
    add("by number", json.dumps({str(at): each for at, each in enumerate(records)}), "refused")
    add("as split", json.dumps({"columns": FIELDS, "data": [list(each.values()) for each in records]}), "refused")
    add("as arrays", json.dumps([FIELDS, *(list(each.values()) for each in records)]), "refused")
    add("an array in an array", f"[[{one_line}]]", "refused")
    add("beside a page's own id", json.dumps({"sessionId": "page", "data": records}), "refused")
    for what, wrap in {"record": "record", "payload": "payload", "Item": "Item"}.items():
        add(f"each in {what}", "".join(json.dumps({wrap: each}) + "\n" for each in records))
    add("each a text", "".join(json.dumps(json.dumps(each)) + "\n" for each in records), "refused")
    add("nothing but commas", one_line, "refused")
    add("an array that is not opened", f"{one_line}]", "refused")
    add("an array that is closed twice", f"[{one_line}]]")
    add("an array that is closed within", f"[{one_line}]".replace("}, {" if "}, {" in one_line else "},{", "}],{", 1))
    add("a comma behind the last", f"[{one_line},]")
    add("JSONP", f"callback([{one_line}]);", "refused")
    add("an assignment", f"var sessions = [{one_line}];", "refused")
    add("lengths between", "".join(f"{len(json.dumps(each))}{json.dumps(each)}" for each in records))
    add("a comment first", "// export\n" + lines(records))
    add("RFC 7464", "".join(f"\x1e{json.dumps(each)}\n" for each in records))
    add("log lines", "".join(f"2026-03-09 INFO {json.dumps(each)}\n" for each in records))
    add("Python's repr", "".join(f"{each!r}\n" for each in records))
    add("Python's repr of the list", repr(records), "refused")
    add("behind data:", "".join(f"data: {json.dumps(each)}\n\n" for each in records))
    add("a bulk request", "".join('{"index":{}}\n' + json.dumps(each) + "\n" for each in records))
    for indent in (None, 0, 1, 2, "\t"):
        text = (
            json.dumps(records, indent=indent) if indent is not None else "[\n" + one_line.replace("},{", "},\n{") + "]"
        )
        add(f"an array, indented by {indent!r}", text, "exact")
        add(f"an array with a bad element, indented by {indent!r}",
            text.replace(json.dumps(records[at]["sessionId"]), "oops", 1), "refused")  # fmt: skip
        add(f"an array that breaks off, indented by {indent!r}", text[: -draw.randrange(1, 30)], "refused")
    add("two arrays", json.dumps(records[:cut]) + json.dumps(records[cut:]), "exact")
    add("an array a line", "".join(json.dumps([each]) + "\n" for each in records), "exact")
    add("an array longer than a line may be", json.dumps({"records": records, "x": "x" * (1 << 20)}), "refused")
    return found


def _bodies(_: Random, __: Records, ___: Path) -> Part:
    bodies = (
        "<html><title>502</title></html>", '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", '{"message": "Rate exceeded"}',
        '{"error":"missing parameter","parameter":"sessionId"}', "{}", "null", "[null]", '""', "true", "0", "[[]]",
        "[{}]", "NaN", "Service Unavailable",
        '{"Items":[],"Count":0}', '{"records":[]}', '{"data":null}', "'", "{", "[",
        "]", ",", '"', "Traceback (most recent call last):\nKeyError: 'a'\n",
    )  # fmt: skip
    return {
        f"nothing but {body[:30]!r} as {file}": (file, gzip.compress(body.encode()) if file.endswith("gz") else body,
                                                 "refused")
        for body in bodies
        for file in ("a.ndjson", "a.csv", "a.json", "a.ndjson.gz")
    }  # fmt: skip


def _archives(draw: Random, records: Records, _: Path) -> Part:
    text, cut = lines(records).encode(), draw.randrange(1, 2000)
    packs: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.compress}
    found: dict[str, tuple[str, str | bytes, Wanted]] = {}
    for ending, pack in packs.items():
        whole, parts = pack(text), (pack(text[:cut]), pack(text[cut:]))
        file = f"a.ndjson.{ending}"
        found[f"{ending}, members"] = (file, b"".join(parts), "exact")
        found[f"{ending}, an empty member between"] = (file, pack(b"").join(parts), "exact")
        for what, between in {
            "text": b"text",
            "line end": b"\n",
            "0xFF": b"\xff" * 9,
            "half a head": whole[:1],
        }.items():
            found[f"{ending}, {what} between"] = (file, between.join(parts), "counted")
            found[f"{ending}, {what} behind"] = (file, whole + between, "refused")
        found[f"{ending}, zeros behind"] = (file, whole + bytes(512), "exact" if ending == "gz" else "refused")
        for at in (1, 3, 9, len(whole) // 2, len(whole) - 9, len(whole) - 1):
            found[f"{ending}, cut at {at}"] = (file, whole[:at], "refused")
        found[f"{ending}, tar"] = (f"a.tar.{ending}", pack(tar(records)), "refused")
        found[f"{ending}, twice"] = (file, pack(pack(text)), "refused")
        found[f"{ending}, zip"] = (file, pack(zipped(text)), "refused")
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<I", 7) + b"skipped"
    window = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True, write_content_size=False)
    long_window = zstandard.ZstdCompressor(compression_params=window)
    stream = long_window.compressobj()
    sealed = {
        "bzip2": bz2.compress(text), "xz": lzma.compress(text), "lzma": lzma.compress(text, format=lzma.FORMAT_ALONE),
        "zlib": zlib.compress(text), "tar": tar(records), "zip": zipped(text), "an empty zip": zipped(b"")[-22:],
        "encrypted": b"Salted__" + draw.randbytes(99), "random": b"\x80" + draw.randbytes(999),
    }  # fmt: skip
    for what, content in sealed.items():
        for file in (
            "a.ndjson",
            "a.csv",
            "a.json.gz",
            "a.csv.gpg",
            "a.parquet",
            *(["a", "a.bin"] * (what != "random")),
        ):
            found[f"{what} as {file}"] = (file, content, "refused")
    return found | {
        "zst, frames to be skipped": ("a.ndjson.zst", skipped + zstandard.compress(text) + skipped, "exact"),
        "zst, a long window": ("a.ndjson.zst", stream.compress(text) + stream.flush(), "refused"),
        "gz and zst": ("a.ndjson.gz", gzip.compress(text[:cut]) + zstandard.compress(text[cut:]), "counted"),
        "text and gz": ("a.ndjson", text[:cut] + gzip.compress(text[cut:]), "counted"),
        "block gzip": ("a.ndjson.gz", bgzip(text, 500), "exact"),
        "base64": ("a.ndjson", base64.encodebytes(text), "refused"),
    }


def _tables(draw: Random, records: Records, folder: Path) -> Part:
    rows = pa.Table.from_pylist(records)
    found: dict[str, tuple[str, str | bytes, Wanted]] = {}
    for codec in ("NONE", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4"):
        for pages in ("1.0", "2.0"):
            written = parquet(records, compression=codec, data_page_version=pages, row_group_size=9)
            found[f"Parquet, {codec}, pages {pages}"] = ("a.parquet", written, "exact")
    for how in ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        written = parquet(records, use_dictionary=False, column_encoding=dict.fromkeys(FIELDS, how), row_group_size=7)
        found[f"Parquet, {how}"] = ("a.parquet", written, "exact")
    mixed = dict.fromkeys(FIELDS, "PLAIN") | {"viewerId": "DELTA_BYTE_ARRAY"}
    mixed_written = parquet(records, use_dictionary=False, column_encoding=mixed)
    plain = parquet(records, use_dictionary=False, compression="NONE", write_page_checksum=True)
    value = records[9]["sessionId"].encode()
    at = plain.index(struct.pack("<I", len(value)) + value) + 4
    written = parquet(records, row_group_size=10)
    hole = draw.randrange(4, len(written) - 60)
    found |= {
        "Parquet, mixed encodings": ("a.parquet", mixed_written, "exact"),
        "Parquet, page index": ("a.parquet", parquet(records, write_page_index=True, data_page_size=64), "exact"),
        "Parquet, another value than the page's checksum is of": (
            "a.parquet", plain[:at] + b"S" + plain[at + 1 :], "refused"),
        "Parquet, a hole": ("a.parquet", written[:hole] + bytes(40) + written[hole + 40 :], "counted"),
        "Parquet, a byte too many": ("a.parquet", written + b"\n", "refused"),
        "Parquet, line ends translated": ("a.parquet", written.replace(b"\n", b"\r\n") + b"\n", "refused"),
        "Parquet in gz": ("a.parquet.gz", gzip.compress(written), "refused"),
        "Parquet without an id": ("a.parquet", parquet([{"viewerId": "v"}]), "refused"),
        "Parquet, a column of structs": ("a.parquet", parquet([{"value": each} for each in records]), "refused"),
        "ORC": ("a", by_path(orc.write_table, records, folder), "refused"),
        "Feather": ("a.bin", by_path(feather.write_feather, records, folder), "refused"),
    }  # fmt: skip
    for size in (3, 4, 11, len(written) // 2, len(written) - 5, len(written) - 1):
        found[f"Parquet, cut at {size}"] = ("a.parquet", written[:size], "refused")
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows)
    found["a stream of Arrow"] = ("a", stream.getvalue(), "refused")
    for file in (
        "a.part",
        "a.csv.TMP",
        "_a.csv",
        ".a.csv",
        "a.csv.filepart",
        "a.csv.crdownload",
        "~$a.csv",
        "x.tmp/a.csv",
    ):
        found[f"CSV called {file}"] = (file, table(records), "passed over")
    for file in (
        "a.CSV",
        "a.txt",
        "a.csv.bak",
        "a b.csv",
        "-a.csv",
        "a#.csv",
        "e\u0301.csv",
        "a.csv.1",
        "part-00000",
        "a",
    ):
        found[f"CSV called {file}"] = (file, table(records), "exact")
    return found


# --- the judge -------------------------------------------------------------------------------------------------------


def problem(folder: Path, kind: Kind) -> str:
    """Land a file beside nothing else; what is wrong with what became of it, the empty text where nothing is."""
    home = Settings(home=folder)
    path = home.landing / "viewing_sessions" / kind.file
    path.parent.mkdir(parents=True)
    path.write_bytes(kind.content)
    report = ingest(home)
    raw = list(raw_files(home))
    if kind.wanted == "passed over":
        return "" if not raw and len(report.ignored) == 1 else f"{len(raw)} files are read, {report.ignored} ignored"
    if not raw:
        return f"it is not read: ignored {report.ignored}, postponed {report.postponed}"
    rows = [row for day in raw[0].files for row in raw[0].table(day).to_pylist()]
    # A quotation mark in the middle of a cell stands for itself, to every reader of CSV.
    ids = ([row[name].replace('"', "") for name in ("session_id", "creator_id", "viewer_id")] for row in rows)
    read = Counter((*each, row["started_at"], row["ended_at"]) for each, row in zip(ids, rows, strict=True))
    landed = Counter((*(each[name] for name in FIELDS[:3]), *_instants(each)) for each in kind.records)
    if read - landed:
        return f"read is what nobody wrote: {list(read - landed)[:2]}"
    lost, why = sum((landed - read).values()), raw[0].unreadable
    said = f"{lost} of {len(kind.records)} are lost, {raw[0].rejected} rejected; {why}"
    if kind.wanted == "exact":
        return "" if not lost and not raw[0].rejected and why is None else said
    if kind.wanted == "refused":
        return "" if why is not None else said
    return "" if why is not None or raw[0].rejected >= lost else said


def _instants(record: dict[str, str]) -> Iterator[datetime]:
    return (datetime.fromisoformat(record[name]) for name in ("startedAt", "endedAt"))


# --- the attack ------------------------------------------------------------------------------------------------------


def attack_kinds(effort: Effort) -> Iterator[Figure]:
    """Every kind of file, with other records and other places of the damage each time."""
    figure = Figure("files as they come out of shells, gateways and full disks: read, counted as lost, or refused")
    count = 0
    for number in range(effort.times(2, 60)):
        folder = effort.scratch / "kinds"
        folder.mkdir()
        found = kinds(effort.random(f"kinds {number}"), folder)
        count = len(found)
        for at, (name, kind) in enumerate(found.items()):
            wrong = problem(folder / str(at), kind)
            figure.check(not wrong, f"{name}, draw {number}, --seed {effort.seed}: {wrong}")
        shutil.rmtree(folder)
    figure.note = f"{count} kinds"
    yield figure
