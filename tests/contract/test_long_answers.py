"""Long answers: prepared beside the event loop, sent piece by piece, and ended for a client that takes no more."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from calling import Client, running
from published import LLS_ACTIVE, LLS_BANNED, publish
from starlette.types import ASGIApp, Message, Scope

from pipelines.api import endpoints
from pipelines.api.messages import PIECE_BYTES
from pipelines.api.responses import Streams
from pipelines.core.settings import Settings

STREAMS = "/lls/v1.0/stream"
COUNT = 6000  # some 1.1 MB
REQUESTS = 30  # of one connection: more than the kernel keeps for it


@pytest.fixture
def long(home: Path) -> Path:
    """A home with a long list of streams, most of them active."""
    listed = [(LLS_ACTIVE if at % 5 else LLS_BANNED) | {"stream_id": f"stream-{at:06}"} for at in range(COUNT)]
    publish(home, {"lls_streams": listed})
    return home


async def sent(app: ASGIApp, path: str, query: bytes = b"", accept: bytes = b"") -> tuple[list[bytes], int]:
    """The pieces of a body, and how often others had their turn until it was sent."""
    pieces: list[bytes] = []
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    async def receive() -> Message:
        raise AssertionError("nobody reads a body")

    scope: Scope = {
        "type": "http", "method": "GET", "path": path, "query_string": query, "client": ("192.0.2.1", 1),
        "headers": [(b"accept-encoding", accept)] if accept else [],
    }  # fmt: skip
    ticking = asyncio.create_task(others())
    await asyncio.sleep(0)
    turns = 0
    await app(scope, receive, send)
    ticking.cancel()
    return pieces, turns


@pytest.mark.parametrize("query", [b"", b"status=active"])
def test_a_long_answer_is_sent_in_turns(long: Path, client_for: Callable[..., Client], query: bytes) -> None:
    """No piece is larger than what the event loop writes at once, and others have a turn after each."""
    client = client_for()
    client.get(STREAMS)  # loads the snapshot
    pieces, turns = asyncio.run(sent(client.app, STREAMS, query))
    assert sum(map(len, pieces)) > 5 * PIECE_BYTES
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert turns >= len(pieces) - 1


def test_a_long_answer_is_made_beside_the_event_loop(
    long: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each filter and encoding, however many ask."""
    client = client_for()
    client.get(STREAMS)
    made: list[tuple[Any, str]] = []
    parts = Streams.parts

    def noted(self: Streams, filters: Any) -> Any:
        made.append((dict(filters), threading.current_thread().name))
        return parts(self, filters)

    monkeypatch.setattr(Streams, "parts", noted)

    async def four() -> list[bytes]:
        asked = [sent(client.app, STREAMS, b"status=active") for _ in range(4)]
        return [b"".join(pieces) for pieces, _ in await asyncio.gather(*asked)]

    bodies = asyncio.run(four())
    assert bodies == [bodies[0]] * 4
    assert asyncio.run(four()) == bodies
    assert [filters for filters, _ in made] == [{"status": "active"}]
    assert made[0][1] != threading.main_thread().name
    made.clear()
    for _ in range(2):
        asyncio.run(sent(client.app, STREAMS, b"", b"gzip"))
    assert [(filters, name != threading.main_thread().name) for filters, name in made] == [({}, True)]


def test_bodies_that_are_kept_do_not_grow_for_ever(
    long: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "STREAMS_KEPT_BYTES", 1_500_000)
    client = client_for()
    (route,) = [route for route in client.app.routes if route.path == STREAMS]  # type: ignore[attr-defined]
    for query in ("?status=active", "?domain=live.example.com", "?app=live", "?status=active&app=live"):
        assert client.get(STREAMS + query).status_code == 200
        kept = route.app._bodies  # type: ignore[attr-defined]
        assert sum(len(part) for parts in kept.values() for part in parts) <= 1_500_000
    second = publish(long, {"lls_streams": [LLS_ACTIVE]})
    assert client.get(f"{STREAMS}?status=active").headers["X-Snapshot-Id"] == second
    assert len(client.get(f"{STREAMS}?status=active").json()["streams"]) == 1


def test_a_client_that_stops_taking_is_hung_up_on(long: Path) -> None:
    """In the middle of an answer; one that is slow and takes it all has it all."""
    with running(Settings(home=long, client_timeout_seconds=1)) as address:
        url = httpx.URL(address)
        whole = httpx.get(f"{address}{STREAMS}").content
        request = f"GET {STREAMS} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * REQUESTS
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect((url.host, url.port))
            stuck.sendall(request)
            time.sleep(4)
            stuck.settimeout(20)
            taken = 0
            with suppress(ConnectionResetError):
                while part := stuck.recv(1 << 16):
                    taken += len(part)
        assert taken < REQUESTS * len(whole)
        assert httpx.get(f"{address}{STREAMS}").content == whole
