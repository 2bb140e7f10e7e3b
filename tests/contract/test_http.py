"""What holds on every path: the envelope, methods, HEAD, unknown paths, what nobody expected."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from calling import AS_IT_IS, Client, running
from published import CREATOR_ID, EXAMPLE, publish
from tokens import bearer, claims, jwks, sign

from pipelines.core.settings import Settings

ROUTES = [
    "/api/v1/live-stream/most-watched-creators",
    "/api/v1/live-stream/funded",
    "/lls/v1.0/stream",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/api/v1/creators/ranking",
    f"/api/v1/creators/reach?creatorId={CREATOR_ID}",
    "/",
    f"/creator?id={CREATOR_ID}",
    "/page/charts.js",
    "/page/icon.svg",
    "/page/page.css",
    "/page/page.js",
]
CHECKOUT = Path(__file__).parents[2]
TOKEN = bearer(sign(claims(CREATOR_ID, exp=4_000_000_000)))


def _is_envelope(response: httpx.Response, status: int, error: str) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert list(body) == ["isSuccess", "statusCode", "data", "errors", "timestamp"]
    assert body | {"timestamp": ""} == {
        "isSuccess": False,
        "statusCode": status,
        "data": None,
        "errors": [error],
        "timestamp": "",
    }
    assert len(body["timestamp"]) == len("2026-05-22T16:11:27.028Z")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Over the wire to a real server of the example platform."""
    home = tmp_path_factory.mktemp("served")
    publish(home, EXAMPLE)
    (home / "jwks.json").write_bytes(jwks("rsa-1"))
    with running(Settings(home=home, jwks=str(home / "jwks.json"))) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("path", ROUTES)
