"""Which keys a token is verified with: from a file, from a URL, and against the Wycheproof corpus."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from published import EXAMPLE, publish
from tokens import NOW, bearer, claims, jwks, sign

from pipelines.api.app import create_app
from pipelines.api.keys import parse_jwks
from pipelines.errors import UsageError
from pipelines.settings import Settings

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
        {"alg": "RS512"},
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

    assert kept("ec-1", "small-1", "p384-1", "oct-1", with_symmetric=True) == ["ec-1", "oct-1"]
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
    with pytest.raises(UsageError, match="MOSTWATCHED_JWKS"):
        create_app(Settings(home=home, jwks=str(home / "jwks.json")))


@pytest.mark.parametrize("jwks_setting", ["nowhere.json", "ftp://id.example/jwks.json", "file:///etc/passwd"])
def test_an_unusable_setting_is_told_at_once(home: Path, jwks_setting: str) -> None:
    with pytest.raises(UsageError, match="MOSTWATCHED_JWKS"):
        create_app(Settings(home=home, jwks=jwks_setting))


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


class KeyServer:
    """A JWKS endpoint whose answer a test can change; counts what it is asked."""

    def __init__(self) -> None:
        self.status = 200
        self.content = b""
        self.headers: dict[str, str] = {}
        self.asked = 0


@contextmanager
def key_server() -> Iterator[tuple[KeyServer, str]]:
    state = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()


def test_keys_from_a_url(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    """Fetched when needed, again for an unknown kid but at most once in 30 s; old keys survive a failure."""
    publish(home, EXAMPLE)
    with key_server() as (server, url):
        server.content = jwks("rsa-1", "oct-1")
        client = client_for(jwks=url)

        def status(name: str, alg: str) -> int:
            return client.get(FUNDED, headers=bearer(sign(claims(exp=NOW + 9999), name, alg))).status_code

        assert status("rsa-1", "RS256") == 200
        assert status("oct-1", "HS256") == 401, "a secret that is published is none"
        server.content = jwks("rsa-1", "ec-1")
        assert [status("ec-1", "ES256") for _ in range(5)] == [401] * 5
        assert server.asked == 1
        clock.advance(30)
        assert status("ec-1", "ES256") == 200
        assert server.asked == 2
        clock.advance(30)
        server.status = 500
        assert status("ed-1", "EdDSA") == 401
        assert (status("ec-1", "ES256"), server.asked) == (200, 3)


@pytest.mark.parametrize(
    ("status", "headers", "content"),
    [
        (302, {"Location": "file:///etc/hostname"}, b""),
        (302, {"Location": "https://127.0.0.1:9/jwks.json"}, b""),
        (200, {}, jwks("rsa-1") + b" " * 300_000),
        (200, {}, b"<html>"),
        (404, {}, jwks("rsa-1")),
    ],
    ids=["a redirect to a file", "a redirect to another scheme", "too much", "no JWKS", "an error"],
)
def test_what_a_url_must_not_answer(
    home: Path, client_for: Callable[..., Client], status: int, headers: dict[str, str], content: bytes
) -> None:
    publish(home, EXAMPLE)
    with key_server() as (server, url):
        server.status, server.headers, server.content = status, headers, content
        client = client_for(jwks=url)
        assert client.get(FUNDED, headers=bearer(GOOD)).status_code == 401
        assert server.asked == 1
        assert client.get(RANKING).status_code == 200


# --- Wycheproof ---

CORPUS = "MOSTWATCHED_TEST_DATA"
# the corpus flags the first as "Ambiguous": one file with a secret and a public key, which here are told apart by type;
# the other two are, byte for byte, the token that it lists as valid
KNOWN = {("json_web_key_test", 1), ("json_web_signature_test", 367), ("json_web_signature_test", 370)}


@pytest.mark.parametrize("name", ["json_web_key_test", "json_web_signature_test"])
def test_no_invalid_signature_of_wycheproof_is_accepted(name: str) -> None:
    """The corpus signs arbitrary payloads, so what is tested is everything but the claims."""
    from pipelines.api import auth
    from pipelines.api.keys import ALGORITHMS, fitting

    folder = os.environ.get(CORPUS)
    path = Path(folder or "") / "corpora" / "wycheproof" / f"{name}.json"
    if not folder or not path.is_file():
        pytest.skip(f"no corpus: {CORPUS} does not name the folder that holds it")

    def is_accepted(jwk_set: Any, compact: Any) -> bool:
        try:
            keys = parse_jwks(json.dumps(jwk_set).encode(), with_symmetric=True)
            head, payload, signature = auth.bearer([f"Bearer {compact}".encode()]).split(b".")
            header = auth._json_object(auth._decode(head))
            auth._decode(payload), auth._decode(signature)
            if not header.keys() <= auth._HEADER_KEYS or header.get("alg") not in ALGORITHMS:
                return False
            token = auth.Token(compact, header["alg"], header.get("kid"), {})
            [only] = fitting(keys, token.algorithm, token.key_id)
            auth.verify_signature(token, only)
        except (ValueError, auth.InvalidToken, auth.NotBearer):
            return False
        return True

    accepted, right = set(), 0
    for group in json.loads(path.read_text())["testGroups"]:
        keys = group.get("public") or group["private"]
        for case in group["tests"]:
            if is_accepted(keys if "keys" in keys else {"keys": [keys]}, case["jws"]):
                right += case["result"] == "valid"
                if case["result"] != "valid":
                    accepted.add((name, case["tcId"]))
    assert accepted <= KNOWN
    assert right, "the valid ones of our algorithms are accepted"
