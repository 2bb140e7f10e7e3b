"""Bearer tokens: who the caller is, or a refusal.

What RFC 7515, 7519 and 9068 call valid is accepted, whoever issued it, and nothing else. A token is checked to the
letter before any cryptography (`parse`): size, canonical base64url, no duplicate JSON keys, no critical extension.
Libraries are lenient about these, and leniency is how forged tokens get in. Header parameters that we do not need are
ignored, as RFC 7515, 4 asks: no key is ever taken from a token. Then exactly one key must fit, and only then the
signature is verified. A token that was found valid is not verified again while its key stands and its time lasts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from joserfc.errors import JoseError, SecurityWarning

from pipelines.api.keys import ALGORITHMS, KeySource, VerificationKey, matching_keys

# RFC 9864 renames EdDSA to Ed25519; issuers still write EdDSA, and with keys bound to one curve it is as safe
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

MAX_TOKEN_BYTES = 16 * 1024
MAX_REMEMBERED = 10_000  # tokens, at some 500 bytes each
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_LAST_MS = 2**62  # an instant that is never reached
# exactly one space and three base64url parts; the scheme's case does not matter (RFC 9110)
_BEARER = re.compile(rb"(?i:bearer) ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)")


class InvalidToken(Exception):
    """A bearer token was presented and is not valid. The message is a word or two for our metrics.

    `description` says what a developer may know of it: of the token's own claims, and whether a key fits.
    """

    @property
    def description(self) -> str:
        """For `error_description` of the challenge (RFC 6750, 3)."""
        return _DESCRIPTIONS.get(str(self), "The token is malformed or its signature is wrong")


_DESCRIPTIONS = {
    "expired": "The token has expired",
    "not yet": "The token is not valid yet",
    "times": "The token has no exp, or a time that is not a number of seconds",
    "issuer": "The token is of another issuer",
    "audience": "The token is for another audience",
    "subject": "The token names no user",
    "algorithm": "The algorithm is not accepted",
    "type": "The type of the token is not accepted",
    "extension": "The token has a critical extension",
    "size": "The token is too long",
    "key": "No key, or more than one, fits the token's kid and alg",
}


class NoKeysYet(Exception):
    """A token cannot be judged: the key set has not been loaded yet."""


class NotBearer(Exception):
    """There is no bearer token: another scheme, several Authorization headers, nothing after `Bearer`."""


@dataclass(frozen=True)
class Token:
    """A token of the right form; nothing in it is believed before its signature is verified."""

    compact: str
    algorithm: str
    key_id: str | None
    payload: bytes


@dataclass(frozen=True)
class Expected:
    """What a valid token must say, apart from being signed."""

    issuer: str | None
    audience: str | None
    subject_claim: str
    any_audience: bool = False  # without an audience of our own, take tokens that name one
    leeway_seconds: int = 30  # by which the issuer's clock may differ from ours


def bearer(authorization: Sequence[bytes]) -> bytes:
    """The token in a request's Authorization headers. Raises NotBearer or InvalidToken."""
    if len(authorization) != 1:  # safeguard: one-authorization-header
        raise NotBearer
    value = authorization[0]
    match = _BEARER.fullmatch(value)
    if match is None:
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() == b"bearer" and rest.strip():
            raise InvalidToken("form")
        raise NotBearer
    if len(match[1]) > MAX_TOKEN_BYTES:  # safeguard: token-size
        raise InvalidToken("size")
    return match[1]


def parse(compact: bytes) -> Token:
    """Take a token apart, strictly. Raises InvalidToken."""
    header_part, payload_part, signature = compact.split(b".")
    header = _json_object(_decode(header_part))
    payload = _decode(payload_part)
    _decode(signature)
    if "crit" in header:  # safeguard: token-without-critical-extensions
        raise InvalidToken("extension")  # we understand none, so the token must be refused (RFC 7515, 4.1.11)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken("algorithm")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidToken("type")
    key_id = header.get("kid")
    if "kid" in header and not isinstance(key_id, str):
        raise InvalidToken("header")
    return Token(compact.decode("ascii"), algorithm, key_id, payload)


def claims_of(token: Token) -> dict[str, Any]:
    """What a token says: one JSON object, no key twice. Raises InvalidToken."""
    return _json_object(token.payload)


def check_claims(claims: dict[str, Any], expected: Expected, now_ms: int) -> str:
    """The subject of claims that are valid at `now_ms`, give or take the leeway. Raises InvalidToken."""
    if not all(  # safeguard: token-has-an-end
        _is_number(claims.get(name)) for name in ("exp", "nbf", "iat") if name == "exp" or name in claims
    ):
        raise InvalidToken("times")
    not_before, expires = valid_between(claims, expected)
    if now_ms >= expires:  # safeguard: token-expires
        raise InvalidToken("expired")
    if now_ms < not_before:  # safeguard: token-not-before
        raise InvalidToken("not yet")
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        raise InvalidToken("issuer")
    if expected.audience is None:
        # safeguard: token-for-somebody-else
        if "aud" in claims and not expected.any_audience:  # RFC 8725, 3.9: it is meant for others than us
            raise InvalidToken("audience")
    elif not _names(claims.get("aud"), expected.audience):  # safeguard: token-audience
        raise InvalidToken("audience")
    subject = claims.get(expected.subject_claim)
    if not isinstance(subject, str) or not subject or not _is_text(subject):
        raise InvalidToken("subject")
    return subject


