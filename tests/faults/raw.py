"""HTTP/1.1 over a plain socket: requests to the byte, also such as no client library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"
EXPLANATION = "/api/v1/creators/explanation"
GUARDED = (RANKING, FUNDED, EXPLANATION)  # who a caller is, is looked at here
STREAMS = "/lls/v1.0/stream"
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """One response; header names in lower case, the values of a repeated one joined."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection, kept alive. Raises OSError when it breaks."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str | None = None) -> None:
        where = (source, 0) if source else None
        self._socket = socket.create_connection((host, port), timeout=PATIENCE_SECONDS, source_address=where)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self, method: str = "GET") -> Answer:
        """The next answer. Raises ConnectionError when there is none."""
        line = self._stream.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        status = int(line.split(b" ", 2)[1])
        headers: dict[str, str] = {}
        while (line := self._stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        size = 0 if method == "HEAD" or status == 304 else int(headers.get("content-length", 0))
        return Answer(status, headers, self._stream.read(size))

    def get(self, path: str, *headers: str, method: str = "GET") -> Answer:
        """One request and its answer."""
        self.send(request(path, *headers, method=method))
        return self.receive(method)


def request(path: str, *headers: str | bytes, method: str = "GET") -> bytes:
    """A request with those header lines, which are sent as they are."""
    lines = [line if isinstance(line, bytes) else line.encode("utf-8") for line in headers]
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), b"Host: api.test", *lines, b"", b""])


def once(port: int, path: str, *headers: str | bytes) -> Answer:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        connection.send(request(path, *headers))
        return connection.receive()


def envelope_problem(answer: Answer, status: int, messages: Sequence[str]) -> str | None:
    """What is wrong with an error in the envelope; None when nothing is."""
    if answer.status != status:
        return f"{answer.status} instead of {status}"
    try:
        body = answer.json()
        timestamp = body.pop("timestamp")
    except (ValueError, AttributeError, KeyError):
        return "not in the envelope"
    if body != {"isSuccess": False, "statusCode": status, "data": None, "errors": list(messages)}:
        return f"another body: {answer.body[:200]!r}"
    if len(timestamp) != 24 or answer.headers.get("content-type") != "application/json":
        return "another timestamp or content type"
    return None if answer.headers.get("cache-control") == "no-store" else "it may be stored"


def refusal_problem(answer: Answer) -> str | None:
    """What is wrong with a 401; None when nothing is."""
    if problem := envelope_problem(answer, 401, ["Authentication required"]):
        return problem
    return None if answer.headers.get("www-authenticate", "").startswith("Bearer") else "no WWW-Authenticate"
