"""Keys and tokens for the tests; tokens are put together by hand, so that they can be wrong in any way."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from joserfc import jwk
from joserfc.jws import JWSRegistry

NOW = 1_780_000_000  # 2026-05-28T20:26:40Z, when the tests' clock stands still


def b64(content: bytes | str | Mapping[str, Any]) -> str:
    """Base64url without padding; a mapping as JSON."""
    if isinstance(content, Mapping):
        content = json.dumps(content)
    raw = content.encode() if isinstance(content, str) else content
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@cache
def key(name: str) -> Any:
    """A private key by name; the same one in every test."""
    kind = name.split("-", 1)[0]
    parameters = {"kid": name}
    if kind == "rsa":
        return jwk.RSAKey.generate_key(2048, parameters)
    if kind == "small":
        return jwk.RSAKey.generate_key(1024, parameters)
    if kind == "ec":
        return jwk.ECKey.generate_key("P-256", parameters)
    if kind == "p384":
        return jwk.ECKey.generate_key("P-384", parameters)
    if kind == "ed":
        return jwk.OKPKey.generate_key("Ed25519", parameters)
    assert kind == "oct"
    return jwk.OctKey.generate_key(256, parameters)


def jwks(*names: str, **changes: Any) -> bytes:
    """A JWKS of public keys (secrets for oct); `changes` go into every key."""
    keys = []
    for name in names:
        one = key(name)
        keys.append({**one.as_dict(private=one.key_type == "oct"), **changes})
    return json.dumps({"keys": keys}).encode()


def claims(sub: Any = "507f191e810c19729de860ea", **others: Any) -> dict[str, Any]:
    """Claims that are valid at NOW; None takes one away."""
    return {name: value for name, value in ({"sub": sub, "exp": NOW + 60} | others).items() if value is not None}


def sign(
    content: Mapping[str, Any] | str | bytes,
    name: str = "rsa-1",
    alg: str = "RS256",
    header: Mapping[str, Any] | str | bytes | None = None,
) -> str:
    """A token over any content with any header, signed by `alg` with the key of that name."""
    if header is None:
        header = {"alg": alg, "typ": "JWT", "kid": name}
    signed = f"{b64(header)}.{b64(content)}"
    signature = JWSRegistry.algorithms[alg].sign(signed.encode(), key(name))
    return f"{signed}.{b64(signature)}"


def bearer(token: str) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {token}"}