def valid_between(claims: Mapping[str, Any], expected: Expected) -> tuple[int, int]:
    """(from, until): the milliseconds since 1970 between which claims are valid, with the leeway."""
    leeway = expected.leeway_seconds
    return _milliseconds(claims.get("nbf", 0) - leeway), _milliseconds(claims["exp"] + leeway)


def _milliseconds(seconds: int | Decimal) -> int:
    return int(min(max(seconds, -_LAST_MS), _LAST_MS) * 1000)


def verify_signature(token: Token, key: VerificationKey) -> None:
    """Raises InvalidToken unless `key` signed the token."""
    signed, _, signature = token.compact.rpartition(".")
    try:
        # Not through the library's reading of the header: it refuses parameters that it does not know, and long ones.
        is_valid = ALGORITHMS[token.algorithm].scheme.verify(
            signed.encode("ascii"), _decode(signature.encode()), key.key
        )
    except (JoseError, ValueError) as error:
        raise InvalidToken("signature") from error
    if not is_valid:
        raise InvalidToken("signature")


@dataclass(frozen=True, slots=True)
class _Verified:
    """What is left to decide about a token whose signature was verified: the time, and whether its key still stands."""

    subject: str
    not_before_ms: int
    expires_ms: int
    algorithm: str
    key_id: str | None
    key: VerificationKey


class Authenticator:
    """Decides who sent a request, from its Authorization headers.

    A client sends the same token again and again, and verifying a signature costs more than the rest of a request. So
    the last MAX_REMEMBERED tokens that were found valid are remembered by their sha256, to the letter. Time and key are
    looked at every time: a token that has expired, or whose key was withdrawn, is no longer valid.
    """

    def __init__(self, keys: KeySource, expected: Expected) -> None:
        self._keys = keys
        self._expected = expected
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()  # least recently used first

    @property
    def is_ready(self) -> bool:
        """Whether a token can be judged."""
        return self._keys.is_loaded

    async def subject(self, authorization: Sequence[bytes], now_ms: int) -> str:
        """The caller's user id. Raises NotBearer, InvalidToken or NoKeysYet."""
        compact = bearer(authorization)
        fingerprint = hashlib.sha256(compact).digest()
        known = self._verified.get(fingerprint)
        # safeguard: remembered-token-expires
        if known is not None and known.not_before_ms <= now_ms < known.expires_ms:
            candidates = matching_keys(await self._keys.current(), known.algorithm, known.key_id)
            if len(candidates) == 1 and candidates[0] is known.key:  # safeguard: remembered-token-falls-with-its-key
                self._verified.move_to_end(fingerprint)
                return known.subject
        self._verified.pop(fingerprint, None)
        self._verified[fingerprint] = verified = await self._verify(compact, now_ms)
        if len(self._verified) > MAX_REMEMBERED:
            self._verified.popitem(last=False)
        return verified.subject

    async def _verify(self, compact: bytes, now_ms: int) -> _Verified:
        token = parse(compact)
        claims = claims_of(token)
        subject = check_claims(claims, self._expected, now_ms)  # cheap, and an expired token needs no key
        candidates = matching_keys(await self._keys.current(), token.algorithm, token.key_id)
        if not candidates and await self._keys.refresh():
            candidates = matching_keys(await self._keys.current(), token.algorithm, token.key_id)
        if not self._keys.is_loaded:  # safeguard: no-keys-yet-is-no-refusal
            raise NoKeysYet
        if len(candidates) != 1:
            raise InvalidToken("key")
        verify_signature(token, candidates[0])  # safeguard: token-signature
        return _Verified(
            subject,
            *valid_between(claims, self._expected),
            token.algorithm,
            token.key_id,
            candidates[0],
        )


def _decode(part: bytes) -> bytes:
    """Base64url without padding, in its canonical spelling only: the last letter's unused bits are zero."""
    try:
        decoded = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        raise InvalidToken("base64") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part:  # safeguard: token-canonical
        raise InvalidToken("base64")
    return decoded


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=Decimal
        )
    except (ValueError, ArithmeticError, RecursionError):
        raise InvalidToken("json") from None
    if not isinstance(value, dict):
        raise InvalidToken("json")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # safeguard: token-claims-once
        raise ValueError("a key occurs twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _is_text(value: str) -> bool:
    """False for a lone surrogate, which JSON can escape and UTF-8 cannot hold."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _names(audience: object, expected: str) -> bool:
    if isinstance(audience, list):
        return expected in audience and all(isinstance(name, str) for name in audience)
    return audience == expected
