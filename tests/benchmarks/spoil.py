"""The files that ingest is measured with: `python -m tests.benchmarks.spoil NIGHT_FILE FOLDER TIMES TIMES`.

clean/, clean-gzip/       the night's file
bad/, bad-gzip/           every hundredth line of it spoilt, in each of five ways in turn
<TIMES>x/                 the night's file so many times, each time with other session ids; one for each TIMES
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.landing import SESSION_PREFIX

_EVERY = 100
_BLOCK_BYTES = 1 << 24
_GZIP_LEVEL = 4  # as `mostwatched generate --gzip` packs


def _without_field(line: bytes, name: bytes) -> bytes:
    head, _, tail = line.partition(b'"' + name + b'":"')
    return head + tail.partition(b'",')[2]


def _with_start(line: bytes, value: bytes) -> bytes:
    """The line with another value of startedAt; it is the last field but endedAt."""
    head, name, tail = line.partition(b'"startedAt":')
    return head + name + value + b"," + tail.partition(b",")[2]


_WAYS: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line[: len(line) // 2] + b"\n",  # cut off
    lambda line: _without_field(line, b"creatorId"),
    lambda line: _with_start(line, b'"2026-13-05T10:00:00Z"'),  # no such month
    lambda line: _with_start(line, b"17"),  # a number where an instant belongs
    lambda line: _with_start(line, b'"2099-01-01T00:00:00.000Z"'),  # ended before it started
)


def main(night_file: Path, folder: Path, sizes: list[int]) -> None:
    """Write them all."""
    clean, bad = (_file(folder, case) for case in ("clean", "bad"))
    os.link(night_file, clean)  # nobody changes what has landed
    with night_file.open("rb") as lines, bad.open("wb") as file:
        for number, line in enumerate(lines, 1):
            way = _WAYS[number // _EVERY % len(_WAYS)]
            file.write(line if number % _EVERY else way(line))
    for plain in (clean, bad):
        packed = _file(folder, f"{plain.parents[1].name}-gzip").with_suffix(".ndjson.gz")
        with plain.open("rb") as content, gzip.open(packed, "wb", compresslevel=_GZIP_LEVEL) as file:
            shutil.copyfileobj(content, file, _BLOCK_BYTES)
    for size in sizes:
        large = _file(folder, f"{size}x")
        if size == 1:
            os.link(night_file, large)
            continue
        with large.open("wb") as file:
            for time in range(size):
                _write_renamed(night_file, file.write, SESSION_PREFIX[:-3] + b"%03x" % time)


def _write_renamed(source: Path, write: Callable[[bytes], object], prefix: bytes) -> None:
    """Write whole blocks of lines with other session ids."""
    left = b""
    with source.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            head, end, left_of_block = (left + block).rpartition(b"\n")
            left = left_of_block
            write((head + end).replace(SESSION_PREFIX, prefix))
    write(left.replace(SESSION_PREFIX, prefix))


def _file(folder: Path, case: str) -> Path:
    path = folder / case / "viewing_sessions" / "night.ndjson"
    path.parent.mkdir(parents=True)
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(size) for size in sys.argv[3:]])
