"""Landed files become raw: what is written, what is kept about every record, and what a second run does."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.core.durable_files import checksum_of, sha256_of
from pipelines.core.errors import UsageError
from pipelines.core.row_digest import row_digest
from pipelines.core.settings import Settings
from pipelines.landing import Source
from pipelines.landing.batches import LINE_TOO_LONG, NOT_UTF8, Batch
from pipelines.landing.lines import LONG_LINE_TEXT_BYTES, MAX_LINE_BYTES
from pipelines.landing.schema import ENTITIES, RAW_SCHEMAS
from pipelines.raw import writer as raw_writer
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.layout import PARSER_VERSION, raw_key
from pipelines.raw.rejected_records import rejected_records

SESSION = '{"sessionId":"s%s","creatorId":"c","startedAt":"2026-01-%02dT10:00:00Z"}\n'
FOLLOW = b'{"userId":"u","creatorId":"c"}\n'


Land = Callable[[str, bytes | str], Path]


def rows(home: Settings, entity: str = "viewing_sessions") -> list[dict[str, Any]]:
    return [
        row
        for raw in raw_files(home)
        if raw.entity == entity
        for name in raw.files
        for row in raw.table(name).to_pylist()
    ]


def rejects(home: Settings) -> list[tuple[int, str | None, str, str]]:
    return [(each.line, each.field, each.reason, each.text) for each in rejected_records(home)]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


# --- what is written --------------------------------------------------------------------------------------------


def test_a_raw_folder(home: Settings, land: Land) -> None:
    """Named by the landed bytes and the parser; a file a day, the rejects, and an index that tells all about them."""
    content = SESSION % (1, 5) + SESSION % (2, 4) + "oops\n\n" + SESSION % (3, 5)
    path = land("viewing_sessions/jan.ndjson", content)
    report = ingest(home)
    landed_sha256 = hashlib.sha256(content.encode()).hexdigest()
    key = hashlib.sha256(f"{landed_sha256}:viewing_sessions:ndjson:{PARSER_VERSION}".encode()).hexdigest()
    folder = home.lake / "raw" / "viewing_sessions" / key
    assert key == raw_key("viewing_sessions", landed_sha256, "ndjson")
    assert sorted(each.name for each in folder.iterdir()) == [
        "2026-01-04.parquet", "2026-01-05.parquet", "index.json", "rejects.parquet"
    ]  # fmt: skip
    day = pq.read_table(folder / "2026-01-05.parquet")
    assert day.schema == RAW_SCHEMAS["viewing_sessions"]
    assert day.select(["session_id", "line"]).to_pylist() == [
        {"session_id": "s1", "line": 1},
        {"session_id": "s3", "line": 5},
    ]
    index = json.loads((folder / "index.json").read_text())
    day_file, rejects_file = folder / "2026-01-05.parquet", folder / "rejects.parquet"
    assert index.pop("seal") == checksum_of(index)
    assert index["files"].pop("2026-01-04")["rows"] == 1
    assert index == {
        "entity": "viewing_sessions",
        "landed_name": "viewing_sessions/jan.ndjson",
        "landed_sha256": landed_sha256,
        "landed_bytes": path.stat().st_size,
        "parser_version": PARSER_VERSION,
        "records": 4,
        "accepted": 3,
        "rejected": 1,
        "blank": 1,
        "unknown_fields": {},
        "rejected_by_reason": {"not valid JSON: a value is missing or misspelt": 1},
        "files": {
            "2026-01-05": {
                "rows": 2,
                "bytes": day_file.stat().st_size,
                "sha256": sha256_of(day_file),
                "digest": row_digest(day, leave_out=["line"]),
                "newest": None,
                "missing": {"viewer_id": 2, "device_id": 2, "ended_at": 2, "stream_id": 2, "person": 2},
            }
        },
        "rejects": {"rows": 1, "bytes": rejects_file.stat().st_size, "sha256": sha256_of(rejects_file)},
    }
    (raw,) = raw_files(home)
    assert report.new == (raw,)
    assert (report.new_files, report.new_records, report.new_accepted, report.new_rejected) == (1, 4, 3, 1)
    assert (raw.key, raw.records, raw.files["2026-01-05"].rows, raw.rejects_path) == (key, 4, 2, rejects_file)


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_entity_has_its_schema(home: Settings, land: Land, entity: str) -> None:
    """The types that the models read, also where a column holds nothing but nulls."""
    at = "2026-01-05T10:00:00Z"
    landed = {"sessionId": "s", "creatorId": "c", "startedAt": at, "_id": "c", "username": "u", "userId": "u",
              "streamId": "l", "pledgeId": "p", "amount": 5, "rentedAt": at, "expiresAt": at, "domain": "d", "app": "a",
              "stream": "s", "created": at, "status": "pending" if entity == "pledges" else "active"}  # fmt: skip
    if entity != "live_streams":
        landed["id"] = "l"
    if entity == "erasures":  # which nothing else in it says
        landed["erasedAt"] = at
    land(f"{entity}/x.ndjson", json.dumps(landed))
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.rejected_by_reason == {}
    (name,) = raw.files
    assert name == ("2026-01-05" if entity == "viewing_sessions" else "all")
    assert pq.read_schema(raw.path(name)) == RAW_SCHEMAS[entity]


def _settled(path: Path) -> Path:
    """The file as if it had landed a minute ago: what has just changed is not remembered."""
    before = path.stat().st_mtime_ns - 60_000_000_000
    os.utime(path, ns=(before, before))
    return path


def test_the_cache_of_landed_files_is_believed_as_it_was_written_only(home: Settings, land: Land) -> None:
    """Damaged so that a file seems to hold what another one held, it would leave that file out for ever."""
    _settled(land("follows/a.ndjson", FOLLOW))
    ingest(home)
    other = _settled(land("follows/b.ndjson", FOLLOW.replace(b"u", b"v")))
    ingest(home)  # into a folder of its own
    cache = home.lake / "landed.json"
    sha256 = {name: known[1] for name, known in json.loads(cache.read_bytes())["files"].items()}
    assert len(set(sha256.values())) == 2
    its_own, another = sha256.pop(str(other)), *sha256.values()
    shutil.rmtree(home.lake / "raw" / "follows" / raw_key("follows", its_own, "ndjson"))
    cache.write_text(cache.read_text().replace(its_own, another))
    assert [raw.landed_name for raw in ingest(home).new] == ["follows/b.ndjson"]


def test_a_file_that_has_just_changed_is_not_remembered(home: Settings, land: Land) -> None:
    """A change in the same tick of the clock could leave the same stamp, and never be read."""
    land("follows/new.ndjson", FOLLOW)
    old = _settled(land("follows/old.ndjson", FOLLOW.replace(b"u", b"v")))
    ingest(home)
    assert list(json.loads((home.lake / "landed.json").read_bytes())["files"]) == [str(old)]


def test_an_empty_file_and_one_of_rejects_only(home: Settings, land: Land) -> None:
    """Have an index, and no files that hold nothing."""
    land("follows/a.ndjson", b"")
    land("follows/b.ndjson", b"\n \t\r\n")
    land("follows/c.ndjson", b"{}\n")
    ingest(home)
    empty, blank, bad = sorted(raw_files(home), key=lambda raw: raw.landed_name)
    assert (empty.records, empty.blank, empty.files, empty.rejects) == (0, 0, {}, None)
    assert (blank.records, blank.blank) == (0, 2)
    assert (bad.records, bad.rejected, bad.files) == (1, 1, {})


def test_rejects_say_where_why_and_what(home: Settings, land: Land) -> None:
    """In order of entity, file and line, with the whole text."""
    land("viewing_sessions/b.ndjson", SESSION % (1, 5) + '{"sessionId":5.5}\r\n')
    land("viewing_sessions/a.ndjson", b'\xff\xfe\n{"sessionId":"x","creatorId":"c","startedAt":"soon"}')
    land("erasures/z.ndjson", b'{"userId":""}\n')
    ingest(home)
    assert [(each.entity, each.file, each.line, each.field, each.text) for each in rejected_records(home)] == [
        ("erasures", "erasures/z.ndjson", 1, "userId", '{"userId":""}'),
        ("viewing_sessions", "viewing_sessions/a.ndjson", 1, None, "\\xff\\xfe"),
        ("viewing_sessions", "viewing_sessions/a.ndjson", 2, "startedAt",
         '{"sessionId":"x","creatorId":"c","startedAt":"soon"}'),
        ("viewing_sessions", "viewing_sessions/b.ndjson", 2, "sessionId", '{"sessionId":5.5}'),
    ]  # fmt: skip
    assert rejects(home)[1][2] == NOT_UTF8


def test_a_line_of_more_than_a_mebibyte_is_one_rejected_record(home: Settings, land: Land) -> None:
    """With the beginning of its text; a line of just that size is a line."""
    record = b'{"userId":"u","x":"%s"}'
    just = record % (b"y" * (MAX_LINE_BYTES - len(record) + 2))
    land("erasures/x.ndjson", just + b"\n" + just.replace(b"u", b"uu", 1) + b"y\n" + b"z" * (3 * MAX_LINE_BYTES))
    ingest(home)
    assert [(line, reason, len(text)) for line, _, reason, text in rejects(home)] == [
        (2, LINE_TOO_LONG, LONG_LINE_TEXT_BYTES), (3, LINE_TOO_LONG, LONG_LINE_TEXT_BYTES)
    ]  # fmt: skip
    assert [row["line"] for row in rows(home, "erasures")] == [1]


def test_the_order_of_days_does_not_matter(home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a day stay in landed order, also where a file has more days than may be open at once."""
    for name, value in {"MAX_OPEN_FILES": 2, "MAX_BUFFERED_TABLES": 3, "ROW_GROUP_ROWS": 4}.items():
        monkeypatch.setattr(raw_writer, name, value)
    days = [1 + number * 7 % 11 for number in range(300)]
    schema = RAW_SCHEMAS["viewing_sessions"]
    folder = home.home / "aside"
    folder.mkdir(parents=True)
    land("viewing_sessions/x.ndjson", "".join(SESSION % (n, day) for n, day in enumerate(days)))
    ingest(home)
    whole = {raw.landed_name: raw.files for raw in raw_files(home)}["viewing_sessions/x.ndjson"]
    writer = raw_writer.RawWriter("viewing_sessions", folder)
    everything = pa.Table.from_pylist(sorted(rows(home), key=lambda row: row["line"]), schema=schema)
    for start in range(0, 300, 7):
        writer.append(Batch(everything.slice(start, 7), [], 0, Counter()))
    files, no_rejects = writer.finish()
    assert no_rejects is None
    assert sorted(path.name for path in folder.iterdir()) == [f"2026-01-{day:02}.parquet" for day in range(1, 12)]
    for name, written in files.items():
        table = pq.read_table(folder / f"{name}.parquet")
        lines = table.column("line").to_pylist()
        assert lines == [n for n, day in enumerate(days, 1) if day == int(name[-2:])]
        assert written.digest == whole[name].digest == row_digest(table, leave_out=["line"])
        assert written.rows == len(lines)


