"""A landed file without somebody's records is otherwise what landed: whose it is, who may read it, its name."""

from __future__ import annotations

import gzip
import json
import os
import random
import stat
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.core.settings import load
from pipelines.core.shared_folders import NewFile
from pipelines.jobs import erase_landed
from pipelines.jobs.id_matcher import IdMatchers
from pipelines.jobs.owned_records import owned_ranges, owners_of_rows, rows_of
from pipelines.landing import LandedFile, Postponed, Source, content_of, decompressed, find_landed, open_landed, rewrite
from pipelines.landing.lines import with_line_feeds
from pipelines.landing.objects import Scanner

CUT = rewrite.Selection(
    partial(owned_ranges, entity="follows", ids=IdMatchers.of(["u1"])),
    lambda batch: rows_of(owners_of_rows(batch, IdMatchers.of(["u1"])), batch.num_rows),
)


def landed(root: Path, name: str) -> LandedFile:
    """A file of two follows, one of them the person's."""
    path = root / "follows" / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"userId": ["u1", "u2"], "creatorId": ["c", "c"]}), path)
    else:
        path.write_text('{"userId":"u1","creatorId":"c"}\n{"userId":"u2","creatorId":"c"}\n')
    (file,) = find_landed([root])[0]
    return file


def facts(path: Path) -> tuple[Any, ...]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_mtime_ns


@pytest.mark.parametrize("name", ["a.ndjson", "a.parquet"])
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o2640])
def test_owner_group_mode_and_times_stay(tmp_path: Path, name: str, mode: int) -> None:
    """While it is written nobody may read it who might not read the old one."""
    file = landed(tmp_path, name)
    if os.geteuid() == 0:  # who else may not give files away
        os.chown(file.path, 12_345, 23_456)
    file.path.chmod(mode)
    os.utime(file.path, ns=(10**18, 10**18))
    before = facts(file.path)

    def look(_: rewrite.Rewritten) -> None:
        (written,) = file.path.parent.glob(".mostwatched-*/new")
        assert facts(written) == before

    seen = []
    goes = CUT.rows

    def rows(batch: pa.RecordBatch) -> pa.Array:
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in file.path.parent.glob(".mostwatched-*/new"))
        return goes(batch)

    cut = rewrite.Selection(CUT.ranges, rows)
    done = rewrite.rewrite(file, cut, rewrite.find(file, cut), look)
    assert done.records == 1
    assert facts(file.path) == before
    assert set(seen) <= {0o600}


def test_where_a_file_cannot_be_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records go all the same, and the mode stays."""
    file = landed(tmp_path, "a.ndjson")
    file.path.chmod(0o640)

    def refused(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refused)
    assert rewrite.rewrite(file, CUT, rewrite.find(file, CUT), lambda _: None).records == 1
    assert facts(file.path)[2] == 0o640
    assert file.path.read_bytes().startswith(b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can land a file of another user")
def test_a_file_that_stays_ours_runs_as_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others wrote never gets our rights, though their file had the bit that gives it theirs."""
    file = landed(tmp_path, "a.ndjson")
    os.chown(file.path, 12_345, 23_456)
    file.path.chmod(0o6755)
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    rewrite.rewrite(file, CUT, rewrite.find(file, CUT), lambda _: None)
    assert facts(file.path)[:3] == (0, 0, 0o755)


def test_a_file_that_changes_once_it_was_read(tmp_path: Path) -> None:
    """It waits, with what was added to it."""
    file = landed(tmp_path, "a.ndjson")

    def add(_: rewrite.Rewritten) -> None:
        with file.path.open("a") as opened:
            opened.write('{"userId":"u3","creatorId":"c"}\n')

    with pytest.raises(Postponed):
        rewrite.rewrite(file, CUT, rewrite.find(file, CUT), add)
    assert file.path.read_text().count("userId") == 3
    assert list(file.path.parent.iterdir()) == [file.path]


def test_a_file_that_is_moved_aside_in_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said to be emptied: its records are in it still, wherever it is."""
    file = landed(tmp_path, "a.ndjson")
    rename = NewFile.rename

    def too_late(new: NewFile, name: str) -> None:
        file.path.rename(tmp_path / "aside")
        rename(new, name)

    monkeypatch.setattr(NewFile, "rename", too_late)
    with pytest.raises(Postponed, match="moved aside"):
        rewrite.rewrite(file, CUT, rewrite.find(file, CUT), lambda _: None)


def test_what_lands_while_others_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at too, before anything is said to be done."""
    line = b'{"viewerId":"u1"}\n'
    landed_bytes(tmp_path, "a.ndjson", line)
    looked = erase_landed._look_at

    def land_another(*given: Any, **more: Any) -> Any:
        if not (tmp_path / "landing" / "viewing_sessions" / "0.ndjson").exists():
            landed_bytes(tmp_path, "0.ndjson", line)
        return looked(*given, **more)

    monkeypatch.setattr(erase_landed, "_look_at", land_another)
    assert empty_of_u1(tmp_path) == 2


