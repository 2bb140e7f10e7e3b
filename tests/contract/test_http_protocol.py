"""HTTP below the application, over real sockets: what is no request, whose turn an answer is, how long all may take."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from calling import AS_IT_IS, Client, running
from published import EXAMPLE, many, publish
from tokens import bearer, claims, jwks, sign

from pipelines.api import http_protocol
from pipelines.api.app import create_app
from pipelines.api.messages import Prepared
from pipelines.core.settings import Settings

NEXT = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PATIENCE = 1  # seconds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    home = tmp_path_factory.mktemp("served")
    publish(home, EXAMPLE | many(1000))
    with running(Settings(home=home, client_timeout_seconds=PATIENCE)) as url:
        yield "127.0.0.1", urlsplit(url).port or 0


def answers(connection: socket.socket) -> list[int]:
    """The statuses of everything until the server hangs up."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            received += chunk
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def ask(address: tuple[str, int], sent: bytes) -> list[int]:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        return answers(connection)


def get(*headers: str, target: str = "/healthz", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join((f"GET {target} {version}", "Host: x", *headers, "", "")).encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        get("Host: y"),
        get("Host: x"),
        b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: user@x\r\n\r\n",
        get(version="HTTP/2.0"),
        get("Transfer-Encoding: identity"),
        get("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        get("Transfer-Encoding: chunked", version="HTTP/1.0") + b"0\r\n\r\n",
        get("Content-Length: 5", "Content-Length: 5") + b"hello",
        get("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        get("X: " + "y" * http_protocol.MAX_HEAD_BYTES),
    ],
    ids=str,
)
def test_a_request_that_could_be_read_in_two_ways_is_400_and_the_last(address: tuple[str, int], sent: bytes) -> None:
    assert ask(address, sent + NEXT) == [400]


def test_the_head_is_measured_without_what_came_with_it(address: tuple[str, int]) -> None:
    """Many small requests in one packet are not one large head."""
    assert ask(address, get("X: " + "y" * 1000) * 100 + NEXT) == [200] * 101


def test_a_refusal_waits_for_its_turn(address: tuple[str, int]) -> None:
    """What was asked before is answered before; a client must not take the 400 for the answer to that."""
    assert ask(address, get() * 3 + b"nonsense\r\n\r\n") == [200, 200, 200, 400]


def test_a_bad_body_gets_no_second_answer(address: tuple[str, int]) -> None:
    assert ask(address, get("Transfer-Encoding: chunked") + b"zz\r\n" + NEXT) == [200]


@pytest.mark.parametrize(
    "headers",
    [["Expect: 100-continue", "Content-Length: 5"], ["Connection: Upgrade", "Upgrade: websocket"]],
    ids=["a body that may never come", "another protocol"],
)
def test_the_connection_ends_where_it_is_unclear_what_comes_next(address: tuple[str, int], headers: list[str]) -> None:
    """Else the next request could be taken for the body, or never be answered."""
    assert ask(address, get(*headers) + NEXT) == [200]


def test_trailers_are_no_headers(tmp_path: Path) -> None:
    """A proxy that sets or removes Authorization or X-Forwarded-For does not look behind the body."""
    publish(tmp_path, EXAMPLE)
    (tmp_path / "jwks.json").write_bytes(jwks("rsa-1"))
    token = bearer(sign(claims(exp=4_000_000_000)))["Authorization"].encode()
    request = get("Transfer-Encoding: chunked", "Connection: close", target="/api/v1/live-stream/funded")
    with running(Settings(home=tmp_path, jwks=str(tmp_path / "jwks.json"))) as url:
        port = urlsplit(url).port or 0
        assert ask(("127.0.0.1", port), request + b"0\r\nAuthorization: " + token + b"\r\n\r\n") == [401]


def test_a_client_that_has_said_all_is_answered(address: tuple[str, int]) -> None:
    for sent, statuses in ((get() * 3, [200] * 3), (get() * 3 + b"x\r\n\r\n", [200] * 3 + [400]), (b"GET /", [])):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert answers(connection) == statuses


@pytest.mark.parametrize(
    ("sent", "then", "statuses"),
    [
        (b"", b"", []),
        (b"", b"\r\n", []),
        (b"GET /", b"x", [408]),
        (get() + b"GET / HTTP/1.1\r\nX: ", b"x", [200, 408]),
        (get("Content-Length: 1000"), b"x", [200]),
        (get(), b"\r\n", [200]),
    ],
    ids=["nothing", "empty lines", "a request line", "a second head", "a body", "empty lines after a request"],
)
def test_a_slow_client_is_not_waited_for(
    address: tuple[str, int], sent: bytes, then: bytes, statuses: list[int]
) -> None:
    """However busily it goes on, the request must be whole in time."""
    started = time.monotonic()
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        while then and time.monotonic() - started < PATIENCE * 0.8:
            connection.sendall(then)
            time.sleep(0.1)
        assert answers(connection) == statuses
    assert PATIENCE * 0.9 < time.monotonic() - started < PATIENCE + 5


@pytest.mark.slow
def test_a_client_that_does_not_read_is_given_up(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    """Its answers are not kept for ever, and nothing unexpected comes of it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(address)
        connection.sendall(get(target="/api/v1/live-stream/most-watched-creators?limit=1000") * 100)
        time.sleep(2.5 * PATIENCE)
        assert len(answers(connection)) < 100
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_client_that_goes_away_before_its_answers_is_no_error(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    connection = socket.create_connection(address, timeout=10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sendall(get(target="/api/v1/live-stream/most-watched-creators?limit=1000") * 100)
    time.sleep(0.3)  # until the server cannot write any more
    connection.close()
    assert httpx.get("http://{}:{}/healthz".format(*address)).status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_connections_beyond_the_limit_are_refused(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files are kept free for snapshots; it is said once."""
    time.sleep(PATIENCE)  # until those of the tests before are gone
    monkeypatch.setattr(http_protocol, "max_connections", lambda: 5)
    connections = [socket.create_connection(address, timeout=10) for _ in range(10)]
    refused = 0
    for connection in reversed(connections):
        with connection:
            connection.sendall(NEXT)
            refused += answers(connection) == []
    assert refused >= 5
    assert [record.levelname for record in caplog.records if "too many" in record.message] == ["WARNING"]


def test_a_prepared_head_says_what_the_application_says(tmp_path: Path) -> None:
    """Our server writes it as bytes; any other server writes the headers beside it."""
    publish(tmp_path, EXAMPLE)
    settings = Settings(home=tmp_path)
    path = "/api/v1/live-stream/most-watched-creators"
    elsewhere = Client(create_app(settings)).get(path)
    with running(settings) as url:
        for _ in range(2):
            here = httpx.get(url + path, headers=AS_IT_IS)
            names = [name for name, _ in here.headers.raw]
            assert sorted(name for name in names if name not in (b"date", b"connection")) == sorted(
                name for name, _ in elsewhere.headers.raw
            )
            assert len(set(names)) == len(names)
            assert {**here.headers, **elsewhere.headers} == dict(here.headers)
            assert len(here.content) == len(elsewhere.content)
        port = urlsplit(url).port or 0
        assert ask(("127.0.0.1", port), get("Connection: close", target=path) + NEXT) == [200]
        assert ask(("127.0.0.1", port), get(target=path).replace(b"GET", b"HEAD") + NEXT) == [200, 200]


def test_a_prepared_header_cannot_end_a_line() -> None:
    with pytest.raises(ValueError, match="line"):
        Prepared(200, [(b"x-data-until", b"2026\r\nSet-Cookie: a=b")], 0)
