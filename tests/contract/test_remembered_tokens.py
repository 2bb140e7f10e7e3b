"""A token is verified once and remembered: faster, and never longer valid than it would have been."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tokens import NOW, claims, jwks, sign

from pipelines.api import tokens
from pipelines.api.keys import VerificationKey, parse_jwks
from pipelines.api.tokens import Authenticator, Expected, InvalidToken

NOBODY_IN_PARTICULAR = Expected(issuer=None, audience=None, subject_claim="sub")
TOKEN = sign(claims(nbf=NOW - 10))


class Keys:
    """A source whose keys a test sets."""

    def __init__(self, *names: str) -> None:
        self.keys: tuple[VerificationKey, ...] = parse_jwks(jwks(*names), with_symmetric=False)

    is_loaded = True

    async def current(self) -> Sequence[VerificationKey]:
        return self.keys

    async def refresh(self) -> bool:
        return False


def subject(authenticator: Authenticator, token: str = TOKEN, now: int = NOW) -> str:
    return asyncio.run(authenticator.subject([b"Bearer " + token.encode()], now * 1000))


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature was really verified, one after the other."""
    done: list[str] = []
    verify = tokens.verify_signature

    def noted(token: tokens.Token, key: VerificationKey) -> None:
        verify(token, key)
        done.append(token.compact)

    monkeypatch.setattr(tokens, "verify_signature", noted)
    return done


def test_a_signature_is_verified_once(verified: list[str]) -> None:
    """The second request with the same token costs no signature."""
    authenticator = Authenticator(Keys("rsa-1"), NOBODY_IN_PARTICULAR)
    assert subject(authenticator) == subject(authenticator) == claims()["sub"]
    assert verified == [TOKEN]


@pytest.mark.parametrize("now", [NOW + 90, NOW - 41])
def test_a_remembered_token_is_valid_only_in_its_time(now: int) -> None:
    """From nbf to exp, give or take the leeway of 30 s, also for a token that was valid a moment ago."""
    authenticator = Authenticator(Keys("rsa-1"), NOBODY_IN_PARTICULAR)
    subject(authenticator)
    with pytest.raises(InvalidToken):
        subject(authenticator, now=now)
    assert subject(authenticator, now=NOW + 59) == claims()["sub"]


def test_a_remembered_token_falls_with_its_key() -> None:
    """A withdrawn key takes its tokens with it; so does another one of its name."""
    keys = Keys("rsa-1")
    authenticator = Authenticator(keys, NOBODY_IN_PARTICULAR)
    subject(authenticator)
    keys.keys = Keys("ec-1").keys
    with pytest.raises(InvalidToken):
        subject(authenticator)
    keys.keys = parse_jwks(jwks("rsa-2", kid="rsa-1"), with_symmetric=False)
    with pytest.raises(InvalidToken):
        subject(authenticator)


def test_a_token_is_remembered_to_the_letter(verified: list[str]) -> None:
    """Another signature under the same claims is another token."""
    authenticator = Authenticator(Keys("rsa-1"), NOBODY_IN_PARTICULAR)
    subject(authenticator)
    forged = TOKEN[:-6] + ("AAAAAA" if not TOKEN.endswith("AAAAAA") else "BBBBBA")
    with pytest.raises(InvalidToken):
        subject(authenticator, forged)
    assert verified == [TOKEN]


def test_the_least_recently_used_token_is_forgotten(monkeypatch: pytest.MonkeyPatch, verified: list[str]) -> None:
    """Memory does not grow with the number of callers."""
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 2)
    authenticator = Authenticator(Keys("rsa-1"), NOBODY_IN_PARTICULAR)
    one, two, three = (sign(claims(sub=name)) for name in ("one", "two", "three"))
    for token in (one, two, one, three, one, two):
        subject(authenticator, token)
    assert verified == [one, two, three, two]