@pytest.mark.parametrize("name", ["n" * 248 + ".ndjson", "\u00f6" * 123 + ".parquet"], ids=["ASCII", "UTF-8"])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    """As long as a file system lets them be."""
    file = landed(tmp_path, name)
    assert len(os.fsencode(name)) >= 254
    assert rewrite.rewrite(file, CUT, rewrite.find(file, CUT), lambda _: None).records == 1
    assert [path.name for path in file.path.parent.iterdir()] == [name]


# --- long lines ------------------------------------------------------------------------------------------------------

MIB = 1 << 20


def long_line(mib: int, user: str, at: float = 1.0) -> bytes:
    """A line of so many MiB without its end, with the id of its viewer that far in."""
    before = int(mib * MIB * at)
    viewer = b'","viewerId":"%s","c":"' % user.encode()
    return b'{"a":"' + b"a" * before + viewer + b"c" * (mib * MIB - before) + b'"}'


def landed_bytes(root: Path, name: str, content: bytes) -> Path:
    path = root / "landing" / "viewing_sessions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(content, path.suffix))
    return path


def empty_of_u1(root: Path) -> int:
    """Do what `forget u1 --landing-too` does to landed files; returns how many records it says that it took."""
    found = erase_landed.landed_records(load(root), IdMatchers.of(["u1"]), [root / "landing"], is_to_be_emptied=True)[
        "u1"
    ]
    assert not [each.problem for each in found if each.problem]
    return sum(each.records for each in found)


def emptied_of_u1(root: Path, name: str, content: bytes) -> tuple[bytes, int]:
    """What that leaves of a landed file, and how many records it takes."""
    path = landed_bytes(root, name, content)
    records = empty_of_u1(root)
    return unpacked(path.read_bytes(), path.suffix), records


def packed(content: bytes, suffix: str) -> bytes:
    return {".gz": gzip.compress, ".zst": zstandard.compress}.get(suffix, bytes)(content)


def unpacked(content: bytes, suffix: str) -> bytes:
    if suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return gzip.decompress(content) if suffix == ".gz" else content


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_long_lines(tmp_path: Path, suffix: str, end: bytes) -> None:
    """Wherever the id stands in it, a long line goes; all others stay, to the byte."""
    lines = [
        (b'{"viewerId":"u1"}', True),
        (long_line(3, "u1", 0.0), True),
        (long_line(3, "u12", 0.5), False),
        (long_line(3, "u1", 1.0), True),
        (long_line(1, "u1"), True),
        (b'{"viewerId":"u2"}\r', False),
        (long_line(2, r"\u0075\u0031", 0.5), True),  # u1 too
        (long_line(2, r"\u0075\u0032", 0.5), False),
        (b"", False),
        (b'{"viewerId":"u1"', True),
        (long_line(2, "u1", 0.7), True),
    ]
    content = b"\n".join(line for line, _ in lines) + end
    expected = b"\n".join(b"" if goes else line for line, goes in lines) + end
    assert emptied_of_u1(tmp_path, "a.ndjson" + suffix, content) == (expected, 7)


def test_long_lines_of_csv(tmp_path: Path) -> None:
    """The same of CSV."""
    header = b"sessionId,creatorId,startedAt,viewerId\n"
    lines = [
        (b"s1,c,2026-01-05T10:00:00Z,u1", True),
        (b"s2,c," + b"x" * 3 * MIB + b",u1", True),
        (b"s3,c," + b"x" * 3 * MIB + b",u2", False),
        (b"s5,c," + b"x" * (MIB + 100_000) + b",u1", True),
        (b"s6,c," + b"x" * (MIB + 100_000) + b",u2", False),
        (b"s4,u1,2026-01-05T10:00:00Z,u2", False),
    ]
    content = header + b"\n".join(line for line, _ in lines)
    expected = header + b"\n".join(b"" if goes else line for line, goes in lines)
    assert emptied_of_u1(tmp_path, "a.csv", content) == (expected, 3)


def test_records_of_csv_are_those_that_a_run_reads(tmp_path: Path) -> None:
    """A quotation mark inside of a cell begins nothing, one at its start goes on to the next one, over lines."""
    content = (
        b"sessionId,creatorId,startedAt,viewerId,deviceId\n"
        b's1,c,2026-01-05T10:00:00Z,u2,5" tv\n'
        b"s2,c,2026-01-05T10:00:00Z,u1,tv\n"
        b's3,c,2026-01-05T10:00:00Z,u1,"a\nb\n"\n'
        b's4,c,2026-01-05T10:00:00Z,u3,5" tv\n'
    )
    header, first, *_, last, _ = content.split(b"\n")
    assert emptied_of_u1(tmp_path, "a.csv", content) == (b"\n".join([header, first, *[b""] * 4, last, b""]), 2)


