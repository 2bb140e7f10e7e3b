"""The configuration of docs/how-to/deploy-behind-nginx.md, in a real Varnish before a real server."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from calling import StoppedClock, running
from published import CREATOR_ID, EXAMPLE, FOLLOWER, many, publish
from tokens import bearer, claims, jwks, sign

from pipelines.core.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deploy-behind-nginx.md"
RANKING = "/api/v1/live-stream/most-watched-creators"
RANGE = "/api/v1/creators/ranking"


@pytest.fixture(scope="module")
def varnish(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; the server behind it has the documents' examples and a hundred creators."""
    program = shutil.which("varnishd") or shutil.which("/usr/sbin/varnishd")
    if program is None:
        pytest.skip("the configuration for Varnish is not tried: no Varnish is installed here")
    folder = tmp_path_factory.mktemp("varnish")
    follows = [{"user_id": FOLLOWER, "creator_id": row["creator_id"]} for row in many(1)["creators"]]
    publish(folder, many(100) | {"creator_reach": EXAMPLE["creator_reach"], "private/follows": follows})
    (folder / "jwks.json").write_bytes(jwks("rsa-1"))
    settings = Settings(home=folder, jwks=str(folder / "jwks.json"), trusted_proxies=("127.0.0.1",))
    with running(settings, StoppedClock().clock) as server, socket.socket() as free:
        (block,) = re.findall(r"^```vcl\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        assert block.count('"8000"') == 1
        (folder / "default.vcl").write_text(block.replace("8000", server.rpartition(":")[2]))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [program, "-F", "-j", "none", "-n", str(folder / "work"), "-a", f"127.0.0.1:{port}"]
        process = subprocess.Popen(
            [*command, "-f", str(folder / "default.vcl"), "-s", "malloc,32m"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 60
    while True:
        if process.poll() is not None:
            pytest.fail(process.communicate()[0].decode())
        try:
            if httpx.get(f"{address}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < give_up_at, "no answer within a minute"
        time.sleep(0.1)


def was_kept(answer: httpx.Response) -> bool:
    """Varnish names the request that brought what it had kept beside the present one."""
    return len(answer.headers["X-Varnish"].split()) == 2


@pytest.mark.parametrize("encoding", ["gzip", "identity", "zstd", "gzip, br, zstd"])
@pytest.mark.parametrize("path", [RANKING, f"{RANKING}?limit=7", f"{RANGE}?days=7", f"{RANGE}?format=csv"])
def test_what_is_public_is_kept(varnish: str, path: str, encoding: str) -> None:
    """Whatever compression is taken, and whatever cookies a page has left; 304 and HEAD come from it, too."""
    headers = {"Accept-Encoding": encoding}
    first = httpx.get(varnish + path, headers=headers)
    again = httpx.get(varnish + path, headers=headers | {"Cookie": "lang=tr"})
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert was_kept(again)
    assert "isSuccess" in again.text or again.text.startswith("position")
    held = httpx.get(varnish + path, headers=headers | {"If-None-Match": first.headers["ETag"]})
    assert (held.status_code, held.content) == (304, b"")
    head = httpx.head(varnish + path, headers=headers)
    assert (head.status_code, head.headers["ETag"], was_kept(head)) == (200, first.headers["ETag"], True)


def test_what_depends_on_a_token_is_nobody_elses(varnish: str) -> None:
    """Neither is it kept, nor is what is kept of others given for it; a bad token stays 401."""
    anonymous = httpx.get(varnish + RANKING).json()["data"]
    assert {row["isFollowing"] for row in anonymous} == {None}
    for user, follows in ((FOLLOWER, True), (CREATOR_ID, False), (FOLLOWER, True)):
        answer = httpx.get(varnish + RANKING, headers=bearer(sign(claims(user))))
        assert (answer.json()["data"][0]["isFollowing"], was_kept(answer)) == (follows, False)
    assert httpx.get(varnish + RANKING, headers=bearer("x.y.z")).status_code == 401
    assert httpx.get(varnish + RANKING).json()["data"] == anonymous


def test_the_page_is_asked_about_every_time(varnish: str) -> None:
    """In the language of each, which a cookie may remember."""
    for language in ("tr", "en", "tr"):
        page = httpx.get(varnish + "/", headers={"Cookie": f"lang={language}"})
        assert f'<html lang="{language}">' in page.text
        assert not was_kept(page)
    assert was_kept(httpx.get(varnish + "/page/page.css")) is False
    script = re.findall(r'href="(page/page.css\?v=\w+)"', page.text)[0]
    assert [was_kept(httpx.get(f"{varnish}/{script}")) for _ in range(2)] == [False, True]


def test_limits_are_by_the_client(varnish: str) -> None:
    """Not by Varnish's address, nor by what a client says of itself; no answer of List Streams is kept."""
    with httpx.Client(base_url=varnish) as client:
        answers = [
            client.get("/lls/v1.0/stream", headers={"X-Forwarded-For": f"10.0.0.{number}, 192.0.2.9"})
            for number in range(101)
        ]
        assert not any(was_kept(answer) for answer in answers)
        assert [answer.status_code for answer in answers] == [200] * 100 + [429]
        other = client.get("/lls/v1.0/stream", headers={"X-Forwarded-For": "10.0.0.1, 192.0.2.8"})
        assert other.status_code == 200
