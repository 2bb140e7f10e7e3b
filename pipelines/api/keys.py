"""The keys that tokens are verified with: a JWKS from a file, or from a URL.

A key is only used with the algorithm of its own type, and a set's unusable keys (too short, for encryption,
of an unknown type) are left out, not fatal. Symmetric keys are taken from a file only: a URL would publish
the secret.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from pipelines.api.limits import SECOND
from pipelines.core import http_client
from pipelines.core.errors import UsageError

MAX_JWKS_BYTES = 256 * 1024
FETCH_TIMEOUT_SECONDS = 5.0  # all in all, however slowly it comes
MAX_REDIRECTS = 10  # of a fetch
FETCH_AT_MOST_EVERY_SECONDS = 30  # however many tokens name a key that we do not have
FIRST_FETCH_EVERY_SECONDS = 2  # until there are any keys
REFRESH_AFTER_SECONDS = 600  # so that a withdrawn key is not trusted for ever
SHORTEST_RSA_BITS = 2048

log = logging.getLogger("mostwatched.api")


class SignatureScheme(Protocol):
    """What the library has of an algorithm."""

    def verify(self, msg: bytes, sig: bytes, key: Any) -> bool:
        """Whether the key made the signature of the message."""
        ...


@dataclass(frozen=True)
class Algorithm:
    """One of the fixed list: the type (and curve) of key it needs, and what verifies its signatures."""

    key_type: str
    curve: str | None
    scheme: SignatureScheme
    shortest_secret: int = 0  # bytes; RFC 7518, section 3.2: at least as long as the hash


def _algorithm(name: str, key_type: str, curve: str | None = None, shortest_secret: int = 0) -> Algorithm:
    return Algorithm(key_type, curve, JWSRegistry.algorithms[name], shortest_secret)


ALGORITHMS: Mapping[str, Algorithm] = {
    **{f"RS{bits}": _algorithm(f"RS{bits}", "RSA") for bits in (256, 384, 512)},
    **{f"PS{bits}": _algorithm(f"PS{bits}", "RSA") for bits in (256, 384, 512)},
    "ES256": _algorithm("ES256", "EC", "P-256"),
    "ES384": _algorithm("ES384", "EC", "P-384"),
    "ES512": _algorithm("ES512", "EC", "P-521"),
    # RFC 9864 renames EdDSA to Ed25519; issuers still write EdDSA, and with keys bound to one curve it is as safe.
    **{name: _algorithm(name, "OKP", "Ed25519") for name in ("EdDSA", "Ed25519")},
    **{f"HS{bits}": _algorithm(f"HS{bits}", "oct", shortest_secret=bits // 8) for bits in (256, 384, 512)},
}

# CVE-2017-15361: moduli of that generator are powers of 65537 modulo every small prime; others practically never
_WEAK_RESIDUES = {
    prime: frozenset(pow(65537, exponent, prime) for exponent in range(prime - 1))
    for prime in (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
}

# the members that make a public (or symmetric) key; a private key's others are not even read
_MEMBERS = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
    "oct": ("kty", "k"),
}


@dataclass(frozen=True)
class VerificationKey:
    """A usable key of a JWKS, with its declared id and algorithms."""

    key: jwk.Key
    key_id: str | None
    algorithms: frozenset[str]


def matching_keys(keys: Sequence[VerificationKey], algorithm: str, key_id: str | None) -> list[VerificationKey]:
    """The keys that a token may have been signed with: of its `kid` if it names one, and for its algorithm."""
    # safeguard: key-of-its-algorithm
    return [key for key in keys if key_id in (None, key.key_id) and algorithm in key.algorithms]


def parse_jwks(content: bytes, *, with_symmetric: bool) -> tuple[VerificationKey, ...]:
    """The usable keys of a JWKS. Raises ValueError when it is not one, or when no key in it can be used."""
    try:
        document = json.loads(content, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError('it has no list "keys"')
    # two keys of one name are a mistake or an attack: neither is what a token can have meant by it
    counts = Counter(entry.get("kid") for entry in listed if isinstance(entry, dict) and _is_name(entry))
    usable = []
    for number, entry in enumerate(listed):
        try:
            # safeguard: two-keys-of-one-name-left-out
            if isinstance(entry, dict) and _is_name(entry) and counts[entry["kid"]] > 1:
                raise ValueError("another key has the same kid")
            usable.append(_verification_key(entry, with_symmetric=with_symmetric))
        except (ValueError, TypeError, KeyError, JoseError) as error:
            log.warning("a key of the JWKS is left out", extra={"number": number, "reason": str(error)})
    if not usable:
        raise ValueError("no key in it can be used")
    return tuple(usable)


def _is_name(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("kid"), str)


def _verification_key(entry: Any, *, with_symmetric: bool) -> VerificationKey:
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    key_type, curve = entry.get("kty"), entry.get("crv")
    if key_type == "oct" and not with_symmetric:  # safeguard: no-symmetric-key-of-a-url
        raise ValueError("a symmetric key is only taken from a file")
    if entry.get("use", "sig") != "sig":
        raise ValueError('its use is not "sig"')
    if "key_ops" in entry and "verify" not in entry["key_ops"]:
        raise ValueError('its key_ops do not hold "verify"')
    key_id = entry.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("its kid is not a string")
    names = [name for name, one in ALGORITHMS.items() if one.key_type == key_type and one.curve in (None, curve)]
    algorithms = frozenset(name for name in names if entry.get("alg", name) in _SYNONYMS.get(name, {name}))
    if not algorithms:
        raise ValueError(f"no algorithm of {', '.join(ALGORITHMS)} fits its kty, crv and alg")
    members = {name: entry[name] for name in _MEMBERS[str(key_type)]}
    if key_type == "oct":
        secret = len(_unsigned(members["k"]))
        algorithms = frozenset(name for name in algorithms if secret >= ALGORITHMS[name].shortest_secret)
        if not algorithms:
            raise ValueError("a secret must have at least as many bytes as the hash: 32 for HS256, 64 for HS512")
    _require_strength(members)
    return VerificationKey(jwk.import_key(members), key_id, algorithms)


_SYNONYMS = {name: {"EdDSA", "Ed25519"} for name in ("EdDSA", "Ed25519")}


def _require_strength(members: Mapping[str, str]) -> None:
    if members["kty"] == "RSA":
        modulus, exponent = (int.from_bytes(_unsigned(members[name])) for name in ("n", "e"))
        if modulus.bit_length() < SHORTEST_RSA_BITS:  # safeguard: short-rsa-key-left-out
            raise ValueError(f"an RSA key must have at least {SHORTEST_RSA_BITS} bits")
        if exponent < 3 or exponent % 2 == 0:
            raise ValueError("its exponent signs nothing")
        if all(modulus % prime in residues for prime, residues in _WEAK_RESIDUES.items()):
            raise ValueError("it was made by a generator whose keys can be factored (CVE-2017-15361)")


def _unsigned(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member occurs twice")
    return found


# --- where they come from ---


class KeySource(Protocol):
    """The keys as they are now."""

    @property
    def is_loaded(self) -> bool:
        """Whether a token can be judged: false until a key set that is configured has been read once."""
        ...

    async def current(self) -> Sequence[VerificationKey]:
        """Every key that may be used."""
        ...

    async def refresh(self) -> bool:
        """Look for new keys when no key fits a token. Returns whether `current` is worth another try."""
        ...


class NoKeys:
    """Nothing is configured: no token can be verified."""

    is_loaded = True

    async def current(self) -> Sequence[VerificationKey]:
        """None."""
        return ()

    async def refresh(self) -> bool:
        """Never."""
        return False


class KeyFile:
    """A JWKS file, read again whenever it has changed; if that cannot be read, the old keys stay in use."""

    is_loaded = True

    def __init__(self, path: Path) -> None:
        """Raises UsageError when no usable key can be read: better now than at every request."""
        self._path = path
        self._seen = self._signature()
        try:
            self._keys = self._read()
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise UsageError(
                f"MOSTWATCHED_JWKS: {path} is not a usable JWKS file: {said}. Name a file of public keys, as JSON with "
                'a list "keys", or the URL of one.'
            ) from error

    async def current(self) -> Sequence[VerificationKey]:
        """Every key that may be used."""
        signature = self._signature()
        if signature != self._seen:
            self._seen = signature  # before reading: one attempt, and one line in the log, for each change
            try:
                self._keys = self._read()
                log.info("the JWKS file was read again", extra={"keys": len(self._keys)})
            except (OSError, ValueError) as error:
                log.error("the JWKS file cannot be read: old keys stay", extra={"reason": str(error)})
        return self._keys

    async def refresh(self) -> bool:
        """Never: `current` has just looked."""
        return False

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_ino, status.st_size)

    def _read(self) -> tuple[VerificationKey, ...]:
        with self._path.open("rb") as file:
            content = file.read(MAX_JWKS_BYTES + 1)
        if len(content) > MAX_JWKS_BYTES:
            raise ValueError(f"it is larger than {MAX_JWKS_BYTES} bytes")
        return parse_jwks(content, with_symmetric=True)


class KeyUrl:
    """A JWKS at a URL: fetched at the start, when a token names an unknown key, and every ten minutes of use.

    Never more than once in 30 s, in a thread, one fetch at a time; a failure leaves the old keys in use. Until there
    are any, it is tried again every two seconds, whether or not anybody asks.
    """

    def __init__(self, url: str, monotonic_us: Callable[[], int]) -> None:
        self._url = url
        self._now = monotonic_us
        self._keys: tuple[VerificationKey, ...] = ()
        self._tried_at: int | None = None
        self._fetching = threading.Lock()
        self._renewal: asyncio.Task[None] | None = None

    @property
    def is_loaded(self) -> bool:
        """See KeySource."""
        return bool(self._keys)

    def start(self) -> None:
        """Fetch in the background, until there are keys."""
        threading.Thread(target=self._fetch_first, name="JWKS fetch", daemon=True).start()

    def _fetch_first(self) -> None:
        self.fetch()
        while not self._keys:
            time.sleep(FIRST_FETCH_EVERY_SECONDS)
            self.fetch()

    async def current(self) -> Sequence[VerificationKey]:
        """Every key that may be used, as of the last fetch."""
        if self._keys and self._is_due(REFRESH_AFTER_SECONDS) and not self._fetching.locked():
            self.start()
        return self._keys

    async def refresh(self) -> bool:
        """Fetch if none was tried in the last 30 s (or wait for the one under way)."""
        renewal = self._renewal
        if renewal is None or renewal.done():
            if not self._fetching.locked() and not self._is_due(self._pause_seconds):
                return False
            # one thread, however many requests wait for it; and it goes on if this request's client goes away
            renewal = self._renewal = asyncio.create_task(asyncio.to_thread(self.fetch))
        await asyncio.shield(renewal)
        return True

    def fetch(self) -> None:
        """Replace the keys by those at the URL, unless that has just been tried. Never raises."""
        with self._fetching:
            if not self._is_due(self._pause_seconds):  # safeguard: jwks-fetched-seldom
                return  # whoever held the lock has just done it
            self._tried_at = self._now()
            try:
                status, content = http_client.request(
                    "GET", self._url, seconds=FETCH_TIMEOUT_SECONDS, max_bytes=MAX_JWKS_BYTES, redirects=MAX_REDIRECTS
                )
                if not content:
                    raise ValueError(f"it answered {status}")
                self._keys = parse_jwks(content, with_symmetric=False)
                log.info("the JWKS was fetched", extra={"keys": len(self._keys)})
            except Exception as error:  # whatever the other side has answered, the old keys are still right
                log.error("the JWKS cannot be fetched: old keys stay", extra={"reason": str(error)})

    @property
    def _pause_seconds(self) -> int:
        return FETCH_AT_MOST_EVERY_SECONDS if self._keys else FIRST_FETCH_EVERY_SECONDS

    def _is_due(self, after_seconds: int) -> bool:
        return self._tried_at is None or self._now() - self._tried_at >= after_seconds * SECOND


def key_source(jwks: str | None, monotonic_us: Callable[[], int]) -> KeySource:
    """The source behind MOSTWATCHED_JWKS. Raises UsageError when it is a file that cannot be used."""
    if jwks is None:
        return NoKeys()
    scheme, separator, _ = jwks.partition("://")
    if not separator:
        return KeyFile(Path(jwks))
    if scheme.lower() not in ("http", "https") or not _is_plain(jwks):
        # not with the URL itself: a password may stand in it
        raise UsageError("MOSTWATCHED_JWKS: give a file, or a URL with http or https and without a user or password.")
    return KeyUrl(jwks, monotonic_us)


def _is_plain(url: str) -> bool:
    """Whether it has a host, and neither a user nor a password nor a port that is no number."""
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
