"""An S3 server on loopback whose network can be made bad: answers of 500, answers that never come, bodies cut short."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import obstore
from moto.server import create_backend_app
from obstore.store import S3Store
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "AKIATESTTESTTESTTEST", "s3cretS3CRETs3cretS3CRETs3cretS3CRETs3cr"

Fault = str  # "": none; see `Server`
Plan = Callable[[int, str, str], Fault]  # (number of the request, method, path) -> fault


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Nothing: thousands of lines would follow every failure."""


class Server:
    """What goes wrong is decided request by request.

    "500"   refused, nothing done            "lost"   done, but the answer never arrives
    "cut"   done, half the answer arrives    "slow"   done, and the answer takes its time
    "down"  the connection is closed at once  "stall"  nothing done, and no answer for `stalls_seconds`
    "late"  done, and the answer comes after `stalls_seconds`
    """

    stalls_seconds = 2.5
    ignores_conditions = False  # as some stores do, in silence
    compares_etags_without_quotes = False  # as the object gateway of Ceph 16 does: a quoted one never holds
    refuses_if_match = False  # whatever it says

    def __init__(self) -> None:
        self._app = create_backend_app(
            "s3"
        )  # by itself: to find out the service of a request takes as long as the rest
        self._lock = threading.Lock()
        self.plan: Plan = lambda number, method, path: ""
        self.requests: list[tuple[str, str]] = []
        self.faults = 0
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self.requests.append((method, path))
            fault = self.plan(len(self.requests), method, path)
            self.faults += bool(fault)
        if fault == "500":
            environ["wsgi.input"].read()
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        if fault == "stall":
            time.sleep(self.stalls_seconds)
            fault = "down"
        if fault == "down":
            self._hang_up(environ)
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        if self.ignores_conditions:
            environ = {name: environ[name] for name in environ if name not in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")}
        if "HTTP_IF_MATCH" in environ:
            etag = environ["HTTP_IF_MATCH"]
            if self.refuses_if_match:
                environ["HTTP_IF_MATCH"] = '"0"'
            elif self.compares_etags_without_quotes:
                environ["HTTP_IF_MATCH"] = '"0"' if etag.startswith('"') else f'"{etag}"'
        with self._lock:  # moto keeps its buckets in plain dictionaries
            body = b"".join(self._app(environ, start_response))
        if fault == "late":
            time.sleep(self.stalls_seconds)
        if fault == "slow":
            time.sleep(0.3)
        if fault == "lost":
            self._hang_up(environ)
        if fault == "cut":
            return self._half(body, environ)
        return [body]

    def _half(self, body: bytes, environ: dict[str, Any]) -> Iterator[bytes]:
        yield body[: len(body) // 2]
        self._hang_up(environ)

    @staticmethod
    def _hang_up(environ: dict[str, Any]) -> None:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


class Bucket:
    """One bucket of a server, as somebody sees it who is not the product."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.store = S3Store(
            name,
            config={"endpoint": server.url, "region": "us-east-1", "access_key_id": KEY, "secret_access_key": SECRET},
            client_options={"allow_http": True},
        )

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def names(self, under: str = "") -> list[str]:
        return sorted(each["path"] for page in obstore.list(self.store, under or None) for each in page)

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self.store, name).bytes())

    def write(self, name: str, content: bytes) -> None:
        obstore.put(self.store, name, content)

    def remove(self, name: str) -> None:
        obstore.delete(self.store, name)

    def restore(self, kept: Mapping[str, bytes]) -> None:
        """Make it hold these objects, as they were, and no others."""
        there = {each["path"]: each["e_tag"] for page in obstore.list(self.store) for each in page}
        for name in there.keys() - kept.keys():
            self.remove(name)
        for name, content in kept.items():
            if there.get(name) != f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"':
                self.write(name, content)

    def upload(self, folder: Path, under: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.write(f"{under}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    @contextmanager
    def network(self, plan: Plan) -> Iterator[None]:
        """Inside, requests go wrong by a plan that counts them from 1."""
        before = len(self.server.requests)
        self.server.plan = lambda number, method, path: plan(number - before, method, path)
        try:
            yield
        finally:
            self.server.plan = lambda number, method, path: ""


def bad(seed: object, share: float, kinds: str = "500 lost cut slow down") -> Plan:
    """A network on which a share of requests goes wrong."""
    draw = Random(str(seed))
    return lambda number, method, path: draw.choice(kinds.split()) if draw.random() < share else ""


def broken_from(first: int) -> Plan:
    """A network that ends at the `first` request."""
    return lambda number, method, path: "down" if number >= first else ""
