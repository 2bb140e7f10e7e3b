"""How the tests call the API: in process with a clock that stands still, or over the wire to a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from tokens import NOW

from pipelines.api.app import create_app, server_config
from pipelines.api.envelope import Clock
from pipelines.core.settings import Settings

AS_IT_IS = {"Accept-Encoding": "identity"}  # bodies as they are; test_compression.py asks for others


class StoppedClock:
    """A clock that stands at NOW until a test moves it."""

    def __init__(self) -> None:
        self.us = NOW * 1_000_000

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)

    @property
    def clock(self) -> Clock:
        return Clock(now_ms=lambda: self.us // 1000, monotonic_us=lambda: self.us)


class Client:
    """Calls an application in process. Its background watch is not running: every request looks for itself."""

    def __init__(self, app: Starlette, peer: str = "192.0.2.1") -> None:
        self.app = app
        self._peer = peer

    def burst(self, count: int, path: str, peer: str | None = None) -> list[int]:
        """The statuses of that many GETs, one after the other."""

        async def call() -> list[int]:
            transport = httpx.ASGITransport(self.app, client=(peer or self._peer, 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AS_IT_IS) as client:
                return [(await client.get(path)).status_code for _ in range(count)]

        return asyncio.run(call())

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(options.pop("peer", self._peer), 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AS_IT_IS) as client:
                return await client.request(method, path, **options)

        return asyncio.run(call())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One GET."""
        return self.request("GET", path, **options)


@contextmanager
def running(
    settings: Settings, clock: Clock | None = None, around: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> Iterator[str]:
    """A real server in a thread, with something `around` the application if need be; gives its address."""
    config = server_config(settings, "127.0.0.1", 0)
    # the same application without `_worker`, which would take over this process's logging
    config.app = lambda: around(create_app(settings, clock))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
