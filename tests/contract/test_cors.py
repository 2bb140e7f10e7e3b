"""Which other origins' scripts may read the API in a browser: MOSTWATCHED_CORS_ORIGINS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from calling import AS_IT_IS, Client, running
from published import EXAMPLE, publish

from pipelines.api import contract
from pipelines.api.cors import EXPOSED
from pipelines.core import settings
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

RANKING = "/api/v1/live-stream/most-watched-creators"
STREAMS = "/lls/v1.0/stream"
SITE, OTHER = "https://app.example.com", "https://evil.example.com"
ASKED = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
def site(home: Path, jwks_file: Path, client_for: Callable[..., Client]) -> Client:
    """A client of a server that lists one origin."""
    publish(home, EXAMPLE)
    return client_for(jwks=str(jwks_file), cors_origins=(SITE, "http://localhost:3000"))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (RANKING, 200),
        (f"{RANKING}?limit=x", 400),
        ("/api/v1/live-stream/funded", 401),
        ("/nothing", 404),
        (STREAMS, 200),
    ],
)
def test_a_listed_origin_may_read_every_answer(site: Client, path: str, status: int) -> None:
    """Errors too: a script has to see why."""
    answer = site.get(path, headers={"Origin": SITE})
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Access-Control-Expose-Headers"].split(", ") == list(EXPOSED)


@pytest.mark.parametrize("origin", [OTHER, "null", SITE.upper(), f"{SITE}:443", f"{SITE}, {OTHER}", ""])
def test_others_may_not_and_a_cache_knows_why(site: Client, origin: str) -> None:
    for headers in ({"Origin": origin}, {}):
        answer = site.get(RANKING, headers=headers)
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]
    assert site.request("OPTIONS", RANKING, headers={"Origin": origin} | ASKED).status_code == 405


def test_a_preflight_is_answered(site: Client) -> None:
    answer = site.request("OPTIONS", RANKING, headers={"Origin": SITE} | ASKED)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert site.request("OPTIONS", "/nothing", headers={"Origin": SITE} | ASKED).status_code == 404
    assert site.request("OPTIONS", RANKING, headers={"Origin": SITE}).status_code == 405, "this asks for nothing"
    assert site.request("DELETE", RANKING, headers={"Origin": SITE}).status_code == 405


def test_what_is_over_the_limit_can_be_read_too(site: Client) -> None:
    """Preflights are requests, and counted."""
    statuses = [site.request("OPTIONS", STREAMS, headers={"Origin": SITE} | ASKED).status_code for _ in range(101)]
    assert statuses == [204] * 100 + [429]
    answer = site.get(STREAMS, headers={"Origin": SITE})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (429, SITE)


def test_every_origin_or_none(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, EXAMPLE)
    every = client_for(cors_origins=("*",)).get(RANKING, headers={"Origin": OTHER})
    assert every.headers["Access-Control-Allow-Origin"] == "*"
    assert "Origin" not in every.headers["Vary"]
    none = client_for().get(RANKING, headers={"Origin": OTHER})
    assert not [name for name in none.headers if name.startswith("access-control")]
    assert "Origin" not in none.headers["Vary"]


def test_prepared_answers_carry_it_over_the_wire(home: Path) -> None:
    publish(home, EXAMPLE)
    with running(Settings(home=home, cors_origins=(SITE,))) as address, httpx.Client(base_url=address) as client:
        for _ in range(2):
            answer = client.get(RANKING, headers={"Origin": SITE} | AS_IT_IS)
            assert answer.headers["Access-Control-Allow-Origin"] == SITE
            assert answer.headers.get_list("Content-Length") == [str(len(answer.content))]
            assert answer.json()["isSuccess"]


def test_every_header_of_ours_can_be_read() -> None:
    """Those of the document, but for what every script may read, and what is for caches, browsers or methods alone."""
    document = contract.load()
    named = {
        name
        for methods in document["paths"].values()
        for answer in methods["get"]["responses"].values()
        for name in contract.resolved(document, answer).get("headers", {})
    }
    assert named - set(EXPOSED) == {"Cache-Control", "Vary", "Content-Encoding", "Allow", "Set-Cookie"}


@pytest.mark.parametrize(
    "text",
    ["app.example.com", "https://app.example.com/", "HTTPS://App.example.com", "https://a b", "https://a:443", "null",
     "*, https://a"],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_is_refused(text: str) -> None:
    """It would be ignored in silence."""
    with pytest.raises(UsageError, match="MOSTWATCHED_CORS_ORIGINS"):
        settings.load(environ={"MOSTWATCHED_CORS_ORIGINS": text})


def test_origins_are_listed_with_commas() -> None:
    text = f"{SITE}, http://localhost:3000,http://[::1]:8080"
    loaded = settings.load(environ={"MOSTWATCHED_CORS_ORIGINS": text})
    assert loaded.cors_origins == (SITE, "http://localhost:3000", "http://[::1]:8080")
