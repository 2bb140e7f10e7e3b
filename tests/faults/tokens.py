"""Forged, stale and foreign tokens: nobody is let in who should not be, and nobody is shown what is another's.

Over real HTTP, to a worker in a process of its own, on plain sockets. A request whose head is not HTTP is refused by
the server below the API with 400, in the same envelope; everything else that is not a valid bearer token gets 401.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from published import publish
from tokens import NOW, claims, jwks, sign

from faults import callers, issuers, wycheproof
from faults.campaign import Effort, Figure, not_tried
from faults.flood import floods
from faults.hostile import FITTING, GOOD, NO_BEARER, hostile_tokens, other_spelling
from faults.raw import FUNDED, GUARDED, RANKING, Answer, envelope_problem, once, refusal_problem
from faults.server import Process, SharedClock, worker

warnings.filterwarnings("ignore", message="Key size should be")  # one of the hostile tokens is of such a key


def attack(effort: Effort) -> Iterator[Figure]:
    """Every way in that is known, and a few thousand callers."""
    logging.disable(logging.WARNING)  # of keys that are left out, of which the vectors have many
    clock = SharedClock(effort.scratch / "clock", NOW * 1_000_000)
    home = effort.scratch / "home"
    (home / "snapshots").mkdir(parents=True)
    platform = callers.Platform(effort.random("platform"), effort.times(120, 1000))
    publish(home, platform.tables())
    keys = home / "jwks.json"
    keys.write_bytes(jwks("rsa-1", "ec-1", "ed-1", "oct-1"))
    yield from _signatures(effort)
    with worker(home, clock, jwks=str(keys)) as server:
        yield from _hostile(server)
        yield from _remembered(server, clock, keys)
        yield callers.interleaved(platform, server.port, effort)
        yield callers.foreign_tags(platform, server.port, effort)
        yield from callers.through_caches(platform, server.port, effort)
        if effort.corpora:
            yield _vectors_over_http(server, keys, effort.corpora / "wycheproof")
        yield _complaints(server)
    yield issuers.drawn(effort, home, clock)
    yield from floods(effort, home, clock)


def _signatures(effort: Effort) -> Iterator[Figure]:
    """The vectors, through everything that a token goes through but the reading of claims."""
    names = (
        "invalid Wycheproof signatures accepted",
        "valid Wycheproof signatures not judged by the rules",
    )
    if effort.corpora is None or not (effort.corpora / "wycheproof").is_dir():
        yield from (not_tried(name, "MOSTWATCHED_TEST_DATA names no folder with corpora/wycheproof") for name in names)
        return
    for file in (wycheproof.SIGNATURES, wycheproof.KEYS):
        known = list(wycheproof.vectors(effort.corpora / "wycheproof", file))
        undecidable = wycheproof.contradictory(known) | wycheproof.AMBIGUOUS
        invalid, valid = (Figure(f"{name} ({file})") for name in names)
        reasons: dict[str, int] = {}
        left_out = []
        for one in known:
            refusal = wycheproof.refusal(one)
            if one.is_valid:
                rule = wycheproof.reason_to_refuse_valid(one)
                valid.check((refusal is None) == (rule is None), f"{one.number} {one.comment}: {refusal}, rule {rule}")
                if rule:
                    reasons[rule] = reasons.get(rule, 0) + 1
            elif refusal is None and (file, one.number) in undecidable:
                left_out.append(one.number)
                invalid.tried += 1
            else:
                invalid.check(refusal is not None, f"{one.number} {one.comment}")
        why = "byte for byte a token and key that it lists as valid" if file == wycheproof.SIGNATURES else "ambiguous"
        invalid.note = f"of them {left_out} the corpus contradicts itself on: {why}" if left_out else ""
        valid.note = f"accepted {valid.tried - sum(reasons.values())}; not: " + "; ".join(
            f"{count} {reason}" for reason, count in sorted(reasons.items())
        )
        yield invalid
        yield valid


def _vectors_over_http(server: Process, keys: Path, folder: Path) -> Figure:
    """Sent as bearer tokens, with the vector's own keys in the file: none of their payloads holds claims."""
    figure = Figure("Wycheproof tokens as bearer tokens over HTTP that were not refused")
    for one in wycheproof.vectors(folder, wycheproof.SIGNATURES):
        if one.key_set and (content := json.dumps(one.key_set).encode()) != keys.read_bytes():
            keys.write_bytes(content)
        answer = once(server.port, FUNDED, f"Authorization: Bearer {one.token}".replace("\n", " "))
        figure.check(refusal_problem(answer) is None, f"{one.number} {one.comment}: {refusal_problem(answer)}")
    return figure


