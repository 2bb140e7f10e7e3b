"""Small landed files share a raw folder: what that costs, and that each is still known by itself."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_files import Land, land_files, session

from pipelines.core.row_digest import row_digest
from pipelines.core.settings import Settings
from pipelines.raw import packs
from pipelines.raw.catalog import every_raw_file, raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder
from pipelines.raw.rejected_records import rejected_records


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often something is asked of the file system."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        ask = getattr(os, name)

        def asked(*args: object, **options: object) -> object:
            counts[name] += 1
            return ask(*args, **options)

        monkeypatch.setattr(os, name, asked)

    for name in ("fsync", "rename", "mkdir"):
        counted(name)
    return counts


def test_many_files_cost_what_few_cost(home: Settings, land: Land, calls: Counter[str]) -> None:
    """Waits for the disk, renames, folders and indexes are by run, not by file."""
    asked = []
    for count in (3, 300):
        land_files(land, count)
        calls.clear()
        ingest(home)
        asked.append((dict(calls), len(list(home.lake.glob("raw/*/*"))), len(list(home.lake.glob("raw/*/*/*")))))
        shutil.rmtree(home.lake)
    assert asked[0] == asked[1]
    assert asked[0][0]["fsync"] < 20
    assert asked[0][1] == 1


def test_each_file_is_known_by_itself(home: Settings, land: Land) -> None:
    """Its records, rows by day, rows' digests, rejected lines and unknown fields, as if it had landed alone."""
    land_files(land, 5)
    land("viewing_sessions/bad.ndjson", session(100) + "oops\n\n" + session(101, 6))
    land("viewing_sessions/empty.ndjson", "")
    land("viewing_sessions/x.csv", "sessionId,creatorId,startedAt\n200,c,2026-01-05T10:00:00Z\n201,c,never\n")
    land("viewing_sessions/z.ndjson.gz", gzip.compress(session(300).encode() + session(301).encode()))
    together = ingest(home).new
    assert len({raw.location for raw in together}) == 1
    shutil.rmtree(home.lake)
    for path in sorted(home.landing.rglob("*.*"), reverse=True):
        hidden = [each for each in home.landing.rglob("*.*") if each != path]
        for each in hidden:
            each.rename(each.with_name(f"_{each.name}"))
        ingest(home)
        for each in hidden:
            each.with_name(f"_{each.name}").rename(each)
    alone = {raw.key: raw for raw in raw_files(home)}
    assert len(alone) == len(together) == 9
    for raw in together:
        other = alone[raw.key]
        for name in ("landed_name", "records", "accepted", "rejected", "blank", "unknown_fields", "rejected_by_reason",
                     "unreadable", "landed_bytes"):  # fmt: skip
            assert getattr(raw, name) == getattr(other, name), (raw.landed_name, name)
        said = {day: (file.rows, file.digest, file.newest, file.missing) for day, file in raw.files.items()}
        assert said == {day: (file.rows, file.digest, file.newest, file.missing) for day, file in other.files.items()}


def test_the_rows_of_a_file_are_its_own(home: Settings, land: Land) -> None:
    """Read by file they are what landed in it, line by line; so are its rejected lines."""
    land_files(land, 20)
    land("viewing_sessions/bad1.ndjson", "oops\n" + session(900))
    land("viewing_sessions/bad2.ndjson", session(901) + "again\nand again\n")
    ingest(home)
    for raw in raw_files(home):
        lines = (home.landing / raw.landed_name).read_text().splitlines()
        for name, file in raw.files.items():
            table = raw.table(name)
            assert row_digest(table, leave_out=["line"]) == file.digest
            for row in table.to_pylist():
                assert json.loads(lines[row["line"] - 1])["sessionId"] == row["session_id"]
    assert [(each.file, each.line, each.text) for each in rejected_records(home)] == [
        ("viewing_sessions/bad1.ndjson", 1, "oops"),
        ("viewing_sessions/bad2.ndjson", 2, "again"),
        ("viewing_sessions/bad2.ndjson", 3, "and again"),
    ]


def test_a_file_that_lands_again_is_known(home: Settings, land: Land) -> None:
    """By its bytes, under any name, in the same run or a later one."""
    land_files(land, 5)
    land("viewing_sessions/copy.ndjson", (home.landing / "viewing_sessions/00003.ndjson").read_bytes())
    assert ingest(home).new_files == 5
    (home.lake / "landed.json").unlink(missing_ok=True)
    land("viewing_sessions/later.ndjson", (home.landing / "viewing_sessions/00004.ndjson").read_bytes())
    assert ingest(home).new_files == 0
    assert len(raw_files(home)) == 5


def test_a_run_that_dies_in_a_pack_leaves_nothing_of_it(
    home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it remember the files as read: the next run reads them all."""
    land_files(land, 4)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(packs, "name_folder", die)
        with pytest.raises(KeyboardInterrupt):
            ingest(home)
    assert every_raw_file(home) == []
    assert not list(home.lake.rglob(".tmp-*"))
    assert ingest(home).new_files == 4


def test_a_large_file_has_a_folder_of_its_own(home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs are as small as what `forget` writes anew; a pack ends when it holds so much."""
    monkeypatch.setattr("pipelines.raw.ingest.SMALL_BYTES", 1000)
    land_files(land, 3)
    land_files(land, 1, lines=40, first=50)
    ingest(home)
    assert sorted(raw.landed_files for raw in raw_files(home)) == [1, 3, 3, 3]
    monkeypatch.setattr(packs, "BUFFERED_BYTES", 1)
    monkeypatch.setattr(packs, "PACK_FILES", 2)
    shutil.rmtree(home.lake)
    ingest(home)
    assert sorted(raw.landed_files for raw in raw_files(home)) == [1, 1, 2, 2]


def test_what_is_small_and_becomes_much_has_a_folder_of_its_own(
    home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of a few bytes may hold any number of lines: they are not held in memory."""
    monkeypatch.setattr(packs, "BUFFERED_BYTES", 2000)
    land("viewing_sessions/a.ndjson", session(1))
    land("viewing_sessions/b.ndjson.gz", gzip.compress(b"".join(session(n).encode() for n in range(10, 400))))
    land("viewing_sessions/c.ndjson", session(2))
    ingest(home)
    assert {Path(raw.landed_name).name: raw.landed_files for raw in raw_files(home)} == {
        "a.ndjson": 2, "b.ndjson.gz": 1, "c.ndjson": 2
    }  # fmt: skip


def test_what_a_pack_is_named_by_is_gathered_once(home: Settings, land: Land) -> None:
    """Not anew for each of its days: a year of small files that lands at once is one pack of 365."""
    land_files(land, 6)
    ingest(home)
    (folder,) = folders_of(raw_files(home))
    looked_through: list[int] = []

    class Watched(list[RawFile]):
        def __iter__(self) -> Iterator[RawFile]:
            looked_through.append(1)
            return super().__iter__()

    watched = RawFolder.of(Watched(folder.landed))
    looked_through.clear()
    assert {name: len(watched.digests(name)) for name in folder.files} == dict.fromkeys(folder.files, 2)
    assert len(folder.files) == 3
    assert not looked_through
