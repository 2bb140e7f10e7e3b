"""Which keys a token is verified with: from a file, from a URL, and against the Wycheproof corpus."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from faults import wycheproof
from faults.key_server import HEAD, body, key_server, self_signed
from published import EXAMPLE, publish
from tokens import NOW, bearer, claims, jwks, sign

from pipelines.api.app import create_app
from pipelines.api.keys import KeyUrl, parse_jwks
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated", "ignore:Key size should be")

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"

GOOD = sign(claims())

# --- which keys are taken ---


def test_without_a_kid_exactly_one_key_must_fit(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, EXAMPLE)
    path = home / "jwks.json"
    path.write_bytes(jwks("rsa-1", "rsa-2", "ec-1"))
    client = client_for(jwks=str(path))

    def status(name: str, alg: str, header: dict[str, str]) -> int:
        return client.get(FUNDED, headers=bearer(sign(claims(), name, alg, header))).status_code

    assert status("rsa-1", "RS256", {"alg": "RS256"}) == 401
    assert status("ec-1", "ES256", {"alg": "ES256"}) == 200
    assert status("rsa-2", "RS256", {"alg": "RS256", "kid": "rsa-2"}) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"use": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
        {"alg": "RS1"},
        {"alg": "ES256"},
        {"kty": "EC"},
        {"kty": "unknown"},
        {"kid": 7},
        {"n": "AQAB"},
        {"n": 7},
        {"e": "AQ"},
        {"e": "Ag"},
    ],
)
def test_a_key_that_cannot_be_used_is_left_out(changes: dict[str, Any]) -> None:
    both = json.loads(jwks("rsa-1", **changes))["keys"] + json.loads(jwks("ec-1"))["keys"]
    assert [one.key_id for one in parse_jwks(json.dumps({"keys": both}).encode(), with_symmetric=True)] == ["ec-1"]


def test_weak_symmetric_and_short_keys_are_left_out() -> None:
    def kept(*names: str, with_symmetric: bool) -> list[str | None]:
        return [one.key_id for one in parse_jwks(jwks(*names), with_symmetric=with_symmetric)]

    assert kept("ec-1", "small-1", "p384-1", "oct-1", with_symmetric=True) == ["ec-1", "p384-1", "oct-1"]
    assert kept("ec-1", "oct-1", with_symmetric=False) == ["ec-1"]
    short = json.dumps({"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}).encode()
    with pytest.raises(ValueError, match="no key in it can be used"):
        parse_jwks(short, with_symmetric=True)


def test_a_kid_that_two_keys_have_selects_neither() -> None:
    twice = json.loads(jwks("rsa-1"))["keys"] + json.loads(jwks("rsa-2", kid="rsa-1"))["keys"]
    both = json.dumps({"keys": [*twice, *json.loads(jwks("ec-1"))["keys"]]}).encode()
    assert [one.key_id for one in parse_jwks(both, with_symmetric=True)] == ["ec-1"]


def test_a_key_bound_to_one_algorithm_serves_no_other(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, EXAMPLE)
    (home / "jwks.json").write_bytes(jwks("rsa-1", alg="PS256", use="sig", key_ops=["verify"]))
    client = client_for(jwks=str(home / "jwks.json"))
    assert client.get(FUNDED, headers=bearer(sign(claims(), alg="PS256"))).status_code == 200
    assert client.get(FUNDED, headers=bearer(sign(claims(), alg="RS256"))).status_code == 401


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"keys":[]}', b'{"keys":{}}', b"\xff", b'{"keys":[],"a":0,"a":0}']
)
def test_an_unusable_file_is_told_at_once(home: Path, content: bytes) -> None:
    (home / "jwks.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"MOSTWATCHED_JWKS: .+ Name a file of public keys"):
        create_app(Settings(home=home, jwks=str(home / "jwks.json")))


@pytest.mark.parametrize("jwks_setting", ["nowhere.json", "ftp://id.example/jwks.json", "file:///etc/passwd"])
def test_an_unusable_setting_is_told_at_once(home: Path, jwks_setting: str) -> None:
    with pytest.raises(UsageError, match="MOSTWATCHED_JWKS"):
        create_app(Settings(home=home, jwks=jwks_setting))


@pytest.mark.parametrize(
    "settings",
    [
        {"jwks": "https://user:s3cret@id.example/jwks.json"},
        {"jwks": "ftp://user:s3cret@id.example/jwks.json"},
        {"jwks": "https://id.example:s3cret/jwks.json"},
        {"redis_url": "redis://:s3cret#s3cret@127.0.0.1/0"},
        {"redis_url": "http://:s3cret@127.0.0.1/0"},
    ],
    ids=str,
)
def test_a_password_in_a_setting_is_not_told(home: Path, settings: dict[str, str]) -> None:
    """The message names the setting, and says what would do."""
    with pytest.raises(UsageError, match="MOSTWATCHED_") as refused:
        create_app(Settings(home=home, **settings))
    assert "s3cret" not in str(refused.value)


def test_a_changed_file_is_read_again(home: Path, client_for: Callable[..., Client]) -> None:
    """New keys count from the next request, withdrawn ones no longer; a broken file leaves the old keys."""
    publish(home, EXAMPLE)
    path = home / "jwks.json"
    path.write_bytes(jwks("rsa-1"))
    client = client_for(jwks=str(path))

    def accepted() -> list[bool]:
        tokens = (sign(claims()), sign(claims(), "ec-1", "ES256"))
        return [client.get(FUNDED, headers=bearer(token)).status_code == 200 for token in tokens]

    assert accepted() == [True, False]
    path.write_bytes(jwks("ec-1"))
    assert accepted() == [False, True]
    path.write_bytes(b"{")
    assert accepted() == [False, True]
    path.unlink()
    assert accepted() == [False, True]
    path.write_bytes(jwks("rsa-1", "ec-1"))
    assert accepted() == [True, True]


# --- keys from a URL ---


def test_keys_from_a_url(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    """Fetched when needed, again for an unknown kid but at most once in 30 s; old keys survive a failure."""
    publish(home, EXAMPLE)
    with key_server() as server:
        server.serve_keys(jwks("rsa-1", "oct-1"))
        client = client_for(jwks=server.url)

        def status(name: str, alg: str) -> int:
            return client.get(FUNDED, headers=bearer(sign(claims(exp=NOW + 9999), name, alg))).status_code

        assert status("rsa-1", "RS256") == 200
        assert status("oct-1", "HS256") == 401, "a secret that is published is none"
        server.serve_keys(jwks("rsa-1", "ec-1"))
        assert [status("ec-1", "ES256") for _ in range(5)] == [401] * 5
        assert server.asked == 1
        clock.advance(30)
        assert status("ec-1", "ES256") == 200
        assert server.asked == 2
        clock.advance(30)
        server.answers(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        assert status("ed-1", "EdDSA") == 401
        assert (status("ec-1", "ES256"), server.asked) == (200, 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 F\r\nLocation: file:///etc/hostname\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: https://127.0.0.1:9/jwks.json\r\n\r\n",
        body(jwks("rsa-1") + b" " * 300_000),
        body(b"<html>"),
        body(jwks("rsa-1")).replace(b"200 OK", b"404 No"),
        b"hello\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + jwks("rsa-1"),
        HEAD + b"a: b\r\n" * 200 + b"\r\n" + jwks("rsa-1"),
    ],
    ids=[
        "a redirect to a file",
        "a redirect to another scheme",
        "too much",
        "no JWKS",
        "an error",
        "no HTTP",
        "a chunk cut short",
        "too many headers",
    ],
)
def test_what_a_url_must_not_answer(home: Path, client_for: Callable[..., Client], answer: bytes) -> None:
    publish(home, EXAMPLE)
    with key_server() as server:
        server.answers(answer)
        client = client_for(jwks=server.url)
        refused = client.get(FUNDED, headers=bearer(GOOD))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2"), "it may be valid: nobody can tell"
        assert server.asked == 1
        assert client.get(RANKING, headers=bearer(GOOD)).status_code == 503
        assert client.get(RANKING).status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get(FUNDED, headers=bearer("x")).status_code == 401, "that is no token, whatever the keys are"


def test_the_first_keys_are_fetched_within_seconds(
    home: Path, client_for: Callable[..., Client], clock: StoppedClock
) -> None:
    """A key server that comes up after us: tokens are 503 until then, never 401; nobody waits for 30 s."""
    publish(home, EXAMPLE)
    with key_server() as server:
        server.answers(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        client = client_for(jwks=server.url)
        assert client.get(FUNDED, headers=bearer(GOOD)).status_code == 503
        server.serve_keys(jwks("rsa-1"))
        clock.advance(1)
        assert (client.get(FUNDED, headers=bearer(GOOD)).status_code, server.asked) == (503, 1)
        clock.advance(1)
        assert (client.get(FUNDED, headers=bearer(GOOD)).status_code, server.asked) == (200, 2)
        assert client.get("/readyz").status_code == 200


def test_the_first_keys_are_fetched_though_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.api.keys.FIRST_FETCH_EVERY_SECONDS", 0)
    with key_server() as server:
        server.answers(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        source = KeyUrl(server.url, time.monotonic_ns)
        source.start()
        while server.asked < 3:
            time.sleep(0.01)
        assert not source.is_loaded
        server.serve_keys(jwks("rsa-1"))
        while not source.is_loaded:
            time.sleep(0.01)


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 O", HEAD, HEAD + b"\r\n"], ids=["status", "headers", "body"])
def test_a_url_that_never_finishes_is_given_up(
    home: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """However lively it is: an unknown key waits no longer than a fetch may take, all in all."""
    monkeypatch.setattr("pipelines.api.keys.FETCH_TIMEOUT_SECONDS", 0.3)
    publish(home, EXAMPLE)
    with key_server() as server:
        server.drips(first, b"a: b\r\n", pause=0.05)
        client = client_for(jwks=server.url)
        started = time.monotonic()
        assert client.get(FUNDED, headers=bearer(GOOD)).status_code == 503
        assert time.monotonic() - started < 3


def test_keys_from_an_https_url(home: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """From a server that the system's certificates vouch for, and from no other."""
    publish(home, EXAMPLE)
    certificate = self_signed(home)
    with key_server(certificate) as server:
        server.serve_keys(jwks("rsa-1"))
        assert client_for(jwks=server.url).get(FUNDED, headers=bearer(GOOD)).status_code == 503
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert client_for(jwks=server.url).get(FUNDED, headers=bearer(GOOD)).status_code == 200
        assert server.asked == 1