def test_head_is_get_without_the_body(http: httpx.Client, path: str) -> None:
    get = http.get(path, headers=TOKEN | AS_IT_IS)
    head = http.head(path, headers=TOKEN | AS_IT_IS)
    assert (get.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    if path != "/metrics":  # it has grown in between
        assert int(head.headers["Content-Length"]) == len(get.content)
    volatile = {"date", "content-length", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"}
    assert {name: head.headers[name] for name in head.headers if name not in volatile} == {
        name: get.headers[name] for name in get.headers if name not in volatile
    }


@pytest.mark.parametrize("path", [*ROUTES, "/nowhere"])
def test_the_application_sends_no_body_for_head(example_client: Client, path: str) -> None:
    """Not even to a server that would not drop it (clients in process do, too, so the application is asked itself)."""
    sent: list[Any] = []

    async def ask() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        authorization = bearer(sign(claims()))["Authorization"].encode()
        scope = {
            "type": "http",
            "method": "HEAD",
            "path": path,
            "query_string": b"",
            "headers": [(b"authorization", authorization)],
            "client": ("192.0.2.1", 50000),
        }
        await example_client.app(scope, send, send)

    asyncio.run(ask())
    start, body = sent
    assert body["body"] == b""
    assert int(dict(start["headers"])[b"content-length"]) > 0


@pytest.mark.parametrize("path", ROUTES)
def test_the_server_says_nothing_about_itself(http: httpx.Client, path: str) -> None:
    headers = http.get(path, headers=TOKEN).headers
    assert "server" not in headers


@pytest.mark.parametrize("path", [*ROUTES, "/nowhere"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "headers", [{}, TOKEN, bearer("x.y.z"), {"If-None-Match": "*"}], ids=["anonymous", "token", "bad token", "held"]
)
def test_every_answer_has_the_security_headers(
    http: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    said = http.request(method, path, headers=headers).headers
    assert said["X-Content-Type-Options"] == "nosniff"
    assert said["Referrer-Policy"] == "no-referrer"
    assert said["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = said["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "Cache-Control" in said


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"])
def test_another_method_is_405_with_allow(example_client: Client, method: str, path: str) -> None:
    response = example_client.request(method, path)
    _is_envelope(response, 405, "Method not allowed")
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1/live-stream/most-watched-creators/",
        "/api/v1/live-stream/funded/",
        "/api/v1/live-stream/Funded",
        "//api/v1/live-stream/funded",
        "/lls/v1.0/stream/",
        "/lls/v1.0/stream/x",
        "/lls/v1x0/stream",
        "/healthz/",
        "/docs/index.html",
        "/%00",
        "/..%2f..%2fetc/passwd",
        "/static/../openapi.json/",
        "/%F0%9F%98%80",
        "/api/v1/live-stream/most-watched-creators%0a",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_an_unknown_path_is_404_and_never_a_redirect(http: httpx.Client, method: str, path: str) -> None:
    response = http.request(method, path, follow_redirects=False)
    if method == "HEAD":
        assert (response.status_code, response.content) == (404, b"")
    else:
        _is_envelope(response, 404, "Not found")


def test_whatever_nobody_expected_is_500_and_says_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the reason; the caller has the number to ask about."""
    from pipelines.api import endpoints

    def fail(*_: object) -> bytes:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(endpoints, "_filters", fail)
    response = client.get("/lls/v1.0/stream")
    _is_envelope(response, 500, "Internal server error")
    assert "secret" not in response.text
    [record] = [record for record in caplog.records if record.name == "mostwatched.api" and record.exc_info]
    assert record.__dict__["request_id"] == response.headers["X-Request-Id"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", [*ROUTES[:3], "/readyz"])
def test_no_snapshot_yet_is_503_until_there_is_one(
    home: Path, jwks_file: Path, client_for: Callable[..., Client], path: str
) -> None:
    client = client_for(jwks=str(jwks_file))
    response = client.get(path, headers=TOKEN)
    _is_envelope(response, 503, "No snapshot has been published yet")
    assert int(response.headers["Retry-After"]) >= 1
    publish(home, EXAMPLE)
    assert client.get(path, headers=TOKEN).status_code == 200


def test_what_is_wrong_is_said_before_there_is_a_snapshot(
    home: Path, jwks_file: Path, client_for: Callable[..., Client]
) -> None:
    client = client_for(jwks=str(jwks_file))
    assert client.get(ROUTES[0], headers=bearer("x.y.z")).status_code == 401
    assert client.get(f"{ROUTES[0]}?limit=0").status_code == 400
    assert client.get(ROUTES[1]).status_code == 401
    assert client.get(f"{ROUTES[2]}?status=x").status_code == 400
    assert client.get("/healthz").json()["data"] == {"status": "ok"}


def test_the_main_paths_over_http(http: httpx.Client) -> None:
    """The whole way once: a token, a 401, a 304, on one connection."""
    anonymous = http.get(ROUTES[0])
    assert anonymous.json()["data"][0]["isFollowing"] is None
    assert http.get(ROUTES[0], headers=TOKEN).json()["data"][0]["isFollowing"] is False
    assert http.get(ROUTES[1], headers=TOKEN).json()["data"][0]["role"] == "host"
    assert http.get(ROUTES[1]).headers["WWW-Authenticate"] == "Bearer"
    assert http.get(ROUTES[0], headers={"If-None-Match": anonymous.headers["ETag"]}).status_code == 304
    assert [one["status"] for one in http.get(ROUTES[2]).json()["streams"]] == ["active", "banned"]
    assert http.get(ROUTES[0], headers={"Authorization": ""}).status_code == 401


def test_a_request_with_a_body_is_answered_all_the_same(http: httpx.Client) -> None:
    assert http.request("GET", ROUTES[0], content=b"x" * 100_000).status_code == 200
    assert http.post(ROUTES[0], content=b"x" * 100_000).status_code == 405
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 40_000,
    ],
    ids=["no HTTP", "another version", "a path that is not ASCII", "an endless header", "endless headers"],
)
def test_what_is_not_http_is_400_in_the_envelope(http: httpx.Client, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", http.base_url.port or 0), timeout=10) as connection:
        for start in range(0, len(sent), 16_384):
            try:
                connection.sendall(sent[start : start + 16_384])
                time.sleep(0.002)
            except OSError:
                break  # it has hung up, as it should
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionResetError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-security-policy: default-src 'none'" in head
    assert json.loads(body)["errors"] == ["Validation failed"]
    assert http.get("/healthz").status_code == 200


def test_log_lines_are_json_and_hold_no_token(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    from pipelines.core.logs import JsonLines

    caplog.set_level(logging.DEBUG, "mostwatched.api")
    client.get(f"{ROUTES[0]}?secret=s3cret", headers=TOKEN)
    client.get("/%0a%1b[31mred")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "mostwatched.api"]
    entries = [json.loads(line) for line in lines]
    requests = [entry for entry in entries if entry["event"] == "request"]
    assert [(entry["method"], entry["status"]) for entry in requests] == [("GET", 200), ("GET", 404)]
    assert requests[1]["path"] == "/\n\x1b[31mred"
    text = "".join(lines)
    assert text.isascii()
    assert text.isprintable()
    assert "s3cret" not in text
    assert TOKEN["Authorization"].split(".")[1] not in text


def test_whatever_a_process_says_is_one_line_of_json(tmp_path: Path) -> None:
    """Also Python's own warnings, and what ends a thread."""
    script = """
import threading, warnings
from pipelines.core.logs import configure_server
configure_server(None, "INFO")
warnings.warn("one\\ntwo")
def fail():
    raise ValueError("three\\x1bfour")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    warning, ended = (json.loads(line) for line in done.stderr.splitlines())
    assert "one\ntwo" in warning["event"]
    assert (ended["level"], "three\x1bfour" in ended["exception"]) == ("critical", True)
    assert done.stderr.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/plain, TEXT/HTML;q=0.1",
    ],
)
def test_a_browser_is_told_in_html_that_there_is_no_such_page(example_client: Client, accept: str) -> None:
    for path, root in (("/nothing", "./"), ("/a/b/nothing", "../../"), ("/a" * 3000, "/")):
        answer = example_client.get(path, headers={"Accept": accept, "Accept-Language": "tr"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "Böyle bir sayfa yok" in answer.text
        assert f'href="{root}"' in answer.text
        assert f'href="{root}page/page.css' in answer.text
        assert "Accept" in answer.headers["Vary"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/nothing", None), ("/nothing", "*/*"), ("/nothing", "application/json"), ("/nothing", "text/html;q=0"),
     ("/nothing", "text/htmlx"), ("/api/v1/nothing", "text/html"), ("/lls/v1.0/nothing", "text/html")],
)  # fmt: skip
def test_a_program_is_told_in_the_envelope(example_client: Client, path: str, accept: str | None) -> None:
    answer = example_client.get(path, headers={} if accept is None else {"Accept": accept})
    assert (answer.status_code, answer.json()["errors"]) == (404, ["Not found"])
