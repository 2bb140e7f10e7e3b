"""Tokens as issuers write them, minted by libraries that are not ours and verified by the keys that these export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from calling import Client
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jwt as jwcrypto_jwt
from published import EXAMPLE, publish
from tokens import NOW, bearer

from pipelines.api import contract
from pipelines.api.keys import ALGORITHMS

FUNDED = "/api/v1/live-stream/funded"
USER = "507f191e810c19729de860ea"
AUDIENCE = "most-watched"

# The headers and claims that these issuers document, with the algorithms that they sign by.
SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Auth0": (
        "RS256",
        {"typ": "JWT"},
        {
            "aud": [AUDIENCE, "https://tenant.example/userinfo"],
            "scope": "openid profile",
            "azp": "a1",
            "gty": "password",
        },
    ),
    "Auth0, by RFC 9068": ("RS256", {"typ": "at+jwt"}, {"aud": AUDIENCE, "jti": "x", "client_id": "a1"}),
    "Keycloak": (
        "PS256",
        {"typ": "JWT"},
        {"aud": [AUDIENCE, "account"], "typ": "Bearer", "realm_access": {"roles": ["user"] * 400}, "sid": "7-8"},
    ),
    "Entra": (
        "RS256",
        {"typ": "JWT", "x5t": "nbCwW11w3XkB-xUaXwKRSLjMHGQ", "nonce": "AQABAAAAAAD"},
        {
            "aud": AUDIENCE,
            "aio": "E2Zg",
            "uti": "x",
            "ver": "2.0",
            "nbf": NOW + 1,
            "iat": NOW + 1,
            "groups": ["g"] * 900,
        },
    ),
    "Cognito": ("RS256", {}, {"aud": AUDIENCE, "token_use": "id", "cognito:groups": ["a"], "auth_time": NOW - 5}),
    "Firebase": (
        "RS256",
        {"typ": "JWT"},
        {"aud": AUDIENCE, "firebase": {"sign_in_provider": "password"}, "user_id": USER, "auth_time": NOW - 5},
    ),
    "Clerk": ("RS256", {"typ": "JWT", "cat": "cl_B7d4PD111AAA"}, {"aud": AUDIENCE, "azp": "https://a.example", "v": 2}),
    "a certificate chain": (
        "RS256",
        {"typ": "application/at+jwt", "x5c": ["MIIB" * 200], "x5t#S256": "AA", "cty": "json"},
        {"aud": AUDIENCE},
    ),
    "times with fractions": ("RS256", {}, {"aud": AUDIENCE, "exp": NOW + 60.25, "nbf": NOW - 0.75, "iat": NOW - 0.75}),
}


def _private_key(alg: str) -> Any:
    if alg.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    return ec.generate_private_key(curves[alg]()) if alg in curves else ed25519.Ed25519PrivateKey.generate()


def _with_pyjwt(alg: str, header: dict[str, Any], payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(token, JWK) of PyJWT."""
    if alg.startswith("HS"):
        secret = bytes(range(64))
        own = json.loads(jwt.algorithms.HMACAlgorithm.to_jwk(secret))
    else:
        secret = _private_key(alg)
        own = jwt.get_algorithm_by_name(alg).to_jwk(secret.public_key(), as_dict=True)
    return jwt.encode(payload, secret, alg, headers={"kid": "one", **header}), own | {"kid": "one"}


