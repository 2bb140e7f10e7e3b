"""HTTP below ASGI: which requests are well-formed, and how long a client may keep the server waiting.

uvicorn's parser is strict about framing; this module checks what it leaves open. A request with no Host or with
several, of another version than 1.0 and 1.1, or with too large a head is refused with 400, in the envelope. An answer
is never sent out of turn, nor two for one request; whenever it is unclear where the next request would begin, the
connection is closed after the answer. A slow client cannot hold a connection.
"""

from __future__ import annotations

import logging
import re
import resource
from functools import cache
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pipelines.api.envelope import Clock
from pipelines.api.messages import PREPARED, Prepared, error

if TYPE_CHECKING:
    import asyncio
    from asyncio.events import TimerHandle

    from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent

MAX_HEAD_BYTES = 64 * 1024  # of a request line and its headers; the parser itself has no limit
MAX_BODY_BYTES = 1024 * 1024  # no route reads one: it is dropped, and a larger one ends the connection
FILES_KEPT_FREE = 64  # of those that the process may have open: for snapshots, logs, Redis, a JWKS
LOG_EVERY_SECONDS = 60  # about too many connections

_NOTHING, _HEAD, _BODY = range(3)  # what of a request is being received

# uri-host [":" port] of RFC 3986, by its letters; an empty one is allowed
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?")

log = logging.getLogger("mostwatched.api")


class NotAcceptable(Exception):
    """A request head that the parser accepts and this server refuses."""


@cache
def max_connections() -> int:
    """The number of connections of a process: its limit of open files, less those that it needs itself."""
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if may_open == resource.RLIM_INFINITY else max(may_open - FILES_KEPT_FREE, FILES_KEPT_FREE)


class PreparedCycle(RequestResponseCycle):
    """One request and its answer. A head that the application has prepared is written as it is.

    uvicorn looks at every letter of every header of every answer; of the busiest answer all but the date was looked at
    when its snapshot was loaded. That saves more than the security headers cost.
    """

    has_closed = False  # the client says no more; whether it still reads cannot be known

    async def receive(self) -> ASGIReceiveEvent:
        """The same as uvicorn's, and the end once the client says no more: who listens for it need not work on."""
        if not self.has_closed:
            message = await super().receive()
        return {"type": "http.disconnect"} if self.has_closed else message

    async def send(self, message: ASGISendEvent) -> None:
        """The same as uvicorn's, for such a head."""
        prepared: Prepared | None = message.get(PREPARED)  # type: ignore[assignment]
        if prepared is None or self.response_started or self.disconnected or self.flow.write_paused:
            await super().send(message)
            return
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = False
        self.expected_content_length = prepared.size
        lines = [b"%b: %b\r\n" % header for header in self.default_headers]
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((STATUS_LINE[prepared.status], *lines, prepared.lines, b"\r\n")))


