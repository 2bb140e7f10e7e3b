"""Bearer tokens: every way to be refused, and the few ways to be let in."""

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
from conftest import Client, StoppedClock
from published import EXAMPLE, publish
from tokens import NOW, b64, bearer, claims, jwks, key, sign

from pipelines.api.app import create_app
from pipelines.api.keys import parse_jwks
from pipelines.errors import UsageError
from pipelines.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated", "ignore:Key size should be")

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"

GOOD = sign(claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")
FLIPPED = SIGNATURE[:-10] + ("A" if SIGNATURE[-10] != "A" else "B") + SIGNATURE[-9:]
RSA_PUBLIC = json.dumps(key("rsa-1").as_dict(private=False))


def _other_spelling(part: str) -> str:
    """The same bytes in base64url with an unused bit set, which lenient decoders accept."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4, "no unused bits"
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def _confused() -> str:
    """The RSA public key's JSON used as an HMAC secret."""
    from joserfc.jwk import OctKey
    from joserfc.jws import JWSRegistry

    signed = f"{b64({'alg': 'HS256', 'kid': 'rsa-1'})}.{b64(claims())}"
    return f"{signed}.{b64(JWSRegistry.algorithms['HS256'].sign(signed.encode(), OctKey.import_key(RSA_PUBLIC)))}"


def _padded_claims() -> dict[str, Any]:
    """Claims whose base64url has unused bits."""
    for length in range(1, 4):
        content = claims(x="y" * length)
        if len(b64(content)) % 4:
            return content
    raise AssertionError


PADDED = sign(_padded_claims())

# every one of these carries, or almost carries, a token
HOSTILE_TOKENS: dict[str, str] = {
    "expired": sign(claims(exp=NOW - 1)),
    "expiring now": sign(claims(exp=NOW)),
    "no exp": sign({"sub": "a"}),
    "exp null": sign('{"sub":"a","exp":null}'),
    "exp true": sign(claims(exp=True)),
    "exp text": sign(claims(exp=str(NOW + 60))),
    "exp float": sign(claims(exp=NOW + 60.0)),
    "exp exponent": sign('{"sub":"a","exp":9e99}'),
    "exp infinite": sign('{"sub":"a","exp":Infinity}'),
    "exp NaN": sign('{"sub":"a","exp":NaN}'),
    "exp negative": sign(claims(exp=-1)),
    "exp of 5000 digits": sign('{"sub":"a","exp":' + "9" * 5000 + "}"),
    "exp twice": sign(f'{{"sub":"a","exp":{NOW - 60},"exp":{NOW + 60}}}'),
    "not yet": sign(claims(nbf=NOW + 1)),
    "nbf text": sign(claims(nbf=str(NOW - 1))),
    "nbf true": sign(claims(nbf=True)),
    "nbf null": sign('{"sub":"a","exp":9999999999,"nbf":null}'),
    "iat text": sign(claims(iat="yesterday")),
    "iat float": sign(claims(iat=NOW - 0.5)),
    "no sub": sign({"exp": NOW + 60}),
    "sub empty": sign(claims("")),
    "sub number": sign(claims(7)),
    "sub list": sign(claims(["a"])),
    "sub null": sign('{"sub":null,"exp":9999999999}'),
    "sub a lone surrogate": sign('{"sub":"\\ud800","exp":9999999999}'),
    "sub twice": sign('{"sub":"a","sub":"b","exp":9999999999}'),
    "claims a list": sign("[1]"),
    "claims no JSON": sign("nonsense"),
    "claims empty": sign(""),
    "claims not UTF-8": sign(b'{"sub":"\xff","exp":9999999999}'),
    "claims with a byte order mark": sign(b'\xef\xbb\xbf{"sub":"a","exp":9999999999}'),
    "claims nested too deeply": sign('{"sub":"a","exp":9999999999,"x":' + "[" * 2500 + "]" * 2500 + "}"),
    "claims in UTF-16": sign(json.dumps(claims()).encode("utf-16")),
    "alg none, unsigned": f"{b64({'alg': 'none'})}.{BODY}.",
    "alg none, signed": f"{b64({'alg': 'none', 'kid': 'rsa-1'})}.{BODY}.{SIGNATURE}",
    "alg None": f"{b64({'alg': 'None'})}.{BODY}.{SIGNATURE}",
    "alg missing": sign(claims(), header={"kid": "rsa-1"}),
    "alg null": sign(claims(), header='{"alg":null,"kid":"rsa-1"}'),
    "alg a list": sign(claims(), header={"alg": ["RS256"], "kid": "rsa-1"}),
    "alg in lower case": sign(claims(), header={"alg": "rs256", "kid": "rsa-1"}),
    "alg RS512, not in the list": sign(claims(), alg="RS512"),
    "alg HS384, not in the list": sign(claims(), "oct-1", alg="HS384"),
    "alg of another key type": sign(claims(), "oct-1", "HS256", {"alg": "HS256", "kid": "rsa-1"}),
    "alg confusion: public key as secret": _confused(),
    "alg twice": sign(claims(), header='{"alg":"none","alg":"RS256","kid":"rsa-1"}'),
    "PS256 signature called RS256": sign(claims(), alg="PS256", header={"alg": "RS256", "kid": "rsa-1"}),
    "kid unknown": sign(claims(), header={"alg": "RS256", "kid": "x"}),
    "kid empty": sign(claims(), header={"alg": "RS256", "kid": ""}),
    "kid null": sign(claims(), header='{"alg":"RS256","kid":null}'),
    "kid a number": sign(claims(), header={"alg": "RS256", "kid": 1}),
    "kid of another key": sign(claims(), header={"alg": "RS256", "kid": "ec-1"}),
    "a key of the same kind that is not ours": sign(claims(), "rsa-9", header={"alg": "RS256", "kid": "rsa-1"}),
    "jwk in the header": sign(claims(), "rsa-9", header={"alg": "RS256", "jwk": json.loads(RSA_PUBLIC)}),
    "jku in the header": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "jku": "https://x.example"}),
    "x5u in the header": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "x5u": "https://x.example"}),
    "crit in the header": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "crit": ["exp"]}),
    "b64 in the header": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "b64": True}),
    "zip in the header": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "zip": "DEF"}),
    "cty in the header": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "cty": "JWT"}),
    "typ JWE": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "typ": "JWE"}),
    "typ null": sign(claims(), header='{"alg":"RS256","kid":"rsa-1","typ":null}'),
    "typ with a prefix": sign(claims(), header={"alg": "RS256", "kid": "rsa-1", "typ": "application/jwt"}),
    "header a list": sign(claims(), header="[]"),
    "header with a comment": sign(claims(), header='{"alg":"RS256"}//'),
    "signature changed": f"{HEAD}.{BODY}.{FLIPPED}",
    "signature empty": f"{HEAD}.{BODY}.",
    "signature of other claims": f"{HEAD}.{b64(claims('another'))}.{SIGNATURE}",
    "signature cut": f"{HEAD}.{BODY}.{SIGNATURE[:-4]}",
    "signature padded": f"{GOOD}==",
    "signature in another spelling": f"{HEAD}.{BODY}.{_other_spelling(SIGNATURE)}",
    "claims in another spelling": ".".join(
        (PADDED.split(".")[0], _other_spelling(PADDED.split(".")[1]), PADDED.split(".")[2])
    ),
    "base64, not base64url": f"{HEAD}.{BODY}.{SIGNATURE.replace('-', '+').replace('_', '/')}" + "+",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "five parts, as encrypted": "a.b.c.d.e",
    "one part": "abc",
    "dots": "..",
    "JSON serialisation": json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
    "in quotes": f'"{GOOD}"',
    "a comma behind": f"{GOOD},",
    "two tokens": f"{GOOD}, Bearer {GOOD}",
    "a space inside": f"{HEAD}. {BODY}.{SIGNATURE}",
    "a tab behind": f"{GOOD}\t",
    "a space behind": f"{GOOD} ",
    "two spaces before": f" {GOOD}",
    "larger than 8 KiB": sign(claims(x="y" * 9000)),
    "ES256 signature as DER": f"{b64({'alg': 'ES256', 'kid': 'ec-1'})}.{BODY}.{b64(bytes.fromhex('3006020101020101'))}",
    "ES256 signature all zero": f"{b64({'alg': 'ES256', 'kid': 'ec-1'})}.{BODY}.{b64(bytes(64))}",
    "EdDSA signature all zero": f"{b64({'alg': 'EdDSA', 'kid': 'ed-1'})}.{BODY}.{b64(bytes(64))}",
    "HS256 signature cut": sign(claims(), "oct-1", "HS256")[:-11],
}