# --- what must be refused ---

# heads that are not HTTP, or not to be agreed about by two readers of HTTP: refused with 400, or with 401
MALFORMED = {
    "NUL in the value": b"Authorization: Bearer " + GOOD.encode() + b"\0",
    "NUL in the name": b"Author\0ization: Bearer " + GOOD.encode(),
    "a space before the colon": b"Authorization : Bearer " + GOOD.encode(),
    "a tab before the colon": b"Authorization\t: Bearer " + GOOD.encode(),
    "a line folded": b"Authorization: Bearer\r\n " + GOOD.encode(),
    "a line folded in the token": b"Authorization: Bearer " + GOOD[:99].encode() + b"\r\n " + GOOD[99:].encode(),
    "a bare line feed in the value": b"Authorization: Bearer " + GOOD[:99].encode() + b"\n" + GOOD[99:].encode(),
    "a bare carriage return": b"Authorization: Bearer " + GOOD[:99].encode() + b"\r" + GOOD[99:].encode(),
    "a space before the name": b" Authorization: Bearer " + GOOD.encode(),
    "no colon": b"Authorization Bearer " + GOOD.encode(),
    "a head of 70 kB": b"Authorization: Bearer " + b"a" * 70_000 + b".b.c",
    "bytes that are no text": b"Authorization: Bearer \xff\xfe.\xff.\xff",
    "a delete character": b"Authorization: Bearer " + GOOD.encode() + b"\x7f",
    "an escape character": b"Authorization: \x1b[31mBearer " + GOOD.encode(),
    "a vertical tab for a space": b"Authorization: Bearer\x0b" + GOOD.encode(),
    "a no-break space": b"Authorization: Bearer\xa0" + GOOD.encode(),
    "fullwidth Bearer": "Authorization: \uff22earer ".encode() + GOOD.encode(),
    "fullwidth dots": f"Authorization: Bearer {GOOD.replace('.', chr(0xFF0E))}".encode(),
    "a zero-width space behind": f"Authorization: Bearer {GOOD}\u200b".encode(),
    "a soft hyphen inside": f"Authorization: Bearer {GOOD[:50]}\u00ad{GOOD[50:]}".encode(),
}

# places other than the header, which RFC 6750 allows and this API does not: nothing in them is looked at
ELSEWHERE = {
    "in the query": (f"?access_token={GOOD}", "Accept: */*"),
    "in a cookie": ("", f"Cookie: access_token={GOOD}; Authorization=Bearer {GOOD}"),
    "in Proxy-Authorization": ("", f"Proxy-Authorization: Bearer {GOOD}"),
    "in X-Authorization": ("", f"X-Authorization: Bearer {GOOD}"),
    "in Authentication": ("", f"Authentication: Bearer {GOOD}"),
    "in X-Forwarded-Authorization": ("", f"X-Forwarded-Authorization: Bearer {GOOD}"),
    "with an underscore": ("", f"Authorization_: Bearer {GOOD}"),
    "as a user that a proxy vouches for": ("", "X-Forwarded-User: user-0001"),
    "as a remote user": ("", "Remote-User: user-0001"),
}


