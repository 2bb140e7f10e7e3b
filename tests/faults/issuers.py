"""Tokens as issuers sign them, by every algorithm, near every edge of time, and with what must not fit together.

They are signed by the primitives of `cryptography` and written by hand, and judged by arithmetic: who shares a key, an
algorithm and a moment is let in, and nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tokens import NOW

from faults.campaign import Effort, Figure
from faults.raw import FUNDED, Connection, refusal_problem
from faults.server import SharedClock, worker

Json = dict[str, Any]
Sign = Callable[[bytes], bytes]
LEEWAYS = (0, 30, 600)
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {
    "256": (ec.SECP256R1(), "P-256", 32),
    "384": (ec.SECP384R1(), "P-384", 48),
    "512": (ec.SECP521R1(), "P-521", 66),
}
SECRET = bytes(range(64))


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _number(value: int) -> str:
    return b64(value.to_bytes(-(-value.bit_length() // 8), "big"))


def signers() -> tuple[dict[str, Sign], list[Json]]:
    """By algorithm how it signs, and the public keys; the key's id is the name of its kind."""
    ways: dict[str, Sign] = {}
    rsa_key, ed_key = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    numbers = rsa_key.public_key().public_numbers()
    keys: list[Json] = [
        {"kty": "RSA", "kid": "rsa", "n": _number(numbers.n), "e": _number(numbers.e)},
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(ed_key.public_key().public_bytes_raw())},
        {"kty": "oct", "kid": "oct", "k": b64(SECRET)},
    ]
    ways["EdDSA"] = ways["Ed25519"] = ed_key.sign
    for bits, kind in HASHES.items():
        pss = padding.PSS(padding.MGF1(kind), kind.digest_size)
        ways[f"RS{bits}"] = lambda text, kind=kind: rsa_key.sign(text, padding.PKCS1v15(), kind)
        ways[f"PS{bits}"] = lambda text, kind=kind, pss=pss: rsa_key.sign(text, pss, kind)
        ways[f"HS{bits}"] = lambda text, bits=bits: hmac.digest(SECRET, text, getattr(hashlib, f"sha{bits}"))
        curve, name, size = CURVES[bits]
        ec_key = ec.generate_private_key(curve)
        point = ec_key.public_key().public_numbers()
        x, y = (b64(value.to_bytes(size, "big")) for value in (point.x, point.y))
        keys.append({"kty": "EC", "kid": f"ec{bits}", "crv": name, "x": x, "y": y})

        def by_curve(text: bytes, ec_key: Any = ec_key, kind: Any = kind, size: int = size) -> bytes:
            both = decode_dss_signature(ec_key.sign(text, ec.ECDSA(kind)))
            return b"".join(value.to_bytes(size, "big") for value in both)

        ways[f"ES{bits}"] = by_curve
    return ways, keys


def kid_of(alg: str) -> str:
    """The key that an algorithm signs with."""
    families = {"RS": "rsa", "PS": "rsa", "HS": "oct", "Ed": "ed"}
    return families.get(alg[:2], f"ec{alg[2:]}")


def drawn(effort: Effort, home: Path, clock: SharedClock) -> Figure:
    """Each through a worker with that leeway."""
    figure = Figure(
        "tokens of issuers let in too early, too late or by another key; or refused although they are right"
    )
    ways, keys = signers()
    path = home / "issuers.json"
    path.write_text(json.dumps({"keys": keys}))
    draw, fine, before = effort.random("issuers"), 0, clock.us
    for leeway in LEEWAYS:
        clock.us = NOW * 1_000_000
        settings = {"jwks": str(path), "jwt_leeway_seconds": leeway}
        with worker(home, clock, **settings) as server, Connection(server.port) as connection:
            for _ in range(effort.times(400, 10_000)):
                token, is_right, why = _token(draw, ways, leeway)
                fine += is_right
                answer = connection.get(FUNDED, f"Authorization: Bearer {token}")
                problem = "" if answer.status == 200 else f"{answer.status}"
                if not is_right:
                    problem = refusal_problem(answer) or ""
                figure.check(not problem, f"leeway {leeway}, {why}: {problem}")
    clock.us = before
    figure.note = f"{len(ways)} algorithms, {fine:,} right"
    return figure


def _token(draw: Random, ways: dict[str, Sign], leeway: int) -> tuple[str, bool, str]:
    """(token, whether it is right, what it is)."""
    alg = draw.choice(sorted(ways))
    header: Json = {"alg": alg, "kid": kid_of(alg)}
    header |= draw.choice(({}, {"typ": "JWT"}, {"typ": "at+jwt"}, {"x5t": "abc", "jku": "http://127.0.0.1:9/"}))
    # a second off the edge on either side, and fractions: what happens at the very edge is nobody's promise
    edge = (-1, -0.5, 0.5, 1)
    claims: Json = {"sub": "user", "exp": NOW - leeway + draw.choice((*edge, 3600, leeway + 60, -3600))}
    if draw.random() < 0.5:
        claims["nbf"] = NOW + leeway - draw.choice((*edge, 3600, -3600, leeway + 5))
    if draw.random() < 0.3:
        claims["iat"] = NOW - draw.choice((1, 3600))
    is_right = claims["exp"] + leeway > NOW and claims.get("nbf", 0) - leeway < NOW
    said, signs = dict(header), ways[alg]
    if draw.random() < 0.25:  # signed by one, and said to be of another
        other = draw.choice(sorted(ways))
        what = draw.choice(("alg", "kid", "both"))
        said |= {"alg": other} if what != "kid" else {}
        said |= {"kid": kid_of(other)} if what != "alg" else {}
        same_way = {alg, said["alg"]} <= {"EdDSA", "Ed25519"}  # two names of one algorithm
        is_right &= (said["alg"] == alg or same_way) and said["kid"] == header["kid"]
    signed = ".".join(b64(json.dumps(part).encode()) for part in (said, claims))
    signature = bytearray(signs(signed.encode()))
    if draw.random() < 0.05:
        signature[draw.randrange(len(signature))] ^= 1 << draw.randrange(8)
        is_right = False
    return f"{signed}.{b64(bytes(signature))}", is_right, f"signed by {alg}: {said} {claims}"
