"""What a night opens, waits for and reads, counted by strace: of the whole command, what native code does included.

A witness that is not ours, in homes of one size and of four times that. What CPU it takes is measured by `make bench`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from faults.children import environment
from faults.traced import NOT_FOUND, can_trace

pytestmark = [
    pytest.mark.skipif(not can_trace(), reason=NOT_FOUND),
    pytest.mark.slow,
    pytest.mark.xdist_group("counted"),  # the homes are made once, whichever worker has them
]
AS_OF = date(2026, 1, 31)
LONG_AGO = 1_700_000_000  # seconds since 1970: what was written a moment ago is looked at again
FILES, FOLLOWS = (30, 120), (120_000, 480_000)
_OPENED = re.compile(r"^\d+ +open(?:at)?\(.*\) += \d+<(.+)>$|^\d+ +<\.\.\. open(?:at)? resumed>.*\) += \d+<(.+)>$")
_WAITED = re.compile(r"^\d+ +(?:fsync|fdatasync)\(")


@dataclass(frozen=True)
class Counted:
    """What one command did in its home and its landing folder."""

    opened: frozenset[str]  # files and folders, by their path from the folder that holds both
    fsyncs: int
    rows: dict[str, int]  # in the Parquet files of the lake that were opened, each once, by the folder they are in

    def files(self, start: str, end: str = "") -> list[str]:
        """The files that were opened whose paths start and end so."""
        return sorted(path for path in self.opened if path.startswith(start) and path.endswith(end))

    def by_folder(self) -> Counter[str]:
        """How many files were opened in each folder, but for raw: what is counted again from that is drawn by lot."""
        found: Counter[str] = Counter()
        for path in self.opened:
            if not path.startswith("home/lake/raw/"):
                place = "/".join(part for part in path.split("/")[:-1] if not part.startswith("."))
                found[re.sub(r"(snapshots)/.*", r"\1", place)] += 1
        return found


def night(folder: Path, log: Path | None = None) -> dict[str, object]:
    """Run the nightly job over folder/landing, under strace where there is a `log` to write."""
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(folder / "home"), "run", "--direct", "--json"]
    command += ["--as-of", str(AS_OF), "--landing", str(folder / "landing"), "--allow-incomplete", "--accept-rejects"]
    traced = ["strace", "-f", "-qq", "-y", "-e", "trace=open,openat,fsync,fdatasync", "-o", str(log), "--"]
    ended = subprocess.run(
        (traced if log else []) + command, env=environment(), capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def counted(folder: Path) -> Counted:
    """The same, counted."""
    log = folder / "strace"
    night(folder, log)
    opened: set[str] = set()
    fsyncs = 0
    for line in log.read_text(errors="replace").splitlines():
        fsyncs += _WAITED.match(line) is not None
        if found := _OPENED.match(line):
            path = found[1] or found[2]
            if path.startswith((f"{folder}/home", f"{folder}/landing")):
                opened.add(path.removeprefix(f"{folder}/"))
    rows: Counter[str] = Counter()
    for path in opened:
        if path.startswith("home/lake/") and path.endswith(".parquet") and (folder / path).exists():
            rows[path.split("/")[2]] += pq.read_metadata(folder / path).num_rows
    return Counted(frozenset(opened), fsyncs, dict(rows))


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (LONG_AGO, LONG_AGO))


def sessions(number: int, day: date) -> str:
    """Two lines."""
    return "".join(
        json.dumps(
            {"sessionId": f"{number}-{line}", "creatorId": f"c{line}", "viewerId": f"v{number % 5}"}
            | {"startedAt": f"{day}T10:00:00Z", "endedAt": f"{day}T10:20:00Z"}
        )
        + "\n"
        for line in range(2)
    )


def land_small_files(folder: Path, files: int) -> None:
    """So many on each of ten days."""
    for ago in range(2, 12):
        day = AS_OF - timedelta(days=ago)
        for number in range(files // 10):
            write(
                folder / "landing" / "viewing_sessions" / f"{day}-{number:03}.ndjson", sessions(number * 100 + ago, day)
            )


def land_follows(folder: Path, count: int, first: int = 0) -> None:
    number = pl.int_range(first, first + count)
    path = folder / "landing" / "follows" / f"{first}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    at = pl.lit("2026-01-10T00:00:00Z")
    columns = {"userId": pl.format("u{}", number), "creatorId": pl.format("c{}", number % 2), "followedAt": at}
    pl.select(**columns, updatedAt=at).write_parquet(path)
    os.utime(path, (LONG_AGO, LONG_AGO))


def settled(folder: Path) -> Path:
    """A home after its first night and one without news."""
    night(folder)
    night(folder)
    return folder


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    folders = [tmp_path_factory.mktemp(f"files-{count}") for count in FILES]
    for folder, count in zip(folders, FILES, strict=True):
        land_small_files(folder, count)
        settled(folder)
    yield folders
    for folder in folders:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_run_without_news_opens_no_file_of_sessions(small_files: list[Path]) -> None:
    """However many have landed it opens the same files, and none that landed, nor any of raw; it waits as often."""
    few, many = (counted(folder) for folder in small_files)
    assert few.files("landing", ".ndjson") == many.files("landing", ".ndjson") == []
    assert few.files("home/lake/raw", ".parquet") == many.files("home/lake/raw", ".parquet") == []
    assert few.by_folder() == many.by_folder()
    assert few.fsyncs == many.fsyncs < 30


@pytest.mark.slow
def test_one_more_small_file_costs_the_same(small_files: list[Path]) -> None:
    """Of what landed it alone is opened. Files that are made of it or read for it, indexes of raw among them, and waits
    for the disk are as many beside four times as many files."""
    day = AS_OF - timedelta(days=1)
    name = f"landing/viewing_sessions/{day}-new.ndjson"
    found = []
    for folder in small_files:
        write(folder / name, sessions(7, day))
        found.append(counted(folder))
    few, many = found
    assert few.files("landing", ".ndjson") == many.files("landing", ".ndjson") == [name]
    indexes = [[path for path in each.files("home/lake/raw", "/index.json") if "/.tmp-" not in path] for each in found]
    assert len(indexes[0]) == len(indexes[1]) == 2  # its own, and that of the pack by which its name is understood
    assert few.by_folder() == many.by_folder()
    assert few.fsyncs == many.fsyncs


@pytest.mark.slow
def test_one_more_follow_reads_what_is_known_once(tmp_path: Path) -> None:
    """What is known of every key is read once, to find those that have changed and to write the table: nothing else is
    more beside four times as many follows, nor is any follow read that had landed before."""
    found = []
    for count in FOLLOWS:
        folder = tmp_path / str(count)
        land_follows(folder, count)
        land_small_files(folder, 10)
        settled(folder)
        land_follows(folder, 1, first=count)
        found.append(counted(folder))
        of_all = {name: found[-1].rows.pop(name, 0) for name in ("follow_versions", "base_follows", "follows")}
        assert max(of_all.values()) <= count + 1
    few, many = found
    assert few.rows == many.rows
    assert few.rows["raw"] <= 1 + 20  # the new follow; the sessions, which are counted again
    assert few.fsyncs == many.fsyncs


def test_a_run_without_news_verifies_what_it_opens_of_raw(tmp_path: Path) -> None:
    """Those files of raw are read on its behalf later, by `mostwatched rejects`: with one byte of each turned, the next
    run makes them again of what landed."""
    land_small_files(tmp_path, 10)
    write(tmp_path / "landing" / "viewing_sessions" / "bad.ndjson", "no session\n")
    write(tmp_path / "landing" / "erasures" / "a.ndjson", '{"userId":"nobody"}\n')
    stream = {"id": "l1", "creatorId": "c1", "status": "active", "currency": "TRY"}
    write(tmp_path / "landing" / "live_streams" / "a.ndjson", json.dumps(stream) + "\n")
    pledge = {"pledgeId": "p1", "userId": "u1", "streamId": "l1", "amount": 5, "currency": "EUR", "status": "pending"}
    write(tmp_path / "landing" / "pledges" / "a.ndjson", json.dumps(pledge) + "\n")
    settled(tmp_path)
    opened = [tmp_path / path for path in counted(tmp_path).files("home/lake/raw/", ".parquet")]
    assert {path.parents[1].name for path in opened} == {"viewing_sessions", "erasures", "live_streams", "pledges"}
    whole = {path: path.read_bytes() for path in opened}
    for path, content in whole.items():
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    night(tmp_path)
    assert {path: path.read_bytes() for path in opened} == whole
