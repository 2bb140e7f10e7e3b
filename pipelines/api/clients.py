"""The client address that a request is rate-limited by.

It is the peer's address, unless the peer is a trusted proxy; then it is the rightmost address in X-Forwarded-For that
is not a trusted proxy's (each proxy appends the address that it saw). Whatever a client writes into the header itself
stands further left and is never read. Without that header it is that of Forwarded, then of X-Real-IP; so a proxy must
set, or throw away, the first of them that it lets pass.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from starlette.types import Scope

from pipelines.api.messages import Header, values_of
from pipelines.core.errors import UsageError

UNIX = "unix"  # among the trusted proxies: whoever may connect to the Unix socket

Network = IPv4Network | IPv6Network | Literal["unix"]
Address = IPv4Address | IPv6Address

UNKNOWN = "unknown"  # a peer without an address, such as a Unix socket: all of them are one client

log = logging.getLogger("mostwatched.api")

_WITH_PORT = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+)|\[([^\]]*)\])(?::\d{1,5})?")  # some proxies append the port


def networks(trusted_proxies: Sequence[str]) -> tuple[Network, ...]:
    """The trusted proxies as networks. Raises UsageError for one that is neither an address nor a network."""
    try:
        return tuple("unix" if text == UNIX else ip_network(text, strict=False) for text in trusted_proxies)
    except ValueError as error:
        raise UsageError(
            f"MOSTWATCHED_TRUSTED_PROXIES: {error}. Give addresses or networks such as 10.0.0.0/8, "
            "or unix for the Unix socket, with commas between."
        ) from None


class Clients:
    """The clients that requests are counted under. Says once when a proxy seems to stand before us unconfigured."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self._has_warned = False

    def of(self, scope: Scope) -> str:
        """The client of a request; see `client_of`."""
        if not self._has_warned and not _is_trusted(_peer(scope), self._trusted):
            named = [name for name, _ in scope["headers"] if name in _FORWARDED]
            if named:
                self._has_warned = True
                log.warning(
                    "a peer that is no trusted proxy names another client, and is counted itself: if it is your proxy, "
                    "all of its clients share one rate limit until MOSTWATCHED_TRUSTED_PROXIES lists it",
                    extra={"peer": str(_peer(scope) or UNIX), "header": named[0].decode()},
                )
        return client_of(scope, self._trusted)


def client_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the client address that a request is counted under.

    Of a trusted proxy it is the one that X-Forwarded-For names, without one Forwarded (RFC 7239), then X-Real-IP.
    """
    peer = _peer(scope)
    client = UNKNOWN if peer is None else str(peer)
    if not _is_trusted(peer, trusted):  # safeguard: forwarded-by-trusted-proxies
        return client
    for hop in reversed(list(_hops(scope["headers"]))):
        address = _address(hop)
        if address is None:
            break  # not an address: whoever wrote it, nothing left of it can be believed
        client = str(address)
        if not _is_trusted(address, trusted):
            break
    return client


def _peer(scope: Scope) -> Address | None:
    """The address of whoever is connected; None over a Unix socket."""
    return _address(scope["client"][0]) if scope.get("client") else None


_FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^";\s]*))\s*(?=;|$)', re.IGNORECASE)


def _hops(headers: Sequence[Header]) -> Iterator[str]:
    """The addresses that the first of the three headers names, the client's first; "" for what names none."""
    for name in _FORWARDED:
        values = values_of(headers, name)
        for element in (each for value in values for each in value.decode("latin-1").split(",")):
            found = _FOR.search(element) if name == b"forwarded" else None
            if name != b"forwarded":
                yield element
            else:
                yield (found[1] or found[2] or "") if found else ""
        if values:
            return


def _address(text: str) -> Address | None:
    bare = text.strip()
    match = _WITH_PORT.fullmatch(bare)
    if match:
        bare = match[1] or match[2]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    # ::ffff:192.0.2.1 is how a dual-stack socket shows 192.0.2.1: the same client
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address  # safeguard: ipv4-in-ipv6-is-one-client


def _is_trusted(address: Address | None, trusted: Sequence[Network]) -> bool:
    if address is None:
        return UNIX in trusted
    return any(not isinstance(network, str) and address in network for network in trusted)
