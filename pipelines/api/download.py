"""Download a URL with a limit on its size and on the total time.

The timeout of a socket limits the wait for each piece only, so a server that sends one byte now and then would never
end. A timer therefore closes the connection once the total time is over.
"""

from __future__ import annotations

import functools
import http.client
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any


def download(url: str, *, max_bytes: int, seconds: float) -> bytes:
    """The body behind an http(s) URL. Raises OSError or ValueError."""
    with _Deadline(seconds) as deadline:
        # no ProxyHandler: its addresses would come from the environment, which core/settings.py alone reads
        opener = urllib.request.build_opener(
            _SameScheme, urllib.request.ProxyHandler({}), _Http(deadline), _Https(deadline)
        )
        try:
            with opener.open(url, timeout=seconds) as response:
                content: bytes = response.read(max_bytes + 1)
        except http.client.HTTPException as error:
            raise OSError(f"that is not HTTP: {error!r}") from error
        deadline.check()  # a connection that was cut looks like one that was closed
    if len(content) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes} bytes")
    return content


class _Deadline:
    """Cuts the connections it watches when the time is over."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._is_over = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for watched in self._watched:
                watched.close()
            self._watched.clear()

    def check(self) -> None:
        """Raises TimeoutError once the time is over."""
        if self._is_over:
            raise TimeoutError("it takes too long")

    def watch(self, connection: socket.socket) -> None:
        """A duplicate is kept: TLS takes the socket itself over. Raises TimeoutError."""
        with self._lock:
            self.check()
            self._watched.append(connection.dup())

    def _cut(self) -> None:
        with self._lock:
            self._is_over = True
            for watched in self._watched:
                with suppress(OSError):
                    watched.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    deadline: _Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _TlsConnection(http.client.HTTPSConnection, _Connection):
    """HTTPSConnection connects by its next class, which is the one above, and then shakes hands."""


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._connection: Any = functools.partial(_watched, _Connection, deadline)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._connection: Any = functools.partial(_watched, _TlsConnection, deadline)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


def _watched(kind: type[_Connection], deadline: _Deadline, host: str, **options: Any) -> _Connection:
    connection = kind(host, **options)
    connection.deadline = deadline
    return connection


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Redirects may not leave the scheme: over http anybody could answer, and file: is our own disk."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl).scheme != urllib.parse.urlsplit(req.full_url).scheme:
            raise urllib.error.HTTPError(newurl, code, "a redirect to another scheme", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