def _hostile(server: Process) -> Iterator[Figure]:
    with _trap() as trap:
        tokens = hostile_tokens(f"http://127.0.0.1:{trap.port}/jwks.json")
        figure = Figure("hostile tokens let in, or not refused with 401 in the envelope", note=f"{len(tokens)} tokens")
        for name, token in tokens.items():
            for path in GUARDED:
                problem = refusal_problem(once(server.port, path, f"Authorization: Bearer {token}"))
                figure.check(problem is None, f"{name} at {path}: {problem}")
        yield figure
        figure = Figure("addresses named by a token that were asked for anything")
        figure.check(trap.visits == 0, f"{trap.visits} connections")
        figure.tried = len(tokens)
        yield figure
    figure = Figure("headers that are no bearer token, served as anonymous or otherwise not refused")
    for name, values in NO_BEARER.items():
        for path in GUARDED:
            problem = refusal_problem(once(server.port, path, *(f"Authorization: {value}" for value in values)))
            figure.check(problem is None, f"{name} at {path}: {problem}")
    yield figure
    figure = Figure("malformed heads with a token, served")
    refused = {400: 0, 401: 0}
    for name, line in MALFORMED.items():
        for path in GUARDED:
            answer = once(server.port, path, line)
            problem = refusal_problem(answer)
            if answer.status == 400:
                problem = envelope_problem(answer, 400, ["Validation failed"])
            figure.check(problem is None, f"{name} at {path}: {problem}")
            refused[answer.status] = refused.get(answer.status, 0) + 1
    figure.note = ", ".join(f"{count} times {status}" for status, count in sorted(refused.items()))
    yield figure
    figure = Figure("tokens outside the Authorization header that were heeded")
    for name, (query, line) in ELSEWHERE.items():
        problem = refusal_problem(once(server.port, FUNDED + query, line))
        figure.check(problem is None, f"{name}: {problem}")
        answer = once(server.port, RANKING + query, line)
        figure.check(answer.status == 200 and b'"isFollowing":null' in answer.body, f"{name}: not anonymous")
    yield figure


class _trap:
    """A port on which nobody should ever call."""

    def __enter__(self) -> _trap:
        self.visits = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _count(self) -> None:
        with suppress(OSError):
            while True:
                self._listening.accept()[0].close()
                self.visits += 1


def _complaints(server: Process) -> Figure:
    figure = Figure("complaints of something unexpected in the worker's log")
    found = server.complaints()
    figure.check(not found, "; ".join(found[:3]))
    return figure


# --- what is remembered ---


def _remembered(server: Process, clock: SharedClock, keys: Path) -> Iterator[Figure]:
    """A token that was let in once is let in no longer than it is valid, and no other spelling of it is."""
    figure = Figure("remembered tokens valid for too long, or in another spelling")

    def ask(token: str) -> Answer:
        return once(server.port, FUNDED, f"Authorization: Bearer {token}")

    def expect(status: int, token: str, what: str) -> None:
        answer = ask(token)
        problem = refusal_problem(answer) if status == 401 else None if answer.status == 200 else f"{answer.status}"
        figure.check(problem is None, f"{what}: {problem}")

    started = clock.us
    for alg, name in FITTING.items():
        token = sign(claims("user-0001", exp=NOW + 60, nbf=NOW - 5), name, alg)
        # valid from -5 to 60, give or take the leeway of 30
        for at, status in ((0, 200), (89.999, 200), (90.0, 401), (90.001, 401), (-35.0, 200), (-35.001, 401), (1, 200)):
            clock.us = started + round(at * 1_000_000)
            expect(status, token, f"{alg} at {at} s of its 60")
        clock.us = started
        head, body, signature = token.split(".")
        spellings = [f"{head}.{body}.{signature}=", f"{head}.{body}.{signature}A", f"{head}=.{body}.{signature}"]
        spellings += [f"{head}.{body}.{signature.swapcase()}", f"{head.swapcase()}.{body}.{signature}", token + " "]
        spellings += [f"{head}.{body}.{other_spelling(signature)}"] if len(signature) % 4 else []
        spellings += [f"{head}.{other_spelling(body)}.{signature}"] if len(body) % 4 else []
        for other in spellings:
            expect(401, other, f"{alg} in another spelling: …{other[-12:]}")
    yield figure

    figure = Figure("tokens let in although their key was withdrawn, or refused although it was not")
    everything = keys.read_bytes()
    tokens = {name: sign(claims("user-0001"), name, alg) for alg, name in FITTING.items() if alg != "PS256"}
    steps = [
        (("ec-1",), {"ec-1"}),
        (("rsa-1", "ed-1"), {"rsa-1", "ed-1"}),
        (("rsa-2",), set()),
        (("oct-1",), {"oct-1"}),
    ]
    for token in tokens.values():
        expect(200, token, "before any change")
    for names, valid in steps:
        keys.write_bytes(jwks(*names))
        for name, token in tokens.items():
            expect(200 if name in valid else 401, token, f"{name} with {names} in the file")
    keys.write_bytes(jwks("rsa-2", kid="rsa-1"))
    expect(401, tokens["rsa-1"], "another key of its name")
    keys.write_bytes(b'{"keys":')
    expect(401, tokens["rsa-1"], "a broken file leaves the keys before it")
    keys.write_bytes(everything)
    for name, token in tokens.items():
        expect(200, token, f"{name} back in the file")
    yield figure