def test_a_fetch_under_way_serves_all_who_wait_for_it() -> None:
    """However many ask at once, one question reaches the server."""
    with key_server() as server:
        server.serve_keys(jwks("rsa-1"))
        source = KeyUrl(server.url, lambda: 0)
        asking = [threading.Thread(target=source.fetch) for _ in range(5)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        assert server.asked == 1
        assert [key.key_id for key in asyncio.run(source.current())] == ["rsa-1"]


def test_a_redirect_leads_to_no_other_scheme(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks over https is not sent on to a server that nobody vouches for."""
    certificate = self_signed(home)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with key_server() as plain, key_server(certificate) as secure:
        plain.serve_keys(jwks("rsa-1"))
        secure.answers(f"HTTP/1.1 302 F\r\nLocation: {plain.url}\r\nContent-Length: 0\r\n\r\n".encode())
        source = KeyUrl(secure.url, lambda: 0)
        source.fetch()
        assert (secure.asked, plain.asked) == (1, 0)
        assert asyncio.run(source.current()) == ()


# --- Wycheproof ---

CORPUS = "MOSTWATCHED_TEST_DATA"


@pytest.mark.parametrize("name", [wycheproof.KEYS, wycheproof.SIGNATURES])
def test_no_invalid_signature_of_wycheproof_is_accepted(name: str) -> None:
    """But for one that the corpus calls ambiguous, and two that are byte for byte one that it calls valid."""
    folder = Path(os.environ.get(CORPUS, "")) / "corpora" / "wycheproof"
    if CORPUS not in os.environ or not folder.is_dir():
        pytest.skip(f"no corpus: {CORPUS} does not name the folder that holds it")
    known = list(wycheproof.vectors(folder, name))
    accepted = {(one.file, one.number) for one in known if not one.is_valid and wycheproof.refusal(one) is None}
    assert accepted == wycheproof.AMBIGUOUS & {(name, 1)} | wycheproof.contradictory(known)
    for one in known:
        if one.is_valid:
            assert (wycheproof.refusal(one) is None) == (wycheproof.reason_to_refuse_valid(one) is None), one