class BoundedHttp(HttpToolsProtocol):
    """One connection. uvicorn's keep-alive timeout limits everything that a client can delay."""

    _logged_at = float("-inf")  # of all connections of the process

    _phase = _NOTHING
    _received = 0  # bytes of the head, or of the body, and of what came in the same read
    _is_over = False  # nothing more is read
    _has_closed = False  # the client says no more
    _answering: PreparedCycle | None = None
    _refusal: int | None = None  # a status to answer once everything before it is answered
    _whole_by: TimerHandle | None = None  # until when the request must be whole
    _taken_by: TimerHandle | None = None  # until when some of the answer must be taken

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            self._log_too_many()
            transport.abort()
        else:
            self._expect_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more, and nothing is answered."""
        if self._answering is not None:
            self._answering.disconnected = True  # before it is told that it may write again
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._is_over = True
        self._forget_the_request()
        if self._taken_by is not None:
            self._taken_by.cancel()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has said all it will: true while it is still owed an answer, which it may well read."""
        self._is_over = self._has_closed = True
        is_owed = self._is_owed()
        if is_owed and self._answering is not None:
            self._answering.has_closed = True  # safeguard: abandoned-explanation-ended
            self._answering.message_event.set()
        if is_owed and self._refusal is None:
            self.shutdown()
        return is_owed

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self._unset_keepalive_if_required()
        if self._is_over:
            return
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish()  # it is answered as if it had not asked for one; what follows is not HTTP to the parser
        except httptools.HttpParserError:
            self._refuse(400)
        else:
            if self._phase != _NOTHING or not self._is_owed():
                if self._received > (MAX_BODY_BYTES if self._phase == _BODY else MAX_HEAD_BYTES):
                    self._refuse(400)
                else:
                    self._expect_a_request()

    # --- the parser has found ---

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._phase = _HEAD

    def on_headers_complete(self) -> None:
        """A head: what follows is a body, or the next request. Raises NotAcceptable, which the parser passes on."""
        self._require_acceptable()
        super().on_headers_complete()
        # The application sees the list as it is now. Trailers, which the parser gives as headers too, go elsewhere:
        # a proxy that removes or sets a header does not look for it behind the body.
        self.headers = []
        # A client that waits to be asked for its body may send it after the answer, or the next request instead.
        if self.expect_100_continue or self.parser.should_upgrade():
            self.cycle.keep_alive = False
        self._phase = _BODY
        self._received = 0

    def on_body(self, body: bytes) -> None:
        """Bodies are not kept: no route reads one."""

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._phase = _NOTHING
        self._received = 0
        if self._whole_by is not None:
            self._forget_the_request()

    def _require_acceptable(self) -> None:
        hosts, is_chunked = [], False
        for name, value in self.headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding":
                is_chunked = True
                if value.lower() != b"chunked":
                    raise NotAcceptable
        version = self.parser.get_http_version()
        if version != "1.1" and (version != "1.0" or is_chunked):
            raise NotAcceptable
        if len(hosts) != 1 and (hosts or version == "1.1"):
            raise NotAcceptable
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise NotAcceptable
        if self._received > MAX_HEAD_BYTES:  # seldom; then without what came in the same read
            size = len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise NotAcceptable

    # --- answers ---

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Answer a request; `cycle` of uvicorn's own is the last one that came, which may be another."""
        cycle.__class__ = PreparedCycle  # uvicorn has no place to name it
        self._answering = cast("PreparedCycle", cycle)
        self._answering.has_closed = self._has_closed
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer is written, though perhaps not taken."""
        super().on_response_complete()
        if self._refusal is not None and not self._is_owed() and not self.transport.is_closing():
            self._send_refusal(self._refusal)
        left = self.transport.get_write_buffer_size()
        if left:
            self._expect_to_be_taken(left)

    def pause_writing(self) -> None:
        """The client does not take what is written, or not yet: it has as long as for a whole answer."""
        super().pause_writing()
        self._expect_to_be_taken(self.transport.get_write_buffer_size())  # safeguard: half-taken-answer-ended

    def _is_owed(self) -> bool:
        """Whether an answer is still to be written."""
        return self.cycle is not None and not self.cycle.response_complete

    def _finish(self) -> None:
        """Read no more, and hang up once everything is answered."""
        self._is_over = True
        self.shutdown()

    def _refuse(self, status: int) -> None:
        """Answer what cannot be taken, after everything before it, and hang up."""
        self._is_over = True
        if self._phase == _BODY:
            self.shutdown()  # the request has an answer already; a second one would be taken for the next one's
        elif self._is_owed():
            self._refusal = status
        else:
            self._send_refusal(status)

    def _send_refusal(self, status: int) -> None:
        reply = error(status, Clock().now_ms())
        lines: list[tuple[bytes, bytes]] = [
            *self.server_state.default_headers,
            *reply.headers,
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", reply.body)))
        self.transport.close()

    # --- time ---

    def _expect_a_request(self) -> None:
        if self._whole_by is None:
            self._whole_by = self.loop.call_later(self.timeout_keep_alive, self._is_late)

    def _forget_the_request(self) -> None:
        if self._whole_by is not None:
            self._whole_by.cancel()
            self._whole_by = None

    def _is_late(self) -> None:
        """The request is not whole in time. One that has not begun, or is answered already, needs no word."""
        self._whole_by = None
        if self._phase == _HEAD:
            self._refuse(408)
        else:
            self._finish()

    def _expect_to_be_taken(self, left: int) -> None:
        if self._taken_by is not None:
            self._taken_by.cancel()
        self._taken_by = self.loop.call_later(self.timeout_keep_alive, self._is_taken, left)

    def _is_taken(self, left: int) -> None:
        """Hang up, with what is not sent yet, when the client has taken nothing since."""
        self._taken_by = None
        still_left = self.transport.get_write_buffer_size()
        if still_left >= left:
            self.transport.abort()
        elif still_left:
            self._expect_to_be_taken(still_left)

    def _log_too_many(self) -> None:
        now = self.loop.time()
        if now - BoundedHttp._logged_at >= LOG_EVERY_SECONDS:
            BoundedHttp._logged_at = now
            log.warning("connections are refused: there are too many", extra={"connections": max_connections()})
