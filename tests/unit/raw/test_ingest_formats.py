"""Every format that lands gives the same records, and each its own kind of damage is a rejected record."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from test_ingest import SESSION, Land, rejects, rows

from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import describe_unreadable, rejected_records


def test_the_same_records_in_every_format(home: Settings, land: Land, tmp_path: Path) -> None:
    """NDJSON, CSV, Parquet, gzip and zstd give the same rows, and so the same digest."""
    text = "".join(SESSION % (number, 5) for number in range(200))
    table = "session_id,creatorId,startedAt\n" + "".join(f"s{n},c,2026-01-05T10:00:00Z\n" for n in range(200))
    land("viewing_sessions/a.ndjson", text)
    land("viewing_sessions/b.jsonl.gz", gzip.compress(text.encode()))
    land("viewing_sessions/c.ndjson.zst", zstandard.ZstdCompressor().compress(text.encode()))
    land("viewing_sessions/d.ndjson", "\ufeff" + text.replace("\n", "\r\n"))
    land("viewing_sessions/e.csv", table)
    land("viewing_sessions/f.csv.gz", gzip.compress(table.replace("\n", "\r\n").encode()))
    land("viewing_sessions/g.csv", table.replace("c,2", '"c",2'))
    columns = {"sessionId": [f"s{n}" for n in range(200)], "creator_id": ["c"] * 200}
    zones = {"h": "UTC", "i": "Europe/Istanbul", "j": None, "k": "utc", "l": "Z", "m": "GMT+3", "n": "+03:00"}
    for number, (name, zone) in enumerate(zones.items()):
        texts = pa.array(["2026-01-05T10:00:00Z"] * 200)
        unit = ("us", "ns")[number % 2]
        started = texts if zone is None else texts.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
        pq.write_table(pa.table(columns | {"startedAt": started}), tmp_path / "x.parquet", row_group_size=30)
        land(f"viewing_sessions/{name}.parquet", (tmp_path / "x.parquet").read_bytes())
    assert ingest(home).new_files == 14
    assert {raw.files["2026-01-05"].digest for raw in raw_files(home)} == {
        raw_files(home)[0].files["2026-01-05"].digest
    }
    assert {(raw.accepted, raw.rejected) for raw in raw_files(home)} == {(200, 0)}


def test_csv_records_begin_at_a_physical_line(home: Settings, land: Land) -> None:
    """Embedded newlines, doubled quotation marks, empty cells, blank lines, cells too many or too few."""
    land("follows/x.csv", 'userId,creatorId,deleted,note\r\nu1,c,,"two\nlines ""and"" quotes"\n\nu2,c,true\n'
                          "u3,c,false,x\nu4,c,yes,\n,c,,\nu5,c,,,\n")  # fmt: skip
    ingest(home)
    assert [(row["user_id"], row["deleted"], row["line"]) for row in rows(home, "follows")] == [
        ("u1", False, 2), ("u3", False, 6)
    ]  # fmt: skip
    assert [(line, field) for line, field, _, _ in rejects(home)] == [
        (5, None), (7, "deleted"), (8, "userId"), (9, None)
    ]  # fmt: skip
    (raw,) = raw_files(home)
    assert (raw.records, raw.blank, raw.unknown_fields) == (6, 1, {"note": 2})


@pytest.mark.parametrize(
    ("header", "reason"),
    [("userId", "the header lacks the required field creatorId"),
     ("a,b", "the header lacks the required fields userId, creatorId"),
     ("u1,c1", "the header lacks the required fields userId, creatorId"),
     ("userId,user_id,creatorId", "the header has a column twice"),
     ("userId,creatorId,x,x", "the header has a column twice"),
     ('"userId,creatorId', "the header cannot be read"),
     ("\xff,creatorId", "the header cannot be read")],
)  # fmt: skip
@pytest.mark.parametrize("rows", ["", "u,c\nv,c\n"])
def test_a_csv_file_with_a_bad_header_is_unreadable(
    home: Settings, land: Land, header: str, reason: str, rows: str
) -> None:
    """With or without rows: the reason names every required field that is missing, the text is the header found."""
    land("follows/x.csv", header.encode("latin-1") + b"\n" + rows.encode())
    report = ingest(home)
    (raw,) = raw_files(home)
    assert (raw.unreadable, raw.accepted, raw.rejected) == (reason, 0, 1)
    assert raw.rejected_by_reason == {reason: 1}
    shown = header.encode("latin-1").decode("utf-8", "backslashreplace")
    assert rejects(home) == [(1, None, reason, shown)]
    assert report.unreadable.there == (raw,)
    assert f"follows/x.csv cannot be read: {reason}. It begins with `{shown}`." in describe_unreadable(raw)


def test_a_header_with_the_required_fields_and_no_row_is_a_file_of_no_records(home: Settings, land: Land) -> None:
    """It says by itself that there are none."""
    land("follows/x.csv", "userId,creatorId\n")
    ingest(home)
    (raw,) = raw_files(home)
    assert (raw.unreadable, raw.records) == (None, 0)


def test_parquet_without_the_required_columns_is_unreadable(home: Settings, land: Land, tmp_path: Path) -> None:
    """As CSV is: every column that is missing is named, and those that there are quoted."""
    pq.write_table(pa.table({"user": ["u"], "creatorId": ["c"], "when": [1]}), tmp_path / "x.parquet")
    land("follows/x.parquet", (tmp_path / "x.parquet").read_bytes())
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.unreadable == "the header lacks the required field userId"
    assert rejects(home) == [(1, None, raw.unreadable, "user,creatorId,when")]


def test_parquet_of_the_wrong_types_is_rejected_row_by_row(home: Settings, land: Land, tmp_path: Path) -> None:
    """And what is not Parquet is one rejected record."""
    table = pa.table(
        {
            "userId": ["u", "", None, "v"],
            "streamId": ["l"] * 4,
            "rentedAt": pa.array([0, 1, 2, 3], pa.timestamp("ms", "UTC")),
            "expiresAt": pa.array([0, 1, 2, 3], pa.timestamp("ms")),
            "price": [1.5, 0.1 + 0.2, float("nan"), 9.99],
        }
    )
    pq.write_table(table, tmp_path / "x")
    land("replay_rentals/a.parquet", (tmp_path / "x").read_bytes())
    pq.write_table(table.set_column(3, "expiresAt", table["rentedAt"]), tmp_path / "x")
    land("replay_rentals/b.parquet", (tmp_path / "x").read_bytes())
    land("replay_rentals/c.parquet", b"not Parquet")
    ingest(home)
    found = [(each.file[-9:], each.line, each.field) for each in rejected_records(home)]
    assert found == [
        ("a.parquet", 1, "expiresAt"), ("a.parquet", 2, "expiresAt"), ("a.parquet", 3, "expiresAt"),
        ("a.parquet", 4, "expiresAt"), ("b.parquet", 2, "userId"), ("b.parquet", 3, "price"), ("c.parquet", 1, None),
    ]  # fmt: skip
    assert [(row["user_id"], str(row["price"])) for row in rows(home, "replay_rentals")] == [
        ("u", "1.50"),
        ("v", "9.99"),
    ]


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, os.strerror(errno.EIO))], ids=["memory", "disk"])
def test_a_fault_of_the_machine_is_no_fault_of_a_parquet_file(
    home: Settings, land: Land, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """In the middle of a file: nothing of it is kept, the others are read, and the next run reads it whole."""
    started = pa.array([1_767_600_000_000] * 40_000).cast(pa.timestamp("ms", "UTC"))
    ids = [f"s{number}" for number in range(40_000)]
    table = pa.table({"sessionId": ids, "creatorId": ["c"] * 40_000, "startedAt": started})
    pq.write_table(table, tmp_path / "x")
    land("viewing_sessions/a.parquet", (tmp_path / "x").read_bytes())
    land("viewing_sessions/b.ndjson", SESSION % (1, 5))
    batches = pq.ParquetFile.iter_batches

    def failing(*arguments: Any, **more: Any) -> Iterator[pa.RecordBatch]:
        yield next(iter(batches(*arguments, **more)))
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetFile, "iter_batches", failing)
        report = ingest(home)
    assert [each.name for each in report.postponed] == ["viewing_sessions/a.parquet"]
    assert (report.new_accepted, report.new_rejected) == (1, 0)
    assert ingest(home).new_accepted == 40_000


def test_a_list_streams_response(home: Settings, land: Land) -> None:
    """As a document or as a line: its streams are the records."""
    stream = {"id": "1", "domain": "d", "app": "a", "stream": "s", "created": "2025-07-11T14:20:00Z",
              "latestStreamingAt": "2025-07-11T14:20:00Z", "status": "active"}  # fmt: skip
    response = {"streams": [stream, stream | {"id": "2", "status": "gone"}, stream | {"id": "3"}], "next": None}
    land("lls_streams/a.json", json.dumps(response, indent=2))
    land("lls_streams/b.ndjson", json.dumps(response) + "\n" + json.dumps(stream | {"id": "4"}))
    land("lls_streams/c.json", b'{"streams":[')
    land("lls_streams/d.json", b'{"streams":{}}')
    land("lls_streams/e.json.gz", gzip.compress(json.dumps(response).encode())[:-9])
    ingest(home)
    assert sorted((row["stream_id"], row["line"]) for row in rows(home, "lls_streams")) == [
        ("1", 1), ("1", 1), ("3", 1), ("3", 3), ("4", 2)
    ]  # fmt: skip
    assert [(each.file[12:], each.line, each.field) for each in rejected_records(home)] == [
        ("a.json", 2, "status"), ("b.ndjson", 1, "status"), ("c.json", 1, None), ("d.json", 1, "id"),
        ("e.json.gz", 1, None),
    ]  # fmt: skip
    assert raw_files(home)[0].unknown_fields in ({}, {"next": 1})


@pytest.mark.parametrize("name", ["x.ndjson.gz", "x.csv.gz"])
def test_a_damaged_archive_keeps_what_is_good(home: Settings, land: Land, name: str) -> None:
    """The lines before the damage are accepted, and one rejected record says what broke and where."""
    lines = [f'{{"userId":"{os.urandom(8).hex()}"}}' for _ in range(5000)]
    if ".csv" in name:
        lines = ["userId", *[line[11:-2] for line in lines]]
    packed = gzip.compress("".join(f"{line}\n" for line in lines).encode())
    land(f"erasures/{name}", packed[: len(packed) // 2])
    ingest(home)
    (raw,) = raw_files(home)
    assert 1000 < raw.accepted < 4000
    header = int(".csv" in name)
    assert rejects(home) == [(raw.accepted + header + 1, None, "the archive is damaged: it ends in the middle", "")]


def test_a_file_is_what_its_bytes_are(home: Settings, land: Land, tmp_path: Path) -> None:
    """Whatever its name says: text is JSON or CSV by how it begins, archives and Parquet have marks of their own."""
    lines = "".join(SESSION % (number, 5) for number in range(20))
    table = "sessionId,creatorId,startedAt\n" + "".join(f"s{n},c,2026-01-05T10:00:00Z\n" for n in range(20))
    pq.write_table(
        pa.table({"sessionId": ["p"] * 20, "creatorId": ["c"] * 20, "startedAt": ["2026-01-05T10:00:00Z"] * 20}),
        tmp_path / "x",
    )
    for number, content in enumerate((lines.encode(), table.encode(), (tmp_path / "x").read_bytes())):
        packs = (bytes, gzip.compress, zstandard.compress) if number < 2 else (bytes,)
        for pack in packs:
            for name in ("a.ndjson", "b.csv", "c.CSV", "d.json", "e.tsv", "f.json.gz", "g.parquet", "h.csv.zst", "i"):
                land(f"viewing_sessions/{number}/{pack.__module__}/{name}", pack(content))
    report = ingest(home)
    assert (report.landed_files, report.ignored, report.unreadable.there) == (63, (), ())
    assert {(raw.accepted, raw.rejected) for raw in raw_files(home)} == {(20, 0)}
