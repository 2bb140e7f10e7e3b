"""The client address that a request is rate-limited by.

It is the peer's address, unless the peer is a trusted proxy; then it is the rightmost address in X-Forwarded-For that
is not a trusted proxy's (each proxy appends the address that it saw). Whatever a client writes into the header itself
stands further left and is never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from pipelines.api.messages import values_of
from pipelines.core.errors import UsageError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

UNKNOWN = "unknown"  # a peer without an address, such as a Unix socket: all of them are one client

_WITH_PORT = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+)|\[([^\]]*)\])(?::\d{1,5})?")  # some proxies append the port


def networks(trusted_proxies: Sequence[str]) -> tuple[Network, ...]:
    """The trusted proxies as networks. Raises UsageError for one that is neither an address nor a network."""
    try:
        return tuple(ip_network(text, strict=False) for text in trusted_proxies)
    except ValueError as error:
        raise UsageError(
            f"MOSTWATCHED_TRUSTED_PROXIES: {error}. Give addresses or networks such as 10.0.0.0/8, with commas between."
        ) from None


def client_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the client address that a request is counted under."""
    peer = _address(scope["client"][0]) if scope.get("client") else None
    if peer is None:
        return UNKNOWN
    if not trusted or not _is_in(peer, trusted):  # safeguard: forwarded-by-trusted-proxies
        return str(peer)
    client = peer
    for hop in reversed(list(_hops(values_of(scope["headers"], b"x-forwarded-for")))):
        address = _address(hop)
        if address is None:
            break  # not an address: whoever wrote it, nothing left of it can be believed
        client = address
        if not _is_in(address, trusted):
            break
    return str(client)


def _hops(values: Iterable[bytes]) -> Iterable[str]:
    for value in values:
        yield from value.decode("latin-1").split(",")


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


def _is_in(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
