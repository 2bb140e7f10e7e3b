"""Behind a proxy: the client that it names, sockets to listen on, cookies behind a prefix and TLS."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from calling import Client
from published import EXAMPLE, publish

from pipelines.api.clients import Clients, client_of, networks
from pipelines.api.sockets import inherited_socket, unix_socket
from pipelines.core.errors import MostwatchedError, UsageError

TRUSTED = networks(("10.0.0.0/8", "2001:db8::/32"))
STREAMS = "/lls/v1.0/stream"


def client(headers: list[tuple[str, str]], peer: str | None = "10.0.0.1", trusted: tuple[str, ...] = ()) -> str:
    scope = {
        "client": (peer, 1) if peer else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    return client_of(scope, networks(trusted) if trusted else TRUSTED)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43")], "192.0.2.60"),
        ([("forwarded", 'For="[2001:DB8:cafe::17]:4711"')], "2001:db8:cafe::17"),
        ([("forwarded", "for=192.0.2.43, for=198.51.100.17, for=10.0.0.9")], "198.51.100.17"),
        ([("forwarded", "for=192.0.2.43"), ("forwarded", 'proto=https; for="198.51.100.17:80"')], "198.51.100.17"),
        ([("forwarded", "for=192.0.2.43, for=_hidden")], "10.0.0.1"),
        ([("forwarded", "for=192.0.2.43, for=unknown, for=10.0.0.9")], "10.0.0.9"),
        ([("forwarded", "for=192.0.2.43, proto=https")], "10.0.0.1"),
        ([("forwarded", "before=192.0.2.43")], "10.0.0.1"),
        ([("x-real-ip", "192.0.2.60")], "192.0.2.60"),
        ([("x-real-ip", "nobody")], "10.0.0.1"),
        ([("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2"), ("x-real-ip", "192.0.2.3")], "192.0.2.1"),
        ([("forwarded", "for=192.0.2.2"), ("x-real-ip", "192.0.2.3")], "192.0.2.2"),
        ([("x-forwarded-for", ""), ("forwarded", "for=192.0.2.2")], "10.0.0.1"),
    ],
)
def test_the_client_that_a_trusted_proxy_names(headers: list[tuple[str, str]], expected: str) -> None:
    assert client(headers) == expected
    assert client(headers, peer="192.0.2.99") == "192.0.2.99", "anybody else names nobody"


def test_the_unix_socket_is_a_proxy_if_it_is_listed() -> None:
    named = [("x-forwarded-for", "192.0.2.60")]
    assert client(named, peer=None) == "unknown"
    assert client(named, peer=None, trusted=("unix",)) == "192.0.2.60"
    assert client([], peer=None, trusted=("unix",)) == "unknown"
    assert client(named, trusted=("unix",)) == "10.0.0.1"


def test_a_proxy_that_is_not_listed_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """All its clients would share one rate limit in silence."""
    clients = Clients(TRUSTED)
    for peer in ("10.0.0.1", "192.0.2.7", "192.0.2.8"):
        for headers in ([], [(b"x-forwarded-for", b"192.0.2.60")]):
            clients.of({"client": (peer, 1), "headers": headers})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "MOSTWATCHED_TRUSTED_PROXIES" in record.message
    assert (record.__dict__["peer"], record.__dict__["header"]) == ("192.0.2.7", "x-forwarded-for")


def test_cookies_stay_under_a_prefix_and_are_secure_behind_tls(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, EXAMPLE)
    page = client_for()
    assert page.get("/?lang=tr").headers["Set-Cookie"] == "lang=tr; Max-Age=31536000; SameSite=Lax"
    behind = page.get("/?lang=tr", headers={"X-Forwarded-Proto": "https"})
    assert behind.headers["Set-Cookie"].endswith("; Secure")


def serving(home: Path, *options: str, descriptors: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    (home / "tmp").mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MOSTWATCHED_TRUSTED_PROXIES": "unix,127.0.0.1",
        "TMPDIR": str(home / "tmp"),
    }
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), "serve", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, pass_fds=descriptors)


def answers(http: httpx.Client, server: subprocess.Popen[str]) -> list[str]:
    """What is left of the rate limits of two clients whom a proxy names, one of whom asked before."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if http.get("/readyz").status_code == 200:
                break
        except httpx.TransportError:
            pass
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    named = ("192.0.2.1", "192.0.2.1", "192.0.2.2")
    return [http.get(STREAMS, headers={"X-Forwarded-For": name}).headers["X-RateLimit-Remaining"] for name in named]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket(home: Path, tmp_path: Path, workers: str) -> None:
    """Made for its group, taken over from a dead server, gone with a living one."""
    publish(home, EXAMPLE)
    path = tmp_path / "api.sock"
    unix_socket(path).close()
    assert path.exists(), "what a killed server leaves"
    server = serving(home, "--uds", str(path), "--workers", workers)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://api") as http:
            left = answers(http, server)
        if workers == "1":
            assert left == ["99", "98", "99"]
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(MostwatchedError, match="Somebody listens"):
            unix_socket(path)
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
        assert server.returncode == 0
        assert not path.exists()
        assert not list((home / "tmp").glob("**/serve-*")), "what it had prepared, private tables too, is gone"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_an_inherited_socket(home: Path, tmp_path: Path, family: socket.AddressFamily) -> None:
    """As systemd opens one: of any family, with the clients' addresses as they are."""
    publish(home, EXAMPLE)
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "given.sock"))
        opened.listen(16)
        server = serving(home, "--fd", str(opened.fileno()), descriptors=(opened.fileno(),))
        try:
            transport = httpx.HTTPTransport(uds=None if family == socket.AF_INET else str(tmp_path / "given.sock"))
            host = f"127.0.0.1:{opened.getsockname()[1]}" if family == socket.AF_INET else "api"
            with httpx.Client(transport=transport, base_url=f"http://{host}") as http:
                assert answers(http, server) == ["99", "98", "99"]
        finally:
            server.kill()
            server.wait()


def test_what_cannot_be_listened_on_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("somebody's")
    with pytest.raises(UsageError, match="cannot be listened on"):
        unix_socket(file)
    assert file.read_text() == "somebody's"
    with pytest.raises(UsageError, match="cannot be listened on"):
        unix_socket(tmp_path / "nowhere" / "api.sock")
    with file.open() as opened, pytest.raises(UsageError, match="is no socket"):
        inherited_socket(opened.fileno())
    with pytest.raises(UsageError, match="is no socket"):
        inherited_socket(999)
    with socket.socket() as silent, pytest.raises(UsageError, match="does not listen"):
        inherited_socket(os.dup(silent.fileno()))
