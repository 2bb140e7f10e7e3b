"""Small files that stand for large ones: what is read of them, and that the rows between are not lost."""

from __future__ import annotations

import gzip
import io
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.landing import parquet, parquet_sizes
from pipelines.landing.batches import LINE_TOO_LONG
from pipelines.landing.lines import LONG_LINE_TEXT_BYTES, MAX_LINE_BYTES
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import rejected_records

Land = Callable[[str, bytes | str], Path]


def packed(**columns: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", store_schema=False, row_group_size=5000)
    return bytes(sink.getvalue())


def dictionary(texts: list[str], places: list[int]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(texts))


def test_a_text_that_a_parquet_file_holds_once_is_held_once(home: Settings, land: Land) -> None:
    """A kilobyte that stands for gigabytes of text: rows that are too long are rejected, those between are in."""
    ids = [1 if number % 100 == 0 else 0 for number in range(4000)]
    users = dictionary(["y" * (MAX_LINE_BYTES + 1), "u"], ids)
    land("follows/a.parquet", packed(userId=users, creatorId=[f"c{number}" for number in range(4000)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ingest(home)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes
    (raw,) = raw_files(home)
    assert (raw.accepted, raw.rejected_by_reason) == (40, {LINE_TOO_LONG: 3960})
    assert raw.table("all")["line"].to_pylist() == list(range(1, 4000, 100))
    first = next(rejected_records(home))
    assert (first.line, first.text[:20], len(first.text)) == (2, '{"userId":"yyyyyyyyy', LONG_LINE_TEXT_BYTES)


def test_rows_of_long_texts_are_read_in_parts(home: Settings, land: Land) -> None:
    """Each part has its rows' numbers; a null is no text."""
    texts = ["x" * 500_000, "y" * 700_000]
    places = [None if number % 7 == 0 else number % 2 for number in range(200)]
    names = pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(texts))
    ids = [f"c{number}" for number in range(200)]
    land("creators/a.parquet", packed(_id=ids, username=ids, name=names))
    ingest(home)
    (raw,) = raw_files(home)
    rows = raw.table("all", ("creator_id", "name", "line")).to_pylist()
    nameless = [number for number, place in enumerate(places) if place is None]
    assert [(row["creator_id"], row["name"], row["line"]) for row in rows] == [(f"c{n}", None, n + 1) for n in nameless]
    rejected = [(each.line, each.field) for each in rejected_records(home)]
    assert rejected == [(n + 1, "name") for n in range(200) if n not in nameless]


def test_a_row_group_that_is_too_large_is_one_rejected_record(home: Settings, land: Land, monkeypatch) -> None:
    """The others are read."""
    monkeypatch.setattr(parquet_sizes, "MAX_COLUMN_BYTES", 10_000)
    ids = ["u" * 30_000 if number == 0 else f"u{number}" for number in range(5100)]
    land("erasures/a.parquet", packed(userId=ids))
    ingest(home)
    (raw,) = raw_files(home)
    assert (raw.accepted, raw.rejected_by_reason) == (100, {parquet.TOO_LARGE_GROUP: 1})
    assert min(raw.table("all")["line"].to_pylist()) == 5001


def test_texts_that_begin_alike_are_unpacked_a_few_at_a_time(home: Settings, land: Land, monkeypatch) -> None:
    """A file says of each only what it has beyond the one before: a megabyte may be thousands of megabytes."""
    monkeypatch.setattr(parquet_sizes, "MAX_SHARED_BYTES", 1 << 20)
    sizes: list[int] = []
    gathered = parquet._gathered

    def watched(batches):
        return gathered(each for each in batches if sizes.append(each.nbytes) or True)

    monkeypatch.setattr(parquet, "_gathered", watched)
    ids = [f"{'x' * 20_000}{number}" for number in range(2000)]
    file = io.BytesIO()
    how = {"userId": "DELTA_BYTE_ARRAY"}
    pq.write_table(pa.table({"userId": ids}), file, use_dictionary=False, column_encoding=how, compression="zstd")
    land("erasures/a.parquet", file.getvalue())
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.records == 2000
    assert max(sizes) < 4 << 20
    assert sum(sizes) > 36 << 20


def test_a_list_of_nulls_takes_no_space_and_is_not_read(home: Settings, land: Land, monkeypatch) -> None:
    """Values in lists are counted before they are read."""
    monkeypatch.setattr(parquet_sizes, "MAX_NESTED_VALUES", 1000)
    lists = pa.array([[None] * 2000], pa.list_(pa.null()))
    land("live_streams/a.parquet", packed(id=["l"], creatorId=["c"], status=["x"], guests=lists))
    ingest(home)
    assert [each.reason for each in rejected_records(home)] == [parquet.TOO_LARGE_GROUP]


_EVERY_BYTE = """
import sys
from pathlib import Path
from pipelines.landing import open_landed
from pipelines.landing.parquet import read_parquet

path = Path(sys.argv[1])
content = path.read_bytes()
for place in range(len(content)):
    for flipped in (0x01, 0x80):
        path.write_bytes(content[:place] + bytes([content[place] ^ flipped]) + content[place + 1 :])
        with open_landed(path) as source:
            list(read_parquet("erasures", source))
"""


def test_no_byte_of_a_parquet_file_ends_the_process(tmp_path: Path) -> None:
    """Whatever was damaged of what it says of itself: Arrow ends the process where it is asked for some of that."""
    path = tmp_path / "a.parquet"
    path.write_bytes(packed(userId=["u1", "u2"]))
    done = subprocess.run([sys.executable, "-c", _EVERY_BYTE, path], check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_rows_without_a_known_column_are_not_read(home: Settings, land: Land) -> None:
    """The file is unreadable."""
    land("follows/a.parquet", packed(x=["y"] * 5100))
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.rejected_by_reason == {"the header lacks the required fields userId, creatorId": 1}


@pytest.mark.slow
def test_short_lines_take_no_more_memory_than_long_ones(home: Settings, land: Land) -> None:
    """Some thirty megabytes of line ends, and half a million bad lines of one character."""
    land("follows/a.ndjson.gz", gzip.compress(b"\n" * (32 << 20) + b'{"userId":"u","creatorId":"c"}'))
    land("follows/b.csv.gz", gzip.compress(b"userId,creatorId\n" + b"\n" * (32 << 20) + b"u,c\n"))
    land("follows/c.ndjson.gz", gzip.compress(b"1\n" * (1 << 19)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ingest(home)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes
    books = {raw.landed_name: (raw.accepted, raw.rejected, raw.blank) for raw in raw_files(home)}
    assert books == {
        "follows/a.ndjson.gz": (1, 0, 32 << 20),
        "follows/b.csv.gz": (1, 0, 32 << 20),
        "follows/c.ndjson.gz": (0, 1 << 19, 0),
    }


def test_the_text_of_a_stream_in_a_response_is_cut(home: Settings, land: Land) -> None:
    """Of a rejected record no more is kept than a line can hold."""
    land("lls_streams/a.json", '{"streams":[{"x":"%s"},{}]}' % ("z" * (2 * MAX_LINE_BYTES)))
    ingest(home)
    assert [len(each.text) for each in rejected_records(home)] == [MAX_LINE_BYTES, 2]
