"""Ask a server on this machine over connections that are kept open: `python -m tests.benchmarks.load --help`.

Without --rate every connection asks again as soon as it is answered: how much the server can do. With it, requests
are due at even intervals whether or not the server keeps up, and the latency of each counts from when it was due, so
that a server that stalls is not asked less. Prints one object of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_TICK_SECONDS = 0.0005


@dataclass
class Load:
    """What is asked, and what came of it."""

    requests: Iterator[bytes]
    until: float  # of time.perf_counter
    rate: float | None
    latencies: list[float] = field(default_factory=list)  # seconds
    errors: int = 0  # answers that are not 200, and connections that were lost
    idle: deque[Connection] = field(default_factory=deque)
    due: deque[float] = field(default_factory=deque)  # when each request that waits for a connection should have gone

    def free(self, connection: Connection) -> None:
        """A connection has nothing to wait for."""
        if self.rate is None:
            now = time.perf_counter()
            if now < self.until:
                connection.ask(next(self.requests), now)
        elif self.due:
            connection.ask(next(self.requests), self.due.popleft())
        else:
            self.idle.append(connection)


class Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0
        self._head = b""
        self._missing = 0  # bytes of the body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own has that interface without the name

    def ask(self, request: bytes, counted_from: float) -> None:
        """Send a request, whose latency counts from then."""
        assert self._transport is not None
        self._asked = counted_from
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A part of an answer, or all of it."""
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(_END)
            if end < 0:
                return
            place = self._head.find(_LENGTH, 0, end) + len(_LENGTH)
            length = int(self._head[place : self._head.index(b"\r", place)])
            self._missing = length - (len(self._head) - end - len(_END))
            if not self._head.startswith(b"HTTP/1.1 200 "):
                self._load.errors += 1
            self._head = b""
        if not self._missing:
            self._load.latencies.append(time.perf_counter() - self._asked)
            self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server, or the end of the load, has closed it."""
        if time.perf_counter() < self._load.until:
            self._load.errors += 1


async def run(port: int, connections: int, load: Load) -> None:
    """Put the load on the server until it is over, and wait for the last answers."""
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(lambda: Connection(load), "127.0.0.1", port)) for _ in range(connections)]
    for _, connection in opened:
        load.free(connection)
    if load.rate is None:
        await asyncio.sleep(load.until - time.perf_counter())
    else:
        await _at_rate(load, load.rate)
    await asyncio.sleep(0.05)
    for transport, _ in opened:
        transport.close()


async def _at_rate(load: Load, rate: float) -> None:
    step, next_due = 1 / rate, time.perf_counter()
    while next_due < load.until:
        now = time.perf_counter()
        while next_due <= now:
            load.due.append(next_due)
            next_due += step
        while load.due and load.idle:
            load.idle.popleft().ask(next(load.requests), load.due.popleft())
        await asyncio.sleep(_TICK_SECONDS)


def main() -> None:
    """Load the server of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, help="requests a second; as many as possible without it")
    parser.add_argument("--tokens", type=Path, help="a file of bearer tokens, used in turn")
    asked = parser.parse_args()
    tokens = asked.tokens.read_text().split() if asked.tokens else [""]
    requests = [
        f"GET {asked.path} HTTP/1.1\r\nhost: 127.0.0.1:{asked.port}\r\n"
        f"{f'authorization: Bearer {token}' if token else 'accept: */*'}\r\n\r\n".encode()
        for token in tokens
    ]
    started = time.perf_counter()
    load = Load(cycle(requests), started + asked.seconds, asked.rate)
    uvloop.run(run(asked.port, asked.connections, load))
    latencies = sorted(load.latencies)
    print(
        json.dumps(
            {
                "requests": len(latencies),
                "seconds": asked.seconds,
                "unanswered": len(load.due),
                "errors": load.errors,
                "p50_ms": _percentile(latencies, 50),
                "p99_ms": _percentile(latencies, 99),
                "max_ms": _percentile(latencies, 100),
            }
        )
    )


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000 if ordered else float("inf")


if __name__ == "__main__":
    main()
