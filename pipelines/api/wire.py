"""HTTP below ASGI: a bound on what a client may send, and the envelope for what is not HTTP at all."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipelines.api.envelope import Clock
from pipelines.api.exchange import error

# Of a request line and its headers that are still incomplete; httptools itself has no limit. (One that comes whole
# in a single read, which is at most 256 kB, has done its harm.)
MAX_HEAD_BYTES = 64 * 1024


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
