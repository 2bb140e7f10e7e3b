"""What other programs write, and what becomes of it on the way: records, rejections, or a file that is unreadable."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.core.settings import Settings
from pipelines.raw.index import raw_files
from pipelines.raw.ingest import ingest

Records = list[dict[str, Any]]
Dialect = tuple[str, Callable[[Records], bytes]]

TEXTS = st.text(st.sampled_from("abü\"',;{}[]\\ \n\r日"), min_size=1, max_size=8)
RECORDS = st.lists(
    st.tuples(TEXTS, TEXTS, st.booleans()).map(
        lambda values: dict(zip(("userId", "creatorId", "deleted"), values, strict=True))
    ),
    min_size=1,
    max_size=12,
)


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
    rows = [row for each in raw.files for row in pq.read_table(raw.path(each)).to_pylist()]
    return raw.accepted, raw.rejected, raw.unreadable, sorted(rows, key=lambda row: row["line"])


PHASES = (Phase.explicit, Phase.generate)  # each example is an ingest: to shrink one takes minutes
SOME = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None, phases=PHASES, suppress_health_check=SOME)
@given(records=RECORDS, pack=st.sampled_from(list(PACKS)))
def test_what_the_installed_libraries_write_is_read(tmp_path_factory, name, records, pack):
    """Every record, with the values that it was written with."""
    folder = tmp_path_factory.mktemp("dialect")
    ending, write = dialects(folder)[name]
    if ending == "parquet":
        pack = ""
    accepted, rejected, unreadable, rows = landed(folder, f"a.{ending}{pack}", PACKS[pack](write(records)))
    assert (accepted, rejected, unreadable) == (len(records), 0, None)
    assert [(row["user_id"], row["creator_id"], row["deleted"]) for row in rows] == [
        tuple(each.values()) for each in records
    ]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None, phases=PHASES, suppress_health_check=SOME)
@given(records=RECORDS, pack=st.sampled_from(list(PACKS)), ending=st.sampled_from(ENDINGS))
def test_a_name_that_says_something_else_loses_nothing(tmp_path_factory, name, records, pack, ending):
    """The bytes say what it is."""
    folder = tmp_path_factory.mktemp("renamed")
    kind, write = dialects(folder)[name]
    content = write(records) if kind == "parquet" else PACKS[pack](write(records))
    assert landed(folder, f"a.{ending}", content)[:3] == (len(records), 0, None)


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


@pytest.mark.parametrize("damage", DAMAGE)
@settings(max_examples=15, deadline=None, phases=PHASES, suppress_health_check=SOME)
@given(
    records=RECORDS,
    name=st.sampled_from(NAMES),
    pack=st.sampled_from(list(PACKS)),
    at=st.floats(0, 1, exclude_max=True),
    is_inside=st.booleans(),
    ending=st.none() | st.sampled_from(ENDINGS),
)
def test_a_damaged_file_is_never_read_as_nothing(tmp_path_factory, damage, records, name, pack, at, is_inside, ending):
    """A file with bytes in it yields records, rejections or is unreadable, and nothing that nobody wrote."""
    folder = tmp_path_factory.mktemp("damaged")
    kind, write = dialects(folder)[name]
    pack = "" if kind == "parquet" else pack
    content = write(records)
    content = PACKS[pack](DAMAGE[damage](content, at)) if is_inside else DAMAGE[damage](PACKS[pack](content), at)
    accepted, rejected, unreadable, _ = landed(folder, f"a.{ending or kind + pack}", content)
    assert accepted <= len(records)
    is_said = accepted + rejected > 0 or unreadable is not None
    assert is_said or says_that_there_are_none(content, kind)


def says_that_there_are_none(content: bytes, kind: str) -> bool:
    """No byte, an archive of none, or what is left is a whole header."""
    unpacked = content
    for unpack in (gzip.decompress, lambda each: zstandard.ZstdDecompressor().decompressobj().decompress(each)):
        try:
            unpacked = unpack(content)
        except (OSError, EOFError, zstandard.ZstdError):
            continue
    return not unpacked or (kind == "csv" and b"userId" in unpacked and len(unpacked.splitlines()) == 1)
