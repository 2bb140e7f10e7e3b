"""What the installed libraries write, damaged on its way or not: it is read, rejected or unreadable, never nothing.

The writers are those of json, csv, gzip, zstandard, Polars, PyArrow, DuckDB and bson.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import zstandard
from bson import json_util

from faults.campaign import Effort, Figure
from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest

Records = list[dict[str, Any]]
Dialect = tuple[str, Callable[[Records], bytes]]


LETTERS = "abü\"',;{}[]\\ \n\r日"


def ndjson(records: Records, end: str = "\n") -> bytes:
    return "".join(json.dumps(each, ensure_ascii=False) + end for each in records).encode()


def by_csv(end: str, quoting: int) -> Callable[[Records], bytes]:
    def write(records: Records) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(records[0]), lineterminator=end, quoting=quoting)
        writer.writeheader()
        writer.writerows({**each, "deleted": str(each["deleted"]).lower()} for each in records)
        return text.getvalue().encode()

    return write


def by_bson(options: json_util.JSONOptions) -> Callable[[Records], bytes]:
    return lambda records: "\n".join(json_util.dumps(each, json_options=options) for each in records).encode()


def by_polars(method: str) -> Callable[[Records], bytes]:
    def write(records: Records) -> bytes:
        file = io.BytesIO()
        getattr(pl.DataFrame(records), method)(file)
        return file.getvalue()

    return write


def by_pyarrow_csv(records: Records) -> bytes:
    file = io.BytesIO()
    pa_csv.write_csv(pa.Table.from_pylist(records), file)
    return file.getvalue()


def by_pyarrow(**options: Any) -> Callable[[Records], bytes]:
    def write(records: Records) -> bytes:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), file, **options)
        return file.getvalue()

    return write


def by_duckdb(tmp: Path, options: str) -> Callable[[Records], bytes]:
    def write(records: Records) -> bytes:
        path = tmp / "written"
        with duckdb.connect() as connection:
            connection.register("landed", pa.Table.from_pylist(records))
            connection.execute(f"copy landed to '{path}' ({options})")
        return path.read_bytes()

    return write


def in_parts(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Members or frames that end anywhere in the text."""
    return lambda text: b"".join(pack(text[at : at + 37]) for at in range(0, len(text), 37)) or pack(b"")


PACKS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, " in members.gz": in_parts(gzip.compress),
    " in frames.zst": in_parts(zstandard.compress),
}  # fmt: skip


def dialects(tmp: Path) -> dict[str, Dialect]:
    """(the ending, the writer) of every way in which the installed libraries write such records."""
    return {
        "json": ("ndjson", ndjson),
        "json, CRLF": ("jsonl", lambda records: ndjson(records, "\r\n")),
        "json, CR": ("ndjson", lambda records: ndjson(records, "\r")),
        "json, nothing between": ("json", lambda records: ndjson(records, "")),
        "json, mark": ("ndjson", lambda records: b"\xef\xbb\xbf" + ndjson(records)),
        "json, array": ("json", lambda records: json.dumps(records).encode()),
        "json, indented array": ("ndjson", lambda records: json.dumps(records, indent=2).encode()),
        "json, indented": ("json", lambda records: "\n".join(json.dumps(each, indent=1) for each in records).encode()),
        **{
            f"csv, {end!r}, {quoting}": ("csv", by_csv(end, quoting))
            for end in ("\n", "\r\n", "\r")
            # With QUOTE_MINIMAL this csv module leaves a line end of another kind bare, which nobody can read back.
            for quoting in (csv.QUOTE_NONNUMERIC, csv.QUOTE_ALL)
        },
        "bson, relaxed": ("json", by_bson(json_util.RELAXED_JSON_OPTIONS)),
        "bson, canonical": ("json", by_bson(json_util.CANONICAL_JSON_OPTIONS)),
        "Polars, CSV": ("csv", by_polars("write_csv")),
        "Polars, NDJSON": ("ndjson", by_polars("write_ndjson")),
        "Polars, JSON": ("json", by_polars("write_json")),
        "Polars, Parquet": ("parquet", by_polars("write_parquet")),
        "PyArrow, CSV": ("csv", by_pyarrow_csv),
        "PyArrow, Parquet": ("parquet", by_pyarrow(compression="zstd", row_group_size=3)),
        "PyArrow, old Parquet": ("parquet", by_pyarrow(version="1.0", compression="gzip", use_dictionary=False)),
        "DuckDB, CSV": ("csv", by_duckdb(tmp, "format csv, header")),
        "DuckDB, JSON": ("json", by_duckdb(tmp, "format json")),
        "DuckDB, JSON array": ("json", by_duckdb(tmp, "format json, array true")),
        "DuckDB, Parquet": ("parquet", by_duckdb(tmp, "format parquet")),
    }


NAMES = list(dialects(Path()))
ENDINGS = ["ndjson", "JSONL", "json", "CSV", "tsv", "parquet", "ndjson.gz", "csv.zst", "json.bz2", "xz", "pq"]