def test_a_header_that_is_none(tmp_path: Path) -> None:
    """Where no record can be accepted, whatever names the person goes, the first line too; a good header stays."""
    ndjson = b'{"viewerId":"u1","a":"b"}\n{"viewerId":"u2","a":"b"}\n{"viewerId":"u1","a":"b"}\n'
    assert emptied_of_u1(tmp_path, "a.csv", ndjson) == (b'\n{"viewerId":"u2","a":"b"}\n\n', 2)
    good = b"sessionId,creatorId,startedAt,u1\ns,u1,2026-01-05T10:00:00Z,u12\n"
    assert emptied_of_u1(tmp_path, "a.csv", good) == (good, 0)


def test_memory_does_not_grow_with_a_line(tmp_path: Path) -> None:
    """Of a line four times as long no more is held."""

    def peak(mib: int) -> int:
        landed_bytes(tmp_path, "a.ndjson", long_line(mib, "u1"))
        tracemalloc.start()
        try:
            assert empty_of_u1(tmp_path) == 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is imported and cached at first
    assert peak(32) < 1.25 * peak(8)


def test_time_grows_like_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line four times as long takes some four times as long, and not sixteen: no part of it is read for each other.

    It is read in small parts, so that there are many.
    """
    read = Source.chunks
    monkeypatch.setattr(Source, "chunks", lambda source: read(source, 4096))

    def seconds(mib: int) -> float:
        landed_bytes(tmp_path, "a.ndjson", long_line(mib, "u1"))
        started = time.process_time()
        assert empty_of_u1(tmp_path) == 1
        return time.process_time() - started

    seconds(1)
    assert min(seconds(8) for _ in range(3)) < 8 * min(seconds(2) for _ in range(3))


@pytest.mark.parametrize("seed", range(60))
def test_records_that_do_not_stand_one_a_line(tmp_path: Path, seed: int) -> None:
    """Concatenated, in arrays, over several lines, with line ends of every kind: the others stay where they are."""
    drawn = random.Random(seed)
    records = [{"viewerId": drawn.choice(["u1", "u2", "ü3"]), "n": number} for number in range(drawn.randrange(1, 9))]
    texts = [json.dumps(each, indent=drawn.choice([None, 1]), ensure_ascii=False) for each in records]
    shape = drawn.randrange(3)
    if shape == 2:
        cut = drawn.randrange(len(texts))
        parts = [f"[{drawn.choice([',', ', ', chr(10) + ',']).join(part)}]" for part in (texts[:cut], texts[cut:])]
        content = "\n".join(parts)
    else:
        content = "".join(text + ("" if shape else drawn.choice(["", " ", "\n", "\n\n"])) for text in texts)
    content = content.replace("\n", drawn.choice(["\n", "\r\n", "\r"]))
    landed = "\ufeff".encode() * drawn.randrange(2) + content.encode()

    def left(text: bytes) -> list[tuple[int, int]]:
        scanned = [(json.loads(value.text), value.line) for value in Scanner(iter(with_line_feeds([text]))).values()]
        return [(value["n"], line) for value, line in scanned if value["viewerId"] != "u1"]

    emptied, count = emptied_of_u1(tmp_path, "a.ndjson" + drawn.choice(["", ".gz"]), landed)
    assert count == sum(each["viewerId"] == "u1" for each in records)
    assert b"u1" not in emptied
    assert left(emptied) == left(landed)
    if shape == 2 and emptied and "\r" not in content:  # also for whoever else reads it
        first, _ = json.JSONDecoder().raw_decode(emptied.decode().removeprefix("\ufeff").strip())
        assert isinstance(first, list)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("content", [b'{"viewerId":"u1"}\n', b'\n{"viewerId":"u1"}{"viewerId":"u1"}'])
def test_where_only_white_space_would_be_left_nothing_is(tmp_path: Path, content: bytes, pack: Any) -> None:
    """A text of white space alone would be an unreadable file; one of no bytes holds no records."""
    path = landed_bytes(tmp_path, "a.ndjson", pack(content))
    assert empty_of_u1(tmp_path) == content.count(b"u1")
    with open_landed(path) as source:
        content_now = content_of("viewing_sessions", "ndjson", source)
        assert (content_now.problem, b"".join(decompressed(source.chunks(), content_now.compression))) == (None, b"")