def test_sessions_of_too_many_days_are_rejected(home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day is a file: of more than MAX_DAYS the first ones count, and the others are kept with the reason."""
    monkeypatch.setattr(raw_writer, "MAX_DAYS", 10)
    days = [1 + number * 7 % 31 for number in range(100)]
    land("viewing_sessions/x.ndjson", "".join(SESSION % (n, day) for n, day in enumerate(days)) + "oops\n")
    ingest(home)
    (raw,) = raw_files(home)
    first = list(dict.fromkeys(days))[:10]
    assert sorted(raw.files) == [f"2026-01-{day:02}" for day in sorted(first)]
    found = rejects(home)
    assert [line for line, *_ in found] == [n for n, day in enumerate(days, 1) if day not in first] + [101]
    assert {(field, reason) for _, field, reason, _ in found[:-1]} == {("startedAt", raw_writer.TOO_MANY_DAYS)}
    assert '"session_id": "s10"' in found[0][3]
    assert raw.records == raw.accepted + raw.rejected == 101


# --- a second run -----------------------------------------------------------------------------------------------


def test_a_second_run_reads_and_writes_nothing(home: Settings, land: Land) -> None:
    """Neither does one without the cache, or with a damaged one."""
    land("viewing_sessions/a.ndjson", SESSION % (1, 5))
    land("follows/a.ndjson", FOLLOW)
    ingest(home)
    before = tree(home.lake)
    for cache in (None, b"", b"[1]", b"\xff", b'{"x":1}', b'{"x":[["a"],1]}', b"[" * 100_000, "missing"):
        if cache == "missing":
            (home.lake / "landed.json").unlink()
        elif isinstance(cache, bytes):
            (home.lake / "landed.json").write_bytes(cache)
        assert ingest(home).new_files == 0
        assert {name: known for name, known in tree(home.lake).items() if "landed.json" not in name} == {
            name: known for name, known in before.items() if "landed.json" not in name
        }


def test_the_same_bytes_count_once(home: Settings, land: Land) -> None:
    """Under another name, in another folder, landed again; as another entity they are another file."""
    land("follows/a.ndjson", FOLLOW)
    land("follows/again/b.ndjson", FOLLOW)
    assert ingest(home).new_files == 1
    land("follows/c.ndjson", FOLLOW)
    assert ingest(home).new_files == 0
    land("erasures/a.ndjson", FOLLOW)
    assert ingest(home).new_files == 1
    assert [raw.landed_name for raw in raw_files(home)] == ["erasures/a.ndjson", "follows/a.ndjson"]


@pytest.mark.parametrize("anew", [False, True], ids=["in place", "removed and written anew"])
def test_other_bytes_behind_the_same_stamps_are_read(home: Settings, land: Land, anew: bool) -> None:
    """Of the same size, with the modification time set back, even in the same inode: the bytes are what counts."""
    path = land("viewing_sessions/a.ndjson", SESSION % (1, 5))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    ingest(home)
    if anew:
        path.unlink()
    land("viewing_sessions/a.ndjson", SESSION % (2, 5))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert ingest(home).new_files == 1


def test_the_names_of_empty_files_are_told(home: Settings, land: Land) -> None:
    """All of them are the same bytes, and one raw folder; the others' names are in the report, every time."""
    for name in ("a", "b", "c"):
        land(f"viewing_sessions/{name}.ndjson", "")
        land(f"follows/{name}.ndjson", "")
    land("viewing_sessions/x.ndjson", SESSION % (1, 5))
    land("viewing_sessions/y.ndjson", SESSION % (1, 5))
    for _ in range(2):
        assert ingest(home).again == ("viewing_sessions/b.ndjson", "viewing_sessions/c.ndjson")


def test_changed_bytes_are_another_file(home: Settings, land: Land) -> None:
    """What landed before stays: raw only grows."""
    land("follows/a.ndjson", FOLLOW)
    ingest(home)
    land("follows/a.ndjson", FOLLOW.replace(b"u", b"v"))
    assert ingest(home).new_files == 1
    assert len(raw_files(home)) == 2


def test_a_later_parser_takes_over(home: Settings, land: Land, set_parser_version: Callable[[int], None]) -> None:
    """What landed is read again; of two readings of the same bytes only the later counts."""
    path = land("follows/a.ndjson", FOLLOW)
    land("follows/b.ndjson", FOLLOW.replace(b"u", b"v"))
    ingest(home)
    path.unlink()
    set_parser_version(PARSER_VERSION + 1)
    assert ingest(home).new_files == 1
    assert sorted((raw.landed_name, raw.parser_version) for raw in raw_files(home)) == [
        ("follows/a.ndjson", PARSER_VERSION), ("follows/b.ndjson", PARSER_VERSION + 1)
    ]  # fmt: skip


def test_leftovers_of_a_dead_run_do_not_exist(home: Settings, land: Land) -> None:
    """Folders under a temporary name are no raw files."""
    land("follows/a.ndjson", FOLLOW)
    ingest(home)
    root = home.lake / "raw" / "follows"
    (root / ".tmp-1").mkdir()
    (root / ".tmp-1" / "index.json").write_text("{")
    (root / "file").write_text("")
    assert len(raw_files(home)) == 1


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_read_is_postponed(
    home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is kept; the next run reads it whole."""
    path = land("viewing_sessions/a.ndjson", SESSION % (1, 5))
    land("viewing_sessions/b.ndjson", SESSION % (2, 5))
    grown: list[int] = []

    check_unchanged = Source.check_unchanged

    def grow(self: Source) -> None:
        if not grown:
            grown.append(1)
            with path.open("a") as file:
                file.write(SESSION % (3, 5))
        check_unchanged(self)

    monkeypatch.setattr(Source, "check_unchanged", grow)
    report = ingest(home)
    assert [(each.name, each.reason) for each in report.postponed] == [
        ("viewing_sessions/a.ndjson", "it changed while it was read")
    ]
    assert [raw.landed_name for raw in raw_files(home)] == ["viewing_sessions/b.ndjson"]
    assert not list(home.lake.rglob(".tmp-*"))
    assert ingest(home).postponed == ()
    assert sorted(row["session_id"] for row in rows(home)) == ["s1", "s2", "s3"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_postponed(home: Settings, land: Land) -> None:
    """With its reason; the others are in."""
    land("follows/a.ndjson", FOLLOW).chmod(0)
    land("follows/b.ndjson", FOLLOW)
    report = ingest(home)
    assert [each.name for each in report.postponed] == ["follows/a.ndjson"]
    assert report.new_files == 1


def test_landing_folders(home: Settings, tmp_path: Path) -> None:
    """The home's own is made when it is missing; one that was asked for must be there."""
    assert ingest(home).landed_files == 0
    assert home.landing.is_dir()
    with pytest.raises(UsageError, match="nowhere"):
        ingest(home, [tmp_path / "nowhere"])


def test_progress_counts_the_bytes_that_are_to_be_read(home: Settings, land: Land) -> None:
    """Of new files alone, at the beginning of each and within it, so that what is left of it can be told."""
    sizes = [land(f"follows/{name}.ndjson", text).stat().st_size for name, text in (("a", FOLLOW), ("b", FOLLOW * 2))]
    calls: list[tuple[str, int, int, str]] = []

    def tell(step: str, done: int, total: int, unit: str = "") -> None:
        calls.append((step, done, total, unit))

    ingest(home, progress=tell)
    total = sum(sizes)
    assert calls == [
        ("read follows/a.ndjson", 0, total, "bytes"),
        ("read follows/a.ndjson", sizes[0], total, "bytes"),
        ("read follows/b.ndjson", sizes[0], total, "bytes"),
        ("read follows/b.ndjson", total, total, "bytes"),
        ("read landed files", total, total, "bytes"),
    ]
    calls.clear()
    for path in home.landing.rglob("*.ndjson"):
        os.utime(path, (1_700_000_000, 1_700_000_000))  # long ago, so that the next run remembers it
    ingest(home)
    land("follows/c.ndjson", FOLLOW * 3)
    ingest(home, progress=tell)
    new = (home.landing / "follows/c.ndjson").stat().st_size
    assert {total for _, _, total, _ in calls} == {new}


# In a process of its own: what other tests have left may end in the middle.
INGEST_EACH = """
import os, sys, threading
from pathlib import Path
from pipelines.raw.ingest import ingest
from pipelines.core.settings import load

def held():
    return threading.active_count(), len(os.listdir("/proc/self/fd"))

home, first, *others = map(Path, sys.argv[1:])
ingest(load(home), [first])
before = held()
for landing in others:
    ingest(load(home), [landing])
assert held() == before, f"{held()}, not {before}"
"""


def test_no_threads_or_files_are_left_behind(home: Settings, land: Land, tmp_path: Path) -> None:
    """Whatever the file was."""
    land("viewing_sessions/a.ndjson", SESSION % (1, 5))
    land("viewing_sessions/b.parquet", b"PAR1")
    others = [tmp_path / f"landing-{number}" for number in range(5)]
    for number, landing in enumerate(others):
        (landing / "viewing_sessions").mkdir(parents=True)
        packed = gzip.compress((SESSION % (number, 5)).encode())[:-2]
        (landing / "viewing_sessions" / "c.ndjson.gz").write_bytes(packed)
    command = [sys.executable, "-c", INGEST_EACH, home.home, home.landing, *others]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(raw_files(home)) == 2 + len(others)


def test_memory_does_not_grow_with_the_file(home: Settings, land: Land) -> None:
    """A gigabyte of spaces in one line, compressed to a megabyte, takes no more than a block."""
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    packed = b"".join([*(compressor.compress(b" " * (1 << 24)) for _ in range(64)), compressor.flush()])
    land("follows/a.ndjson.zst", packed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ingest(home)
    assert [line[2] for line in rejects(home)] == [LINE_TOO_LONG]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_the_flights(home: Settings, test_data: Path) -> None:
    """327,346 real sessions of 104 creators, all accepted, each on the day it started."""
    report = ingest(home, [test_data / "flights" / "landing"])
    assert (report.new_rejected, report.postponed, report.ignored) == (0, (), ())
    accepted = {entity: sum(raw.accepted for raw in report.new if raw.entity == entity) for entity in ENTITIES}
    assert (accepted["viewing_sessions"], accepted["creators"]) == (327_346, 104)
    for raw in report.new:
        assert sum(file.rows for file in raw.files.values()) == raw.accepted == raw.records