def landed(folder: Path, name: str, content: bytes) -> tuple[int, int, str | None, Records]:
    """(accepted, rejected, why it is unreadable, rows) of one landed file."""
    home = Settings(home=folder)
    path = home.landing / "follows" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    report = ingest(home)
    assert (report.postponed, report.ignored, report.new_files) == ((), (), 1)
    (raw,) = raw_files(home)
    assert raw.records == raw.accepted + raw.rejected
    rows = [row for each in raw.files for row in raw.table(each).to_pylist()]
    return raw.accepted, raw.rejected, raw.unreadable, sorted(rows, key=lambda row: row["line"])


def _with_hole(content: bytes, at: int) -> bytes:
    return content[:at] + bytes(20) + content[at + 20 :]


DAMAGE: Mapping[str, Callable[[bytes, float], bytes]] = {
    "cut": lambda content, at: content[: int(len(content) * at)],
    "beheaded": lambda content, at: content[int(len(content) * at) :],
    "zeroed": lambda content, at: content[: int(len(content) * at)] + bytes(len(content) - int(len(content) * at)),
    "zeros behind": lambda content, at: content + bytes(1 + int(4096 * at)),
    "a hole": lambda content, at: _with_hole(content, int(len(content) * at)),
    "prefixed": lambda content, at: b"\n<error>\n" + content,
    "suffixed": lambda content, at: content + b"garbage",
    "bzip2": lambda content, _: bz2.compress(content),
    "xz": lambda content, _: lzma.compress(content),
    "gzip twice": lambda content, _: gzip.compress(gzip.compress(content)),
    "UTF-16": lambda content, _: content.decode("utf-8", "replace").encode("utf-16"),
    "UTF-16, no mark": lambda content, _: content.decode("utf-8", "replace").encode("utf-16-le"),
    "UTF-32": lambda content, _: content.decode("utf-8", "replace").encode("utf-32"),
    "Latin-1": lambda content, _: content.decode("utf-8", "replace").encode("latin-1", "replace"),
    "white space": lambda content, _: b" " * len(content),
}  # fmt: skip


def says_that_there_are_none(content: bytes, kind: str) -> bool:
    """No byte, an archive of none, or what is left is a whole header."""
    unpacked = content
    for unpack in (gzip.decompress, lambda each: zstandard.ZstdDecompressor().decompressobj().decompress(each)):
        try:
            unpacked = unpack(content)
        except (OSError, EOFError, zstandard.ZstdError):
            continue
    return not unpacked or (kind == "csv" and b"userId" in unpacked and len(unpacked.splitlines()) == 1)


def problem_of_damaged(
    landed_as: tuple[int, int, str | None, Records], records: Records, content: bytes, kind: str
) -> str:
    """What is wrong with what became of a damaged file; the empty text where nothing is."""
    accepted, rejected, unreadable, _ = landed_as
    if accepted > len(records):
        return f"{accepted} records of the {len(records)} that were written"
    is_said = accepted + rejected > 0 or unreadable is not None
    return "" if is_said or says_that_there_are_none(content, kind) else "nothing came of it, and nothing was said"


# --- the attack ------------------------------------------------------------------------------------------------------


def attack_dialects(effort: Effort) -> Iterator[Figure]:
    """Files of every writer, as it wrote them, and damaged on their way."""
    whole = Figure("files as the installed libraries write them, and what is read of them")
    damaged = Figure("the same, damaged on their way, of which nothing is read in silence")
    for number in range(effort.times(400, 20_000)):
        draw = effort.random(f"dialects {number}")
        folder = effort.scratch / "dialects"
        folder.mkdir()
        name = draw.choice(NAMES)
        kind, write = dialects(folder)[name]
        records, pack = _drawn(draw), "" if kind == "parquet" else draw.choice(list(PACKS))
        content = write(records)
        said = f"{name}{pack}, draw {number}, --seed {effort.seed}"
        accepted, rejected, unreadable, rows = landed(folder / "whole", f"a.{kind}{pack}", PACKS[pack](content))
        found = [(row["user_id"], row["creator_id"], row["deleted"]) for row in rows]
        is_right = found == [tuple(each.values()) for each in records]
        whole.check(is_right, f"{said}: {accepted} of {len(records)} accepted, {rejected} rejected, {unreadable}")
        damage, at = draw.choice(list(DAMAGE)), draw.random()
        if draw.random() < 0.5:
            content = PACKS[pack](DAMAGE[damage](content, at))
        else:
            content = DAMAGE[damage](PACKS[pack](content), at)
        ending = draw.choice([f"{kind}{pack}", *ENDINGS])
        landed_as = landed(folder / "damaged", f"a.{ending}", content)
        problem = problem_of_damaged(landed_as, records, content, kind)
        damaged.check(not problem, f"{said}, {damage} at {at:.3f} as .{ending}: {problem}")
        shutil.rmtree(folder)
    yield whole
    yield damaged


def _drawn(draw: Random) -> Records:
    def text() -> str:
        return "".join(draw.choices(LETTERS, k=draw.randint(1, 8)))

    return [{"userId": text(), "creatorId": text(), "deleted": draw.random() < 0.5} for _ in range(draw.randint(1, 12))]
