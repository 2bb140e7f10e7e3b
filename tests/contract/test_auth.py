"""Bearer tokens: every way to be refused, and the few ways to be let in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from calling import Client, StoppedClock
from faults.hostile import GOOD, NO_BEARER, harmless_tokens, hostile_tokens
from published import EXAMPLE, publish
from tokens import NOW, bearer, claims, sign

from pipelines.api import app
from pipelines.api.tokens import InvalidToken, parse
from pipelines.core.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated", "ignore:Key size should be")

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"

HOSTILE_TOKENS = hostile_tokens()
HARMLESS_TOKENS = harmless_tokens()


def _is_refused(client: Client, headers: list[tuple[str, str]], challenge: str) -> None:
    for path in (RANKING, FUNDED):
        response = client.get(path, headers=headers)
        assert response.status_code == 401
        assert re.fullmatch(challenge, response.headers["WWW-Authenticate"])
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
    _is_refused(
        example_client,
        [("Authorization", f"Bearer {token}")],
        'Bearer error="invalid_token", error_description="[A-Z][^"]+"',
    )


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
    "type as a media type": sign(claims(), header={"alg": "RS256", "typ": "application/at+jwt", "kid": "rsa-1"}),
    "beginning now": sign(claims(nbf=NOW, iat=NOW + 5)),
    "issued by a clock that is ahead": sign(claims(nbf=NOW + 29, iat=NOW + 29)),
    "over, by a clock that is behind": sign(claims(exp=NOW - 29)),
    "times with fractions": sign(claims(exp=NOW + 1.5, nbf=NOW - 0.5, iat=NOW - 0.5)),
    "an end beyond all reckoning": sign('{"sub":"a","exp":9e99}'),
    "of some KiB": sign(claims(groups=["g" * 36] * 250)),
    "other claims": sign(claims(exp=NOW + 1, iss="x", extra={"a": [1]})),
    "another alphabet": sign(claims("kullanıcı 😀")),
}


@pytest.mark.parametrize("token", HARMLESS_TOKENS.values(), ids=HARMLESS_TOKENS.keys())
def test_a_header_parameter_that_is_nothing_to_us_is_ignored(example_client: Client, token: str) -> None:
    assert example_client.get(FUNDED, headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("token", VALID_TOKENS.values(), ids=VALID_TOKENS.keys())
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_valid_token_is_let_in(example_client: Client, token: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token}"}
    assert example_client.get(FUNDED, headers=headers).status_code == 200
    assert example_client.get(RANKING, headers=headers).json()["data"][0]["isFollowing"] is not None


def test_a_token_ends_to_the_millisecond(client: Client, clock: StoppedClock) -> None:
    token = bearer(sign(claims(exp=NOW + 2)))
    clock.advance(31.999)  # the leeway is 30 s
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


@pytest.mark.parametrize("audience", ["api", ["api", "other"], [], "", 7, {"api": 1}])
def test_without_an_audience_a_token_for_somebody_else_is_401(
    client: Client, home: Path, jwks_file: Path, client_for: Callable[..., Client], audience: Any
) -> None:
    """RFC 8725, 3.9: whoever does not know their own name cannot be meant, unless a setting says otherwise."""
    token = bearer(sign(claims(aud=audience)))
    assert client.get(FUNDED, headers=token).status_code == 401
    assert client.get(RANKING, headers=token).status_code == 401
    told_otherwise = client_for(jwks=str(jwks_file), jwt_any_audience=True)
    assert told_otherwise.get(FUNDED, headers=token).status_code == 200


def test_a_null_audience_names_one(client: Client) -> None:
    """A claim that is there is there."""
    assert client.get(FUNDED, headers=bearer(sign(claims() | {"aud": None}))).status_code == 401


def test_any_audience_changes_nothing_where_one_is_set(
    home: Path, jwks_file: Path, client_for: Callable[..., Client]
) -> None:
    publish(home, EXAMPLE)
    client = client_for(jwks=str(jwks_file), jwt_audience="api", jwt_any_audience=True)
    assert client.get(FUNDED, headers=bearer(sign(claims(aud="other")))).status_code == 401
    assert client.get(FUNDED, headers=bearer(sign(claims()))).status_code == 401
    assert client.get(FUNDED, headers=bearer(sign(claims(aud="api")))).status_code == 200


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, []),  # without keys no token is valid, and there is nothing to warn of
        ({"jwks": "keys"}, ["MOSTWATCHED_JWT_ISSUER", "MOSTWATCHED_JWT_AUDIENCE"]),
        ({"jwks": "keys", "jwt_issuer": "https://id.example"}, ["MOSTWATCHED_JWT_AUDIENCE"]),
        ({"jwks": "keys", "jwt_audience": "api"}, ["MOSTWATCHED_JWT_ISSUER"]),
        ({"jwks": "keys", "jwt_issuer": "x", "jwt_any_audience": True}, ["MOSTWATCHED_JWT_ANY_AUDIENCE"]),
        ({"jwks": "keys", "jwt_issuer": "https://id.example", "jwt_audience": "api"}, []),
    ],
)
def test_the_server_warns_of_what_it_does_not_check(
    home: Path,
    jwks_file: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    named: list[str],
) -> None:
    """One line each when it starts, that begins with the setting."""
    monkeypatch.setattr(app, "configure_server", lambda *_: None)  # it would take pytest's handlers away
    monkeypatch.setattr(app.uvicorn, "Server", lambda _: SimpleNamespace(run=lambda *_: None))
    if "jwks" in settings:
        settings = settings | {"jwks": str(jwks_file)}
    app.serve(Settings(home=home, **settings), port=0)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.split()[0] for line in warnings] == named
    assert not any("\n" in line for line in warnings)
