"""Files that are meant to fill the memory, each ingested in a process of its own whose peak is measured."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from faults.campaign import Effort, Figure
from pipelines.core.settings import Settings
from pipelines.raw.ingest import ingest

MB = 1 << 20
# What a file may take over an ordinary one: some blocks of 16 MiB (pipelines/landing/lines.py, BLOCK_BYTES), as many as
# are read at a time (fast.py, PARSERS), each with what became of its 131,072 lines (BLOCK_LINES), and 64 MiB of rows
# that wait to be written (raw/writer.py, MAX_BUFFERED_BYTES). Not a share of the file.
MOST_MB = 400
SESSION = b'{"sessionId":"s%d","creatorId":"c","startedAt":"%sT10:00:00Z"}\n'
FOLLOW = b'{"userId":"u%07d","creatorId":"c"}\n'


@dataclass(frozen=True)
class Bomb:
    """A file to land, and what must come of it: (accepted, rejected, blank)."""

    what: str
    name: str
    content: Callable[[], Iterable[bytes]]
    books: tuple[int, int, int]


def gzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A gzip file of the parts, made without holding them."""
    compressor = zlib.compressobj(6, wbits=31)
    for part in parts:
        yield compressor.compress(part)
    yield compressor.flush()


def bombs(full: bool) -> list[Bomb]:
    """Every bomb; the full tier's have ten times the size."""
    times = 10 if full else 1
    size = 100 * times
    first, last = FOLLOW % 1, FOLLOW % 2
    csv_first = b"userId,creatorId\nu,c\n"

    days = [Bomb("sessions on 5,000 different days", "viewing_sessions/x.ndjson.gz",
                 lambda: gzipped(SESSION % (number, b"%04d-01-01" % (number + 1)) for number in range(5000)),
                 (4000, 1000, 0))]  # fmt: skip

    def between(*parts: bytes) -> Callable[[], Iterable[bytes]]:
        return lambda: gzipped([first, *parts, b"\n", last])

    return [
        *(days if full else []),  # some ten seconds
        Bomb(f"{size} MB of gzip, one line", "follows/x.ndjson.gz", between(*[b"x" * MB] * size), (2, 1, 0)),
        Bomb(f"{size} MB of gzip, blank lines", "follows/x.ndjson.gz", between(*[b"\n" * MB] * size), (2, 0,
        size * MB + 1)),
        Bomb(f"{size} MB of gzip, good lines", "follows/x.ndjson.gz",
             lambda: gzipped([first * 30_000] * size), (30_000 * size, 0, 0)),
        Bomb("the shortest bad lines", "follows/x.ndjson.gz", between(*[b"1\n" * (MB // 16)] * (8 * times)),
             (2, MB // 2 * times, 1)),
        Bomb("CSV, blank lines", "follows/x.csv.gz",
             lambda: gzipped([csv_first, *[b"\n" * MB] * size]), (1, 0, size * MB)),
        Bomb("CSV, a quoted cell that does not end", "follows/x.csv.gz",
             lambda: gzipped([csv_first, b'"', *[b"x\n" * (MB // 16)] * (4 * times)]), (1, MB // 4 * times, 0)),
        Bomb("a line of 64 MB", "follows/x.ndjson",
             lambda: [first, *[b"y" * MB] * 64, b"\n", last], (2, 1, 0)),
        Bomb("nested 100,000 deep", "creators/x.ndjson.gz",
             lambda: gzipped([b'{"x":' * 100_000 + b"\n", (b"[" * 500_000 + b"]" * 500_000 + b"\n") * 20]),
             (0, 22, 0)),  # one says that an array could not be read to its end
        Bomb("lines of a mebibyte, each rejected", "creators/x.ndjson.gz",
             lambda: gzipped([b'{"x":"' + b"z" * (MB - 20) + b'"}\n'] * size), (0, size, 0)),
        Bomb("lines of a mebibyte of empty lists", "creators/x.ndjson.gz",
             lambda: gzipped([b'{"x":[' + b"[]," * (MB // 3 - 10) + b"0]}\n"] * (4 * times)), (0, 4 * times, 0)),
        Bomb("a List Streams response of 60 MB", "lls_streams/x.json",
             lambda: [b'{"streams":[' + b"{}," * 999, b'{"x":"' + b"z" * (60 * MB) + b'"}]}'], (0, 1000, 0)),
        Bomb("Parquet, 2,000 texts of two mebibytes in 500 bytes", "follows/x.parquet",
             lambda: [_parquet({"userId": _same("x" * 2 * MB, 2000), "creatorId": pa.repeat("c", 2000)})], (0, 2000,
             0)),
        Bomb("Parquet, a row group of 300 MB in 10 kB", "follows/x.parquet",
             lambda: [_parquet({"userId": pa.array(["x" * 300 * MB]), "creatorId": pa.array(["c"])})], (0, 1, 0)),
        Bomb("Parquet, a list of 20 million nulls in 100 bytes", "live_streams/x.parquet",
             lambda: [_parquet({"id": pa.array(["l"]), "guests": pa.ListArray.from_arrays([0, 20_000_000],
             pa.nulls(20_000_000))})],
             (0, 1, 0)),
        Bomb("Parquet, columns that nobody knows", "follows/x.parquet",
             lambda: [_parquet({"x": _same("x" * MB, 1000)})], (0, 1, 0)),  # the file as a whole
    ]  # fmt: skip


def _same(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([text]))


def _parquet(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue())


def explode(effort: Effort) -> Iterator[Figure]:
    """Ingest each bomb; nothing in this process may have parsed anything yet, as it forks."""
    figure = Figure("memory: bombs of all kinds")
    ordinary = Bomb("", "follows/x.ndjson", lambda: [FOLLOW % number for number in range(1000)], (1000, 0, 0))
    least, *_ = _peak(effort, ordinary)
    worst = (0.0, "")
    for bomb in bombs(effort.full):
        peak, ended, books = _peak(effort, bomb)
        figure.check(
            ended == 0 and books == list(bomb.books), f"{bomb.what}: exit code {ended}, {books}, not {bomb.books}"
        )
        figure.check(peak - least <= MOST_MB, f"{bomb.what}: {peak:.0f} MB, and an ordinary file {least:.0f} MB")
        worst = max(worst, (peak - least, bomb.what))
    figure.note = f"at most {worst[0]:.0f} MB over an ordinary file's {least:.0f} ({worst[1]}); allowed are {MOST_MB}"
    yield figure


def _peak(effort: Effort, bomb: Bomb) -> tuple[float, int, list[int]]:
    """(peak of resident memory in MB, exit code, what is in the books) of a process that ingests the bomb."""
    home = Settings(home=effort.scratch / "bombs" / str(len(list((effort.scratch).glob("bombs/*")))))
    path = home.landing / bomb.name
    path.parent.mkdir(parents=True)
    making = os.fork()  # what the making takes is not ours to keep
    if making == 0:
        try:
            with path.open("wb") as file:
                file.writelines(bomb.content())
        finally:
            os._exit(0)
    os.waitpid(making, 0)
    told = home.home / "books.json"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            (raw,) = ingest(home).new
            told.write_text(json.dumps([raw.accepted, raw.rejected, raw.blank]))
            status = 0
        finally:
            os._exit(status)
    _, ended, used = os.wait4(child, 0)
    per_mb = MB if sys.platform == "darwin" else MB // 1024
    path.unlink()
    return (
        used.ru_maxrss / per_mb,
        os.waitstatus_to_exitcode(ended),
        json.loads(told.read_text()) if told.exists() else [],
    )
