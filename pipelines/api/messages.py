"""Requests and replies as plain ASGI.

Starlette's Request and Response objects would cost more than the work itself on the hot path (the body is
prepared bytes), so a reply is three values and a request is read straight from the ASGI scope.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote_to_bytes

from starlette.types import Message, Receive, Scope, Send

from pipelines.api import envelope

Header = tuple[bytes, bytes]

JSON = (b"content-type", b"application/json")
# On every answer, for a browser that is led to it: take it for what it says it is, tell nobody where a link was found,
# and let no other site embed it. (Strict-Transport-Security is for whoever terminates TLS to say.)
SAFE: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# and on all but the page: nothing is loaded or run
SAFE_DATA: tuple[Header, ...] = (
    *SAFE,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
NO_STORE = (b"cache-control", b"no-store")
STATUS_KEY = "mostwatched.status"  # where a reply leaves its status for the metrics
PIECE_BYTES = 64 << 10  # of a long body, at a time: some 0.1 ms of the event loop
PREPARED = "mostwatched.prepared"  # where a reply's start carries its head as bytes

_ENTITY_TAG = re.compile(rb'(?:W/)?("[^"]*")')


class Prepared:
    """The head of an answer as bytes, for our own server (http_protocol.py); others take the headers beside it."""

    __slots__ = ("lines", "size", "status")

    def __init__(self, status: int, headers: Sequence[Header], size: int, lines: bytes = b"") -> None:
        """`lines` are of further headers, prepared before. Raises ValueError for a header that would end a line."""
        # nobody looks at these again
        text = b"".join([part for header in headers for part in header])
        if b"\r" in text or b"\n" in text or b"\0" in text:
            raise ValueError(f"a header holds the end of a line: {headers}")
        self.status = status
        self.lines = lines + b"".join([b"%b: %b\r\n" % header for header in headers])
        self.size = size  # of the body


class Reply:
    """One HTTP response; an ASGI application, so Starlette takes it wherever it takes a Response."""

    __slots__ = ("body", "headers", "prepared", "status")

    def __init__(self, status: int, headers: Sequence[Header], body: bytes, prepared: Prepared | None = None) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.prepared = prepared  # the same status and headers, if they were prepared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; for HEAD, the same headers (Content-Length too) and no body."""
        scope[STATUS_KEY] = self.status
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers, PREPARED: self.prepared}
        await send(start)
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


Part = bytes | memoryview


class ReplyInPieces(Reply):
    """A reply with a long body: sent piece by piece, as the client takes them, with everybody else's turn between."""

    __slots__ = ("parts",)

    def __init__(self, status: int, headers: Sequence[Header], parts: Sequence[Part]) -> None:
        super().__init__(status, headers, b"")
        self.parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; for HEAD, the same headers and no body."""
        scope[STATUS_KEY] = self.status
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for piece in pieces(self.parts) if scope["method"] != "HEAD" else ():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # safeguard: long-answers-take-turns
        await send({"type": "http.response.body", "body": b""})


def pieces(parts: Iterable[Part]) -> Iterator[bytes]:
    """Cut the parts of a body into pieces of at most PIECE_BYTES."""
    for part in parts:
        for start in range(0, len(part), PIECE_BYTES):
            yield bytes(part[start : start + PIECE_BYTES])


class Head:
    """The headers that many answers of status 200 share, prepared once."""

    def __init__(self, headers: Sequence[Header]) -> None:
        """Raises ValueError for a header that would end a line."""
        self._headers = tuple(headers)
        self._lines = Prepared(200, headers, 0).lines

    def reply(self, body: bytes, *own: Header) -> Reply:
        """An answer with these headers, its own, and its length."""
        size = len(body)
        own = (content_length(size), *own)
        return Reply(200, (*self._headers, *own), body, Prepared(200, own, size, self._lines))


def with_headers(message: Message, headers: Sequence[Header]) -> Message:
    """The start of an answer with further headers; its head stays prepared, if it was."""
    prepared: Prepared | None = message.get(PREPARED)
    if prepared is not None:
        prepared = Prepared(prepared.status, headers, prepared.size, prepared.lines)
    return {**message, "headers": [*message["headers"], *headers], PREPARED: prepared}


def content_length(size: int) -> Header:
    """The Content-Length header of a body of that many bytes."""
    return (b"content-length", b"%d" % size)


def error(status: int, now_ms: int, *headers: Header, message: str | None = None) -> Reply:
    """An error in the envelope. Never stored by a cache: the next request may well succeed."""
    body = envelope.failure(status, now_ms, message)
    return Reply(status, [JSON, content_length(len(body)), NO_STORE, *SAFE_DATA, *headers], body)


async def client_left(receive: Receive) -> None:
    """Wait until the client has closed the connection, or its side of it. The body is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def values_of(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """The values of every header field of that (lower-case) name, in order."""
    return [value for key, value in headers if key == name]


def matches_etag(if_none_match: list[bytes], etag: bytes) -> bool:
    """Whether If-None-Match (all its lines) names `etag` by the weak comparison of RFC 9110, or is `*`."""
    if not if_none_match:
        return False
    wanted = etag.removeprefix(b"W/")
    joined = b",".join(if_none_match)
    return joined.strip() == b"*" or wanted in _ENTITY_TAG.findall(joined)


def query_values(query: bytes, name: bytes) -> list[str]:
    """Every value of one query parameter, decoded. Raises ValueError if such a value is not UTF-8.

    Other parameters are not looked at: unknown ones are ignored, however odd.
    """
    values = []
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if unquote_to_bytes(key.replace(b"+", b" ")) == name:
            values.append(unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8"))
    return values


def query_names(query: bytes) -> list[str]:
    """The names of all parameters of a query string, decoded; what is not UTF-8 is shown as it was sent."""
    pairs = [pair.partition(b"=")[0] for pair in query.split(b"&") if pair]
    return [unquote_to_bytes(name.replace(b"+", b" ")).decode("utf-8", "backslashreplace") for name in pairs]
