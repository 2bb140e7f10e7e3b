"""Bearer tokens: every way to be refused, and the few ways to be let in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from faults.hostile import GOOD, NO_BEARER, hostile_tokens
from published import EXAMPLE, publish
from tokens import NOW, bearer, claims, sign

from pipelines.api.tokens import InvalidToken, parse

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated", "ignore:Key size should be")

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"

HOSTILE_TOKENS = hostile_tokens()


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


@pytest.mark.parametrize("values", NO_BEARER.values(), ids=NO_BEARER.keys())
def test_what_is_no_bearer_token_is_401_and_never_anonymous(example_client: Client, values: list[str]) -> None:
    _is_refused(example_client, [("Authorization", value) for value in values], "Bearer")


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
