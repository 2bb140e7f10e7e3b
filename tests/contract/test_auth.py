"""Bearer tokens: every way to be refused, and the few ways to be let in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from published import EXAMPLE, publish
from tokens import NOW, b64, bearer, claims, key, sign

from pipelines.api.auth import InvalidToken, parse

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
def test_hostile_token_is_401(example_client: Client, token: str) -> None:
    _is_refused(example_client, [("Authorization", f"Bearer {token}")], 'Bearer error="invalid_token"')


@pytest.mark.parametrize("headers", NO_BEARER.values(), ids=NO_BEARER.keys())
def test_what_is_no_bearer_token_is_401_and_never_anonymous(
    example_client: Client, headers: list[tuple[str, str]]
) -> None:
    _is_refused(example_client, headers, "Bearer")


@pytest.mark.parametrize("name", ["signature in another spelling", "claims in another spelling"])
def test_another_spelling_is_refused_before_any_library_sees_it(name: str) -> None:
    with pytest.raises(InvalidToken, match="base64"):
        parse(HOSTILE_TOKENS[name].encode())


VALID_TOKENS = {
    "RS256": GOOD,
    "PS256": sign(claims(), alg="PS256"),
    "ES256": sign(claims(), "ec-1", "ES256"),
    "EdDSA": sign(claims(), "ed-1", "EdDSA"),
    "HS256": sign(claims(), "oct-1", "HS256"),
    "no kid": sign(claims(), header={"alg": "RS256"}),
    "typ in lower case": sign(claims(), header={"alg": "RS256", "typ": "jwt", "kid": "rsa-1"}),
    "typ of an access token": sign(claims(), header={"alg": "RS256", "typ": "at+JWT", "kid": "rsa-1"}),
    "beginning now": sign(claims(nbf=NOW, iat=NOW + 5)),
    "other claims": sign(claims(exp=NOW + 1, iss="x", aud="y", extra={"a": [1]})),
    "another alphabet": sign(claims("kullanıcı 😀")),
}


@pytest.mark.parametrize("token", VALID_TOKENS.values(), ids=VALID_TOKENS.keys())
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_valid_token_is_let_in(example_client: Client, token: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token}"}
    assert example_client.get(FUNDED, headers=headers).status_code == 200
    assert example_client.get(RANKING, headers=headers).json()["data"][0]["isFollowing"] is not None


def test_a_token_ends_to_the_millisecond(client: Client, clock: StoppedClock) -> None:
    token = bearer(sign(claims(exp=NOW + 2)))
    clock.advance(1.999)
    assert client.get(FUNDED, headers=token).status_code == 200
    clock.advance(0.001)
    assert client.get(FUNDED, headers=token).status_code == 401


@pytest.mark.parametrize("token", [GOOD, VALID_TOKENS["HS256"], "x"], ids=["RS256", "HS256", "nonsense"])
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
