"""What is believed of an archive that breaks off, and of one that is not what its checksum says."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipelines.core.settings import Settings
from pipelines.landing import decompressed
from pipelines.landing.files import MAX_EMPTY_PARTS, DamagedArchive
from pipelines.landing.lines import CORRUPT_ARCHIVE
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import rejected_records

Land = Callable[[str, bytes | str], Path]
LINES = [f'{{"userId":"u{number}","creatorId":"ada"}}\n' for number in range(300)]


def pack(ending: str, text: str) -> bytes:
    if ending == "gz":
        return gzip.compress(text.encode(), 0)
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(text.encode())


def accepted(home: Settings) -> list[int]:
    return [line for raw in raw_files(home) for name in raw.files for line in raw.table(name)["line"].to_pylist()]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_wrong_checksum_means_that_no_line_is_believed(home: Settings, land: Land, ending: str) -> None:
    """A single bit can make another id of an id and leave the line valid: every line is kept, none is in."""
    packed = bytearray(pack(ending, "".join(LINES)))
    at = packed.index(b"ada") if b"ada" in packed else len(packed) - 1
    packed[at] ^= 2
    land(f"follows/a.ndjson.{ending}", bytes(packed))
    ingest(home)
    rejected = list(rejected_records(home))
    assert accepted(home) == []
    assert {each.reason for each in rejected[:-1]} == {CORRUPT_ARCHIVE}
    assert [each.text + "\n" for each in rejected[1:-1]] == LINES[1:]
    assert (rejected[-1].line, rejected[-1].text) == (301, "")
    assert "checksum" in rejected[-1].reason


def test_the_parts_before_the_damaged_one_are_believed(home: Settings, land: Land) -> None:
    """An archive of several members: those whose checksums are right are in."""
    damaged = bytearray(pack("gz", "".join(LINES[100:])))
    damaged[-5] ^= 1
    land("follows/a.ndjson.gz", pack("gz", "".join(LINES[:100])) + damaged)
    land("follows/b.csv.gz", pack("gz", "userId,creatorId\nu,a\nv,a\n") + pack("gz", "w,a\n")[:-6] + b"\0\0\0\0\0\0")
    ingest(home)
    by_name = {raw.landed_name: raw for raw in raw_files(home)}
    assert (by_name["follows/a.ndjson.gz"].accepted, by_name["follows/a.ndjson.gz"].rejected) == (100, 201)
    assert (by_name["follows/b.csv.gz"].accepted, by_name["follows/b.csv.gz"].rejected) == (2, 2)


def test_the_header_of_a_csv_file_is_no_record_in_a_damaged_archive_either(home: Settings, land: Land) -> None:
    """Only the records are rejected."""
    land("follows/a.csv.gz", pack("gz", "userId,creatorId\nu,a\n\nv,a\n")[:-6] + b"\0\0\0\0\0\0")
    ingest(home)
    (raw,) = raw_files(home)
    assert (raw.accepted, raw.rejected, raw.blank) == (0, 3, 1)
    assert [each.line for each in rejected_records(home)] == [2, 4, 5]


@pytest.mark.parametrize("rest", [b"x", b"garbage" * 100])
def test_what_follows_a_whole_archive_does_not_spoil_it(home: Settings, land: Land, rest: bytes) -> None:
    """Its checksum was right: all is in, and one rejected record says that there was more."""
    land("follows/a.ndjson.gz", pack("gz", "".join(LINES)) + rest)
    ingest(home)
    (raw,) = raw_files(home)
    assert (raw.accepted, raw.rejected) == (300, 1)


@pytest.mark.slow
def test_one_stray_quotation_mark_costs_one_line(home: Settings, land: Land) -> None:
    """A quoted cell that never ends is one bad line, wherever the file ends or breaks off; the others are in."""
    lines = ["userId,creatorId", "u1,a", '"u2,a', "u3,a", "u4,a"]
    long = [f"v{number},a" for number in range(200_000)]
    land("follows/a.csv", "\n".join(lines))
    land("follows/b.csv", "\n".join([*lines, *long, 'u5,"a']))
    land("follows/c.csv.gz", gzip.compress("\n".join([*lines, *long]).encode())[:-8])
    ingest(home)
    by_name = {raw.landed_name: raw for raw in raw_files(home)}
    rejected = [(each.file, each.line, each.text) for each in rejected_records(home)]
    assert rejected[:3] == [
        ("follows/a.csv", 3, '"u2,a'), ("follows/b.csv", 3, '"u2,a'), ("follows/b.csv", 200_006, 'u5,"a')
    ]  # fmt: skip
    assert (by_name["follows/a.csv"].accepted, by_name["follows/b.csv"].accepted) == (3, 200_003)
    assert by_name["follows/c.csv.gz"].rejected == 2
    assert by_name["follows/c.csv.gz"].accepted > 200_000


def test_a_header_whose_quoted_cell_does_not_end(home: Settings, land: Land) -> None:
    """The file is unreadable; its text is that line alone."""
    land("follows/a.csv", 'userId,"creatorId\nu1,a\nu2,a\n')
    ingest(home)
    assert [(each.line, each.text) for each in rejected_records(home)] == [(1, 'userId,"creatorId')]


@pytest.mark.parametrize(("kind", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_an_archive_of_nothing_but_empty_parts_is_refused(kind: str, pack: Callable[[bytes], bytes]) -> None:
    """Ten megabytes of them took eleven seconds; a few thousand, or many between lines, are an archive like others."""
    line, nothing = pack(b"{}\n"), pack(b"")
    many = nothing * MAX_EMPTY_PARTS
    assert b"".join(decompressed([many + line + many + line], kind)) == b"{}\n{}\n"
    with pytest.raises(DamagedArchive, match="10,000 empty parts"):
        list(decompressed([line + many + nothing], kind))


def test_an_archive_of_empty_members_is_not_copied_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """zlib copies what comes after a member: of a long archive it is given little at a time."""
    unpacker = zlib.decompressobj
    given = 0

    class Counted:
        def __init__(self, wbits: int) -> None:
            self._unpacker = unpacker(wbits=wbits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._unpacker, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal given
            given += len(data)
            return self._unpacker.decompress(data, most)

    monkeypatch.setattr(zlib, "decompressobj", Counted)
    member = gzip.compress(b"")
    packed = member * MAX_EMPTY_PARTS
    assert list(decompressed([packed], "gz")) == []
    assert given < 1000 * len(packed)  # as many times as there are members in 40 kB; it was 26,000
