"""A JWKS at a URL, under a flood of unknown keys and with every way in which the other side can fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokens import b64, claims, jwks, sign

from faults.campaign import Effort, Figure
from faults.key_server import HEAD, KeyServer, body, key_server
from faults.raw import FUNDED, Connection, once, refusal_problem
from faults.server import Process, SharedClock, worker

KNOWN = sign(claims("user-0001", exp=9_999_999_999))
PATIENCE_SECONDS = 12  # a fetch is bounded by 5 s of waiting for each thing and in all


ODD = [
    None, 1, [], {}, {"kty": []}, {"kty": "RSA", "n": 1, "e": []}, {"kty": "EC", "crv": {}, "x": "", "y": ""},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kty": "RSA", "n": "", "e": "AQAB"}, {"kty": "oct", "k": None},
    {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}, {"kty": "OKP", "crv": "Ed25519", "x": "\u0661"},
    {"kty": "RSA", "n": "A" * 400, "e": "AQAB"}, {"kty": "RSA", "n": "_" * 400, "e": "_" * 400, "key_ops": 1},
]  # fmt: skip


def floods(effort: Effort, home: Path, clock: SharedClock) -> Iterator[Figure]:
    """Fetches are counted where they arrive."""
    with key_server() as keys:
        keys.serve_keys(jwks("rsa-1"))
        with worker(home, clock, jwks=keys.url) as server:
            _until(lambda: keys.asked == 1)
            yield _flood(effort, keys, server, clock)
            yield _failures(effort, keys, server, clock)
            figure = Figure("complaints of something unexpected in the log of the worker with a URL")
            found = server.complaints()
            figure.check(not found, "; ".join(found[:3]))
            yield figure


def _unknown(number: int) -> str:
    """A token of the right form that names a key nobody has; cheap, for its signature is never verified."""
    header = b64({"alg": "RS256", "kid": f"unknown-{number}"})
    return f"{header}.{KNOWN.split('.', 1)[1]}"


def _flood(effort: Effort, keys: KeyServer, server: Process, clock: SharedClock) -> Figure:
    """Eight callers name thousands of unknown keys while the clock goes on."""
    figure = Figure("a second fetch within 30 s, or a wrong answer, in a flood of keys")
    number = 0
    for step in (0.0, 29.999, 0.001, 15.0, 14.999, 0.001, 600.0, 0.0, 29.0, 1.0, *[7.5] * effort.times(8, 60)):
        clock.advance(step)
        before, count = keys.asked, effort.times(400, 4000)
        last = _last_fetch.get(server.port)
        due = last is None or clock.us - last >= 30_000_000
        with ThreadPoolExecutor(8) as pool:
            answers = [
                problem
                for found in pool.map(lambda part: _burst(server, part), [(number + at, count // 8) for at in range(8)])
                for problem in found
            ]
        number += 8
        for problem in answers:
            figure.check(not problem, problem)
        fetched = keys.asked - before
        if fetched:
            _last_fetch[server.port] = clock.us
        figure.check(fetched <= (1 if due else 0), f"{fetched} requests {step} s after the step before (due: {due})")
    figure.note = f"{keys.asked} requests for {figure.tried:,} tokens"
    return figure


_last_fetch: dict[int, int] = {}


def _burst(server: Process, part: tuple[int, int]) -> list[str]:
    start, count = part
    found = []
    with Connection(server.port) as connection:
        for at in range(count):
            token = KNOWN if at % 10 == 9 else _unknown(start * 10_000 + at)
            answer = connection.get(FUNDED, f"Authorization: Bearer {token}")
            if token == KNOWN:
                found.append("" if answer.status == 200 else f"{answer.status} for a token of a known key")
            else:
                problem = refusal_problem(answer)
                found.append(f"an unknown key: {problem}" if problem else "")
    return found


def _failures(effort: Effort, keys: KeyServer, server: Process, clock: SharedClock) -> Figure:
    """After each failure the keys of before still serve, and nothing but them; then a good answer brings new ones."""
    figure = Figure("JWKS failures that cost a known key, a long wait or the next keys")
    slow = {"silent", "a status line that never ends", "headers that never end", "a body that never ends"}
    took: dict[str, float] = {}
    for name, behave in _behaviours(keys).items():
        clock.advance(31)
        before = keys.asked
        behave()
        started = time.monotonic()
        waiting = threading.Thread(target=lambda: _ask(server, _unknown(1)), daemon=True)
        waiting.start()
        _until(lambda before=before: keys.asked > before)  # type: ignore[misc]
        asked = time.monotonic()
        status = once(server.port, FUNDED, f"Authorization: Bearer {KNOWN}").status
        figure.check(status == 200, f"{name}: {status} for a known key")
        figure.check(time.monotonic() - asked < 2, f"{name}: a known key had to wait {time.monotonic() - asked:.1f} s")
        waiting.join(PATIENCE_SECONDS)
        took[name] = time.monotonic() - started
        figure.check(
            not waiting.is_alive(), f"{name}: an unknown key is kept waiting for more than {PATIENCE_SECONDS} s"
        )
        figure.check(name in slow or took[name] < 4, f"{name}: took {took[name]:.1f} s")
        problem = refusal_problem(once(server.port, FUNDED, f"Authorization: Bearer {_unknown(2)}"))
        figure.check(problem is None, f"{name}: an unknown key afterwards: {problem}")
        status = once(server.port, FUNDED, f"Authorization: Bearer {KNOWN}").status
        figure.check(status == 200, f"{name}: {status} for a known key afterwards")
        figure.check(keys.asked - before == 1, f"{name}: {keys.asked - before} requests")
        clock.advance(31)
        keys.serve_keys(jwks("rsa-1", "ec-1"))
        new = sign(claims("user-0001", exp=9_999_999_999), "ec-1", "ES256")
        status = _ask(server, new)
        figure.check(status == 200, f"{name}: {status} for a new key after the other side has recovered")
        clock.advance(31)
        keys.serve_keys(jwks("rsa-1"))
        _ask(server, _unknown(3))
        status = _ask(server, new)
        figure.check(status == 401, f"{name}: {status} for a key that was withdrawn")
    slowest = max(took, key=lambda name: took[name])
    figure.note = f"{len(took)} ways to fail; the longest wait {took[slowest]:.1f} s ({slowest})"
    return figure


def _ask(server: Process, token: str) -> int:
    return once(server.port, FUNDED, f"Authorization: Bearer {token}").status


def _behaviours(keys: KeyServer) -> dict[str, Callable[[], None]]:
    good = jwks("ed-1")
    elsewhere = f"http://127.0.0.1:{keys.port}"
    contents = {
        "an empty set": b'{"keys":[]}', "no list": b'{"keys":{}}', "a list": b"[]", "null": b"null", "nothing": b"",
        "HTML": b"<html>", "cut JSON": good[: len(good) // 2], "a key twice": b'{"keys":[],"keys":[]}',
        "secrets only": jwks("oct-1"), "too short a key": jwks("small-1"),
        "keys for encryption": jwks("ed-1", use="enc"), "not UTF-8": b'{"keys":"\xff"}',
        "nested too deeply": b'{"keys":' + b"[" * 100_000, "300 kB": good + b" " * 300_000,
        "odd members": json.dumps({"keys": ODD}).encode(),
    }  # fmt: skip
    answers = {
        "500": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        "404 with keys": body(good).replace(b"200 OK", b"404 No"), "204": b"HTTP/1.1 204 No\r\n\r\n",
        "304": b"HTTP/1.1 304 No\r\n\r\n", "closed at once": b"", "not HTTP": b"hello\r\n\r\n",
        "a bad status line": b"HTTP/1.1 OK 200\r\n\r\n", "HTTP/9": body(good).replace(b"HTTP/1.1", b"HTTP/9.9"),
        "cut in the head": HEAD, "cut in the body": body(good)[:-20],
        "cut in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + good[:50],
        "a chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "a length that is no number": HEAD + b"Content-Length: x\r\n\r\n<html>",
        "a header of 70 kB": HEAD + b"a: " + b"b" * 70_000, "200 headers": HEAD + b"a: b\r\n" * 200 + b"\r\n" + good,
        "compressed": HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
        "a redirect to a file": b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n",
        "a redirect to another scheme": b"HTTP/1.1 302 F\r\nLocation: https://127.0.0.1:9/\r\n\r\n",
        "a redirect to nowhere": b"HTTP/1.1 302 F\r\nLocation: http://[::1/\r\n\r\n",
        "a redirect in a circle": f"HTTP/1.1 302 F\r\nLocation: {elsewhere}/again\r\n\r\n".encode(),
        "a redirect with spaces": b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/a b\r\n\r\n",
        "a redirect to another port": b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:99999/\r\n\r\n",
        "a request for credentials": b'HTTP/1.1 401 U\r\nWWW-Authenticate: Digest realm="a", nonce="b"\r\n\r\n',
    }  # fmt: skip
    found: dict[str, Callable[[], None]] = {}
    for name, content in contents.items():
        found[name] = lambda content=content: keys.serve_keys(content)  # type: ignore[misc]
    for name, content in answers.items():
        found[name] = lambda content=content: keys.answers(content)  # type: ignore[misc]
    found["silent"] = keys.is_silent
    found["a status line that never ends"] = lambda: keys.drips(b"HTTP/1.1 200 O")
    found["headers that never end"] = lambda: keys.drips(HEAD, b"a: b\r\n")
    found["a body that never ends"] = lambda: keys.drips(HEAD + b"\r\n", b" ")
    found["endless chunks"] = lambda: keys.drips(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b" " * 65535 + b"\r\n", 0
    )
    return found


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "the keys were not fetched"
        time.sleep(0.002)
