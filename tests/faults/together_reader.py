"""A process that reads the API over many connections and compares every answer, to the byte.

`python -m faults.together_reader PLAN`: PLAN is a file of JSON, {"ports": […], "connections": a port, "tokens": […],
"seed": …, "result": path}. Prints how many answers it has had, twice a second; ends when its stdin does, and then
writes to `result` what it saw (`Seen`).

An answer names its snapshot in a header. The first answer of every (request, snapshot) is kept, every later one must be
the same but for the date, the timestamp and the standing of the rate limit; the kept ones are judged afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

import uvloop

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"
STREAMS = "/lls/v1.0/stream"
READY = "/readyz"
ID_BYTES = len("2026-11-21-0123456789ab")
DATE_BYTES = len("Sun, 22 Nov 2026 03:44:53 GMT")
END = b"\r\n\r\n"
TIMESTAMP_BYTES = len('2026-05-22T16:11:27.028Z"}')
ASKED_OF_AN_ADDRESS = 80  # of the 100 a minute that List Streams allows


@dataclass(frozen=True)
class Request:
    """One kind of request; a `conditional` one sends the ETag that the connection saw last for `path`."""

    method: str
    path: str
    token: str | None = None
    conditional: bool = False

    @property
    def name(self) -> str:
        """How it is called in the results."""
        caller = f" {self.token[-8:]}" if self.token else ""
        return f"{self.method} {self.path}{caller}{' again' if self.conditional else ''}"

    def sent(self, etag: bytes | None, address: str) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "host: api"]
        if self.token:
            lines.append(f"authorization: Bearer {self.token}")
        if self.path.startswith("/lls/"):
            lines.append(f"x-forwarded-for: {address}")
        if self.conditional and etag is not None:
            lines.append(f"if-none-match: {etag.decode()}")
        return "\r\n".join([*lines, "", ""]).encode()


def requests_of(tokens: list[str]) -> list[Request]:
    """Every kind, the busiest more than once."""
    ranking = [Request("GET", RANKING + query) for query in ("", "", "", "", "?limit=1", "?limit=7", "?limit=1000")]
    again = [Request("GET", path, conditional=True) for path in (RANKING, RANKING + "?limit=7")]
    callers = [Request("GET", path, token) for token in tokens for path in (RANKING, FUNDED)]
    streams = [Request("GET", STREAMS + query) for query in ("", "?status=active", "?domain=d1.example&status=active")]
    others = [Request("HEAD", RANKING), Request("GET", STREAMS, conditional=True), Request("GET", READY)]
    return [*ranking, *again, *callers, *streams, *others]


@dataclass
class Seen:
    """What one reader saw; instants by the clock that all processes share."""

    answers: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    kept: dict[str, dict[str, str]] = field(default_factory=dict)  # of each request, by snapshot, the bytes in Latin-1
    # of each connection: [snapshot or "", when its first answer had come, when the last of its requests was sent]
    stretches: list[list[list[Any]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Reader:
    """What the connections share."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.requests = requests_of(plan["tokens"])
        self.draw = Random(plan["seed"])
        self.seen = Seen()
        self.kept: dict[tuple[str, bytes], tuple[bytes, bytes, bytes]] = {}
        self.is_over = False

    def problem(self, text: str) -> None:
        if len(self.seen.problems) < 50:
            self.seen.problems.append(text)


