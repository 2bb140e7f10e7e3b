"""Threads that parse blocks of one file share what was learned of it: what comes of it is what one thread makes."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from pipelines.landing import columns, fast
from pipelines.landing.batches import Batch, Rows
from pipelines.landing.fast import FastReader
from pipelines.landing.lines import Block, lines_of
from pipelines.landing.ndjson import read_value

THREADS = 8
SHARED = tuple(f"/landing/{name}.py" for name in ("columns", "common_form", "fast"))


_installing = threading.Lock()


def _at_each_step(*_: object) -> Any:
    time.sleep(0)
    return _at_each_step


def _tracing(frame: FrameType, *_: object) -> Any:
    if not frame.f_code.co_filename.endswith(SHARED):
        return None
    frame.f_trace_opcodes = True
    return _at_each_step


def _traced() -> None:
    with _installing:  # two threads cannot install theirs at once
        sys.settrace(_tracing)


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads of which another may go on before every instruction of the modules that they share.

    Where else they do is up to the interpreter: 3.11 switches at calls and loops alone, others anywhere.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS, initializer=_traced) as pool:
            yield pool
    finally:
        sys.setswitchinterval(before)


def session(number: int, shape: int) -> bytes:
    """A session with the optional fields that the bits of `shape` say."""
    fields = [f'"sessionId":"s{number}"', '"creatorId":"ada"', '"startedAt":"2026-01-05T10:00:00Z"']
    optional = (
        f'"viewerId":"v{number % 9}"',
        f'"revision":{number % 40}',
        f'"deleted":{"true" if number % 3 else "false"}',
        f'"colour":{number % 5}',
    )
    fields += [field for bit, field in enumerate(optional) if shape >> bit & 1]
    return b"{" + ",".join(fields).encode() + (b"" if number % 97 == 5 else b"}")


def blocks(seed: int) -> list[Block]:
    """Blocks of all sizes: of one shape at first, then of several, some one after the other and some mixed."""
    drawn = random.Random(seed)
    made: list[Block] = []
    first = 1
    for number in range(12):
        count = drawn.choice([20, 60, 150, 250])
        shapes = [0] if number < 5 else drawn.choices(range(16), k=3)
        run = drawn.choice([1, 10, 50])
        lines = [session(line, shapes[line // run % len(shapes)]) for line in range(first, first + count)]
        made.append(Block(first, b"".join(line + b"\n" for line in lines), count))
        first += count
    return made


def one_by_one(block: Block) -> Batch:
    rows = Rows("viewing_sessions")
    for line, text in enumerate(lines_of(block.data), block.first_line):
        read_value(line, text, rows)
    return rows.batch()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_blocks_of_one_file(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by many threads at once, each gives the records that it gives line by line."""
    monkeypatch.setattr(fast, "SAMPLED_LINES", 8)  # traced, every line that is learned from costs a second
    made = blocks(seed)
    reader = FastReader("viewing_sessions", min_lines=8)
    with threads() as pool:
        read = list(pool.map(lambda block: reader.read(block, read_value), made))
    for batch, expected in zip(read, map(one_by_one, made), strict=True):
        assert batch.accepted.to_pylist() == expected.accepted.to_pylist()
        assert batch.rejected == expected.rejected
        assert batch.unknown_fields == expected.unknown_fields
    assert any(batch.rejected for batch in read)


def test_cached_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text has its own value, also where the cache is emptied at every turn."""
    monkeypatch.setattr(columns, "_MAX_CACHED", 3)
    known = columns.ValueCache()

    def wrong(seed: int) -> list[list[str]]:
        drawn = random.Random(seed)
        asked = [[str(drawn.randrange(30)) for _ in range(10)] for _ in range(20)]
        return [texts for texts in asked if known.values(texts, int) != list(map(int, texts))]

    with threads() as pool:
        assert list(pool.map(wrong, range(THREADS))) == [[]] * THREADS
