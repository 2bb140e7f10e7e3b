"""The Wycheproof vectors of JSON Web Signatures and Keys, judged by the product's own parsing, keys and verification.

The corpus signs arbitrary payloads, not claims; so a vector goes through everything that a bearer token goes through,
except that its payload is not read as claims.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.api.keys import ALGORITHMS, matching_keys, parse_jwks
from pipelines.api.tokens import InvalidToken, NotBearer, bearer, parse, verify_signature

SIGNATURES = "json_web_signature_test"
KEYS = "json_web_key_test"

# A file with a secret and a public key: confusing one with the other is the danger, and they are told apart by type.
# The corpus itself flags it as ambiguous.
AMBIGUOUS = {(KEYS, 1)}


@dataclass(frozen=True)
class Vector:
    """One test of the corpus: a token, the key set it is to be verified with, and what the corpus says of it."""

    file: str
    number: int
    comment: str
    is_valid: bool
    key_set: dict[str, Any]
    token: str

    @property
    def same_bytes(self) -> tuple[str, str]:
        return (json.dumps(self.key_set, sort_keys=True), self.token)


def vectors(folder: Path, name: str) -> Iterator[Vector]:
    """Every vector of one file of the corpus."""
    for group in json.loads((folder / f"{name}.json").read_text("utf-8"))["testGroups"]:
        keys = group.get("public") or group["private"]
        for case in group["tests"]:
            assert case["result"] in ("valid", "invalid")
            key_set = keys if "keys" in keys else {"keys": [keys]}
            yield Vector(name, case["tcId"], case["comment"], case["result"] == "valid", key_set, _text(case["jws"]))


def _text(jws: Any) -> str:
    """A token as it would be sent; some vectors are of the JSON serialisation."""
    return jws if isinstance(jws, str) else json.dumps(jws)


def refusal(vector: Vector) -> str | None:
    """Why the product refuses a vector; None when it accepts it."""
    try:
        keys = parse_jwks(json.dumps(vector.key_set).encode(), with_symmetric=True)
        token = parse(bearer([b"Bearer " + vector.token.encode()]))
        candidates = matching_keys(keys, token.algorithm, token.key_id)
        if len(candidates) != 1:
            return "key"
        verify_signature(token, candidates[0])
    except (ValueError, InvalidToken, NotBearer) as reason:
        return str(reason) or "not bearer"
    return None


def contradictory(known: list[Vector]) -> set[tuple[str, int]]:
    """The vectors called invalid that are, key and token byte for byte, another one called valid."""
    valid = {vector.same_bytes for vector in known if vector.is_valid}
    return {(vector.file, vector.number) for vector in known if not vector.is_valid and vector.same_bytes in valid}


def reason_to_refuse_valid(vector: Vector) -> str | None:
    """The rule, worked out from the vector itself, for which a valid vector is not accepted; None when it should be."""
    head, _, rest = vector.token.partition(".")
    payload, _, signature = rest.partition(".")
    if any(letter not in _LETTERS for letter in head + payload + signature):
        return "a letter that base64url does not have"
    if not payload:
        return "an empty payload, which holds no claims"
    header = json.loads(_decoded(head))
    if header["alg"] not in ALGORITHMS:
        return f"{header['alg']} is not one of {', '.join(ALGORITHMS)}"
    [own] = [key for key in vector.key_set["keys"] if key.get("kid") == header["kid"]]
    if own.get("alg", header["alg"]) != header["alg"]:
        return f"the key is for {own['alg']}, the token says {header['alg']}"
    return None


_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
