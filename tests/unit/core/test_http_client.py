"""One HTTP client for keys and webhooks: what it says of a failure, and what it takes from a server and no more."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys

import pytest
from faults.key_server import HEAD, body, key_server, self_signed

from pipelines.core import http_client


def get(url: str, **how: int) -> tuple[int, bytes]:
    return http_client.request("GET", url, seconds=5, max_bytes=1000, **how)


def test_no_log_line_holds_the_url(caplog):
    """The library's own lines would: a webhook's secret stands in its path."""
    with key_server() as server, caplog.at_level(logging.DEBUG):
        server.answers(body(b"{}"))
        assert get(f"{server.url}?SECRET") == (200, b"{}")
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1:1"])
def test_a_failure_is_told_without_the_address(host):
    with pytest.raises(OSError) as failure:  # noqa: PT011  the text is compared below
        get(f"http://{host}/SECRET")
    assert str(failure.value)
    assert "SECRET" not in str(failure.value)
    assert host not in str(failure.value)


def test_an_unknown_certificate_is_told(tmp_path):
    with key_server(self_signed(tmp_path)) as server, pytest.raises(OSError, match="certificate verify failed"):
        get(server.url)


def test_redirects_end():
    """A server that sends us in a circle is asked once, and once for each redirect that is followed."""
    with key_server() as server:
        server.answers(b"HTTP/1.1 302 F\r\nLocation: /jwks.json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert get(server.url, redirects=3) == (302, b"")
        assert server.asked == 4
        server.answers(b"HTTP/1.1 302 F\r\nLocation: https://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
        assert get(server.url) == (302, b""), "where none is followed it does not matter where it leads"
        assert server.asked == 5


def test_nothing_is_unpacked():
    """A few bytes that become many are taken as they came."""
    packed = gzip.compress(b"x" * 10_000)
    with key_server() as server:
        server.answers(body(packed).replace(HEAD, HEAD + b"Content-Encoding: gzip\r\n"))
        assert get(server.url) == (200, packed)


def test_the_content_of_an_error_is_not_read():
    with key_server() as server:
        server.answers(b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n")
        assert get(server.url) == (500, b"")


def test_an_unknown_version_of_http_is_refused():
    """httpx would read it."""
    with key_server() as server:
        server.answers(body(b"{}").replace(b"HTTP/1.1", b"HTTP/9.9"))
        with pytest.raises(OSError, match="an unknown version of HTTP"):
            get(server.url)


def test_httpx_is_imported_by_who_sends_something():
    """No command waits for it that sends nothing."""
    code = "import sys, pipelines.cli, pipelines.jobs.notify, pipelines.api.keys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"httpx", "httpcore", "anyio"} & set(done.stdout.split())
