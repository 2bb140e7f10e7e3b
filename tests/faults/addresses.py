"""Whose request it is: chains of forwarded addresses, by the rule alone and over HTTP."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from random import Random

from faults.campaign import Effort, Figure
from pipelines.api.clients import client_of, networks

PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8:ffff::/48")
KINDS = ("x-forwarded-for", "forwarded", "x-real-ip")  # the first that is there is read
GARBAGE = (
    "", " ", "unknown", "_hidden", "localhost", "256.1.1.1", "1.2.3", "010.0.0.1", "0x0a000001", "167772161", "::1::",
    "10.0.0.1/8", "[::1", "::1]", "[2001:db8::1]:99999999", "10.0.0.1:x",
    "for=10.0.0.1", "10.0.0.1;", "\xa010.0.0.1\xa0",
    "\u0661.1.1.1".encode().decode("latin-1"), "10.0.0.1%25eth0", "'or 1=1", "\0", "a" * 3000, "-", "*", "10..0.1",
)  # fmt: skip


def spellings(address: str) -> list[str]:
    """The ways to write one address that all mean it."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        whole = parsed.exploded
        return [address, whole, whole.upper(), f"[{address}]", f"[{whole}]:443", f" {address}\t"]
    mapped = f"::ffff:{address}"
    return [address, f"{address}:8080", f" {address} ", mapped, mapped.upper(), f"[{mapped}]:1"]


def chains(effort: Effort) -> Figure:
    """A client behind trusted proxies writes what it likes: it stays the address that the nearest proxy saw."""
    figure = Figure("requests counted under an address that the client made up")
    draw = effort.random("addresses")
    trusted = networks(PROXIES)
    for _ in range(effort.times(12_000, 500_000)):
        client = _outsider(draw)
        made_up = [_part(draw) for _ in range(draw.randint(0, 6))]
        proxies = [_proxy(draw) for _ in range(draw.randint(0, 3))]
        kind = draw.choice((*KINDS, KINDS[0]))
        if draw.random() < 0.3:  # straight to us: no header is believed
            peer, lines = client, _lines(draw, kind, [_element(draw, kind, one) for one in made_up])
        else:
            *through, peer = [*([] if kind == "x-real-ip" else proxies), _proxy(draw)]
            said = [_element(draw, kind, one) for one in made_up]
            said += [_element(draw, kind, one, is_meant=True) for one in (client, *through)]
            # the proxy sets this header; one that is only read without it, a client may have sent
            lines = _lines(draw, kind, said[-1:] if kind == "x-real-ip" else said)
            for later in KINDS[KINDS.index(kind) + 1 :]:
                lines += _lines(draw, later, [_element(draw, later, _part(draw))]) if draw.random() < 0.3 else []
        if len({name for name, _ in lines}) == len(lines):
            draw.shuffle(lines)  # no two lines of one header: their order says nothing
        shown = draw.choice([peer, f"::ffff:{peer}" if "." in peer else peer])
        scope = {"client": (shown, 1), "headers": [(name.encode(), line.encode("latin-1")) for name, line in lines]}
        counted = client_of(scope, trusted)
        figure.check(counted == str(ip_address(client)), f"{client} by {shown}, {lines}: counted as {counted}")
        alone = client_of(scope, ())
        figure.check(alone == str(ip_address(peer)), f"no proxies, {shown}, {lines}: counted as {alone}")
    return figure


def _element(draw: Random, kind: str, hop: str, *, is_meant: bool = False) -> str:
    """A hop as one of the headers writes it. What is meant is spelt rightly, what a client makes up may be anything."""
    if kind != "forwarded":
        return draw.choice(spellings(hop)) if is_meant else hop
    if not is_meant and draw.random() < 0.3:
        return hop
    if is_meant or ":" in hop:
        bare = f"[{hop}]" if ":" in hop else hop
        port = draw.choice(("", ":443"))
        named = f'"{bare}{port}"' if ":" in bare + port or draw.random() < 0.5 else bare
    else:
        named = hop
    others = draw.sample(("proto=https", "by=10.0.0.1", 'host="a.example"', "by=_p;proto=http"), draw.randint(0, 2))
    others.insert(draw.randint(0, len(others)), f"{draw.choice(('for', 'For', 'FOR'))}={named}")
    return ";".join(others)


def _lines(draw: Random, kind: str, hops: list[str]) -> list[tuple[str, str]]:
    """The hops in one header or in several."""
    lines: list[list[str]] = [[]]
    for hop in hops:
        if lines[-1] and draw.random() < 0.3:
            lines.append([])
        lines[-1].append(hop)
    return [(kind, draw.choice((",", ", ", " ,")).join(line)) for line in lines] if hops else []


def _outsider(draw: Random) -> str:
    while True:
        four = str(ip_address(draw.randrange(1 << 24, 1 << 32)))
        six = str(ip_address((0x2001 << 112) | draw.randrange(1 << 112)))
        chosen = draw.choice((four, six))
        if not any(ip_address(chosen) in network for network in map(ip_network, PROXIES)):
            return chosen


def _proxy(draw: Random) -> str:
    return draw.choice(
        (f"10.{draw.randrange(256)}.0.{draw.randrange(256)}", "192.0.2.7", f"2001:db8:ffff::{draw.randrange(9)}")
    )


def _part(draw: Random) -> str:
    return draw.choice((draw.choice(GARBAGE), _outsider(draw), _proxy(draw), "127.0.0.1", "::1", "fe80::1%eth0"))