def _with_jwcrypto(alg: str, header: dict[str, Any], payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(token, JWK) of jwcrypto, which writes a header to the letter."""
    if alg.startswith("HS"):
        own = jwcrypto_jwk.JWK.generate(kty="oct", size=512, kid="one")
        public = own.export(as_dict=True)
    else:
        own = jwcrypto_jwk.JWK.from_pyca(_private_key(alg))
        public = own.export_public(as_dict=True) | {"kid": "one"}
    token = jwcrypto_jwt.JWT({"alg": alg, "kid": "one", **header}, payload, algs=[alg], check_claims={})
    token.make_signed_token(own)
    return token.serialize(), public


LIBRARIES = {"PyJWT": _with_pyjwt, "jwcrypto": _with_jwcrypto}
CAN_SIGN = {"PyJWT": set(ALGORITHMS) - {"Ed25519"}, "jwcrypto": set(ALGORITHMS) - {"Ed25519"}}


@pytest.fixture
def status(home: Path, client_for: Callable[..., Client]) -> Callable[[str, dict[str, Any]], int]:
    """The status that the API answers a token with, where these are its keys."""
    publish(home, EXAMPLE)
    path = home / "jwks.json"

    def asked(token: str, own: dict[str, Any]) -> int:
        path.write_text(json.dumps({"keys": [own]}))
        client = client_for(jwks=str(path), jwt_issuer="https://id.example", jwt_audience=AUDIENCE)
        return client.get(FUNDED, headers=bearer(token)).status_code

    return asked


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_token_as_an_issuer_writes_it(status: Callable[[str, dict[str, Any]], int], library: str, shape: str) -> None:
    alg, header, more = SHAPES[shape]
    payload = {"sub": USER, "iss": "https://id.example", "exp": NOW + 3600, "iat": NOW - 5} | more
    token, own = LIBRARIES[library](alg, header, payload)
    assert status(token, own) == 200
    assert status(token, LIBRARIES[library](alg, header, payload)[1]) == 401, "by another key of the same name"


@pytest.mark.parametrize(("library", "alg"), [(name, alg) for name, algs in CAN_SIGN.items() for alg in sorted(algs)])
def test_every_accepted_algorithm(status: Callable[[str, dict[str, Any]], int], library: str, alg: str) -> None:
    payload = {"sub": USER, "iss": "https://id.example", "aud": AUDIENCE, "exp": NOW + 3600}
    token, own = LIBRARIES[library](alg, {"typ": "JWT"}, payload)
    assert status(token, own) == 200
    head, _, signature = token.rpartition(".")
    assert status(f"{head}.{signature[:-8]}AAAAAAAA", own) == 401


def test_the_two_names_of_ed25519(status: Callable[[str, dict[str, Any]], int]) -> None:
    """RFC 9864 calls Ed25519 what RFC 8037 calls EdDSA; a key may name either."""
    payload = {"sub": USER, "iss": "https://id.example", "aud": AUDIENCE, "exp": NOW + 3600}
    private = ed25519.Ed25519PrivateKey.generate()
    own = jwt.get_algorithm_by_name("EdDSA").to_jwk(private.public_key(), as_dict=True) | {"kid": "one"}
    jwt.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())
    try:
        tokens = [jwt.encode(payload, private, alg, headers={"kid": "one"}) for alg in ("EdDSA", "Ed25519")]
    finally:
        jwt.unregister_algorithm("Ed25519")
    for token in tokens:
        for named in ({}, {"alg": "EdDSA"}, {"alg": "Ed25519"}):
            assert status(token, own | named) == 200


def test_a_secret_that_is_shorter_than_the_hash_signs_nothing(status: Callable[[str, dict[str, Any]], int]) -> None:
    """RFC 7518, 3.2. PyJWT signs by one and warns; jwcrypto does not."""
    payload = {"sub": USER, "iss": "https://id.example", "aud": AUDIENCE, "exp": NOW + 3600}
    for alg, length in (("HS384", 32), ("HS512", 48)):
        secret = bytes(range(length))
        with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
            token = jwt.encode(payload, secret, alg, headers={"kid": "one"})
        assert status(token, json.loads(jwt.algorithms.HMACAlgorithm.to_jwk(secret)) | {"kid": "one"}) == 401


def test_the_document_names_every_accepted_algorithm() -> None:
    described = contract.load()["info"]["description"]
    assert [alg for alg in ALGORITHMS if f" {alg}" not in described] == []