# and none of these is a bearer token at all
NO_BEARER: dict[str, list[tuple[str, str]]] = {
    "empty": [("Authorization", "")],
    "a space": [("Authorization", " ")],
    "Bearer alone": [("Authorization", "Bearer")],
    "Bearer and a space": [("Authorization", "Bearer ")],
    "Bearer and spaces": [("Authorization", "Bearer    ")],
    "Basic": [("Authorization", "Basic YTpi")],
    "Digest": [("Authorization", 'Digest username="a"')],
    "the token alone": [("Authorization", GOOD)],
    "Token": [("Authorization", f"Token {GOOD}")],
    "Bearer-like": [("Authorization", f"Bearers {GOOD}")],
    "a colon": [("Authorization", f"Bearer: {GOOD}")],
    "a tab for a space": [("Authorization", f"Bearer\t{GOOD}")],
    "no space": [("Authorization", f"Bearer{GOOD}")],
    "a space before": [("Authorization", f" Bearer {GOOD}")],
    "twice": [("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {GOOD}")],
    "Basic, then Bearer": [("Authorization", "Basic YTpi"), ("Authorization", f"Bearer {GOOD}")],
    "empty, then Bearer": [("Authorization", ""), ("Authorization", f"Bearer {GOOD}")],
}


@pytest.fixture
def shared_client(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Client:
    """One platform for all the refusals: they change nothing."""
    cached = getattr(request.module, "_shared", None)
    if cached is None:
        home = tmp_path_factory.mktemp("hostile")
        publish(home, EXAMPLE)
        (home / "jwks.json").write_bytes(jwks("rsa-1", "ec-1", "ed-1", "oct-1"))
        cached = Client(create_app(Settings(home=home, jwks=str(home / "jwks.json")), StoppedClock().clock))
        request.module._shared = cached
    return cached


def _is_refused(client: Client, headers: list[tuple[str, str]], challenge: str) -> None:
    for path in (RANKING, FUNDED):
        response = client.get(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == challenge
        assert response.headers["Cache-Control"] == "no-store"
        body = response.json()
        assert body | {"timestamp": None} == {
            "isSuccess": False,
            "statusCode": 401,
            "data": None,
            "errors": ["Authentication required"],
            "timestamp": None,
        }


@pytest.mark.parametrize("token", HOSTILE_TOKENS.values(), ids=HOSTILE_TOKENS.keys())
def test_hostile_token_is_401(shared_client: Client, token: str) -> None:
    _is_refused(shared_client, [("Authorization", f"Bearer {token}")], 'Bearer error="invalid_token"')


@pytest.mark.parametrize("headers", NO_BEARER.values(), ids=NO_BEARER.keys())
def test_what_is_no_bearer_token_is_401_and_never_anonymous(
    shared_client: Client, headers: list[tuple[str, str]]
) -> None:
    _is_refused(shared_client, headers, "Bearer")


@pytest.mark.parametrize(
    "token",
    [
        GOOD,
        sign(claims(), alg="PS256"),
        sign(claims(), "ec-1", "ES256"),
        sign(claims(), "ed-1", "EdDSA"),
        sign(claims(), "oct-1", "HS256"),
        sign(claims(), header={"alg": "RS256"}),
        sign(claims(), header={"alg": "RS256", "typ": "jwt", "kid": "rsa-1"}),
        sign(claims(), header={"alg": "RS256", "typ": "at+JWT", "kid": "rsa-1"}),
        sign(claims(nbf=NOW, iat=NOW + 5)),
        sign(claims(exp=NOW + 1, iss="x", aud="y", extra={"a": [1]})),
        sign(claims("kullanıcı 😀")),
    ],
)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_valid_token_is_let_in(shared_client: Client, token: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token}"}
    assert shared_client.get(FUNDED, headers=headers).status_code == 200
    assert shared_client.get(RANKING, headers=headers).json()["data"][0]["isFollowing"] is not None


def test_a_token_ends_to_the_millisecond(client: Client, clock: StoppedClock) -> None:
    token = bearer(sign(claims(exp=NOW + 2)))
    clock.advance(1.999)
    assert client.get(FUNDED, headers=token).status_code == 200
    clock.advance(0.001)
    assert client.get(FUNDED, headers=token).status_code == 401


@pytest.mark.parametrize("token", [GOOD, sign(claims(), "oct-1", "HS256"), "x"])
def test_without_keys_every_token_is_401(home: Path, client_for: Callable[..., Client], token: str) -> None:
    publish(home, EXAMPLE)
    client = client_for()
    assert client.get(RANKING, headers=bearer(token)).status_code == 401
    assert client.get(RANKING).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"iss": "https://id.example", "aud": "api"}, 200),
        ({"iss": "https://id.example", "aud": ["other", "api"]}, 200),
        ({"aud": "api"}, 401),
        ({"iss": "https://id.example/", "aud": "api"}, 401),
        ({"iss": ["https://id.example"], "aud": "api"}, 401),
        ({"iss": "https://id.example"}, 401),
        ({"iss": "https://id.example", "aud": "API"}, 401),
        ({"iss": "https://id.example", "aud": []}, 401),
        ({"iss": "https://id.example", "aud": ["api", 7]}, 401),
        ({"iss": "https://id.example", "aud": {"api": 1}}, 401),
    ],
)
def test_issuer_and_audience_when_configured(
    home: Path, jwks_file: Path, client_for: Callable[..., Client], changes: dict[str, Any], status: int
) -> None:
    publish(home, EXAMPLE)
    client = client_for(jwks=str(jwks_file), jwt_issuer="https://id.example", jwt_audience="api")
    assert client.get(FUNDED, headers=bearer(sign(claims(**changes)))).status_code == status


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
