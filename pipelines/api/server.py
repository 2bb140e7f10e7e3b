"""The server: uvicorn with one or several workers, and a protocol that bounds what a client may send."""

from __future__ import annotations

import functools
import logging

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from pipelines.api.app import create_app
from pipelines.api.envelope import Clock
from pipelines.api.exchange import error
from pipelines.api.telemetry import log_as_json_lines
from pipelines.settings import Settings

# Of a request line and its headers that are still incomplete; httptools itself has no limit. (One that comes whole
# in a single read, which is at most 256 kB, has done its harm.)
MAX_HEAD_BYTES = 64 * 1024

log = logging.getLogger("mostwatched.api")


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Serve until SIGINT or SIGTERM. Raises UsageError for an unusable setting, before anything listens.

    Every worker holds its own copy of the snapshot and, without Redis, its own rate limits.
    """
    log_as_json_lines(settings.log_level)
    create_app(settings)  # so that a wrong setting ends here, with its message, and not in every worker
    if workers > 1 and settings.redis_url is None:
        log.warning("rate limits are per worker: set MOSTWATCHED_REDIS_URL to share them", extra={"workers": workers})
    config = server_config(settings, host, port, workers)
    if workers == 1:
        uvicorn.Server(config).run()
    else:
        Multiprocess(config, sockets=[config.bind_socket()]).run()


def server_config(settings: Settings, host: str, port: int, workers: int = 1) -> uvicorn.Config:
    """How uvicorn is run. Proxy headers are off: whose request it is, is decided in clients.py alone."""
    return uvicorn.Config(
        functools.partial(_worker, settings),
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
    )


def _worker(settings: Settings) -> Starlette:
    """The application of one worker process; at module level, so that it can be sent to a new process."""
    log_as_json_lines(settings.log_level)
    return create_app(settings)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's own protocol, with a limit on a request's head and the envelope for what is not HTTP."""

    _head_bytes = 0  # received since the last complete head or piece of a body

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless the head has outgrown its limit."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """A head is complete: what follows is a body, or the next request."""
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bodies are not kept: no route reads one."""
        self._head_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and hang up."""
        reply = error(400, Clock().now_ms())
        lines: list[tuple[bytes, bytes]] = [
            *self.server_state.default_headers,
            *reply.headers,
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(b"".join((STATUS_LINE[400], head, b"\r\n", reply.body)))
        self.transport.close()