class Connection(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, reader: Reader, number: int) -> None:
        self.reader, self.number = reader, number
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.needed = 0  # bytes of the answer that is under way, once its head is there
        self.etags: dict[str, bytes] = {}
        self.stretches: list[list[Any]] = []
        self.asked = 0
        reader.seen.stretches.append(self.stretches)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        if self.reader.is_over:
            return
        assert self.transport is not None
        self.asked += 1
        block = self.asked // ASKED_OF_AN_ADDRESS
        address = f"10.{self.number}.{block // 250}.{block % 250}"
        self.request = self.reader.draw.choice(self.reader.requests)
        self.sent_at = time.monotonic()
        self.etag = self.etags.get(self.request.path)
        self.transport.write(self.request.sent(self.etag, address))

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if not self.needed:
            end = self.buffer.find(END)
            if end < 0:
                return
            self.needed = end + len(END) + self._body_bytes(self.buffer[:end])
        if len(self.buffer) < self.needed:
            return
        if len(self.buffer) > self.needed:
            self.reader.problem(f"{self.request.name}: more bytes than announced: {self.buffer[self.needed :][:200]!r}")
        answer, self.buffer, self.needed = self.buffer, b"", 0
        self._judge(answer)
        self.ask()

    def _body_bytes(self, head: bytes) -> int:
        if self.request.method == "HEAD" or head.startswith(b"HTTP/1.1 304"):
            return 0
        at = head.find(b"content-length: ")
        return int(head[at + 16 :].split(b"\r", 1)[0])

    def _judge(self, answer: bytes) -> None:
        """Count an answer, and compare it with the one that was kept of its snapshot."""
        seen, request, status = self.reader.seen, self.request, answer[9:12].decode()
        seen.answers += 1
        seen.statuses[status] += 1
        if status == "503":
            self._stretch("")
            return
        place = answer.find(b'"snapshotId":"' if request.path == READY else b"x-snapshot-id: ")
        if status not in ("200", "304") or place < 0:
            self.reader.problem(f"{request.name}: {answer[:300]!r}")
            return
        at = place + (14 if request.path == READY else 15)
        snapshot_id = answer[at : at + ID_BYTES]
        self._stretch(snapshot_id.decode())
        if request.path == READY:
            return
        found = masked(answer, request)
        kept = self.reader.kept.setdefault((f"{status} {request.name}", snapshot_id), found)
        if found != kept:
            self.reader.problem(f"{request.name}: two answers of {snapshot_id.decode()}: {kept!r}, {found!r}"[:3000])
        if (status == "304") != (request.conditional and self.etag is not None and snapshot_id in self.etag):
            self.reader.problem(f"{request.name}, If-None-Match {self.etag!r}: {status} of {snapshot_id.decode()}")
        if request.token is None:
            place = answer.find(b"etag: ") + 6
            self.etags[request.path] = answer[place : answer.find(b"\r", place)]

    def _stretch(self, snapshot_id: str) -> None:
        if self.stretches and self.stretches[-1][0] == snapshot_id:
            self.stretches[-1][2] = self.sent_at
        else:
            self.stretches.append([snapshot_id, time.monotonic(), self.sent_at])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.reader.is_over:
            self.reader.problem(f"a connection was lost: {exc}")


def masked(answer: bytes, request: Request) -> tuple[bytes, bytes, bytes]:
    """An answer without what differs from second to second: before the date, after it, and the body."""
    end = answer.find(END)
    date = answer.find(b"\r\ndate: ") + 8
    head_end = answer.find(b"\r\nratelimit", 0, end) if request.path.startswith("/lls/") else end
    body_end = len(answer) if request.path.startswith("/lls/") else max(end + 4, len(answer) - TIMESTAMP_BYTES)
    return answer[:date], answer[date + DATE_BYTES : head_end], answer[end + 4 : body_end]


async def read(plan: dict[str, Any], reader: Reader) -> None:
    """Read until stdin ends."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    opened = []
    for number in range(len(plan["ports"]) * plan["connections"]):
        port = plan["ports"][number % len(plan["ports"])]
        opened.append(await loop.create_connection(lambda n=number: Connection(reader, n), "127.0.0.1", port))
    while not over.is_set():
        print(reader.seen.answers, flush=True)
        await asyncio.sleep(0.5)
    reader.is_over = True
    await asyncio.sleep(0.3)
    for transport, _ in opened:
        transport.close()


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    reader = Reader(plan)
    uvloop.run(read(plan, reader))
    for (name, snapshot_id), parts in reader.kept.items():
        of_request = reader.seen.kept.setdefault(name, {})
        of_request[snapshot_id.decode()] = b"\0".join(parts).decode("latin-1")
    Path(plan["result"]).write_text(json.dumps(vars(reader.seen)))


if __name__ == "__main__":
    main()
