"""Attack HTTP itself: bytes that are no request, clients that are slow, an OpenAPI document taken at its word, logs.

Every server is a process of its own on 127.0.0.1.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

from faults import consumers
from faults.campaign import Effort, Figure
from faults.documented import as_documented
from faults.requests import CASES, NEXT, Case
from faults.saying import nothing_secret, on_a_terminal
from faults.serving import (
    ANSWER_SECONDS,
    ASSETS,
    PAGES,
    PATHS,
    RANGE,
    REACH,
    STREAMS,
    Answer,
    Served,
    log_problems,
    parsed,
    published,
    received,
    serving,
    token,
)
from faults.slow import slow_clients

MUST_SAY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
MUST_NOT_SAY = ("server", "x-powered-by", "via", "set-cookie", "access-control-allow-origin", "location")
CACHED = {  # how an answer of 200 may be stored
    "/api/v1/live-stream/most-watched-creators": "public, max-age=60",
    "/api/v1/live-stream/funded": "no-store",
    STREAMS: "private, no-cache",
    "/openapi.json": "no-cache",
    "/docs": "no-cache",
    RANGE: "public, max-age=60",
    REACH: "public, max-age=60",
    **dict.fromkeys(PAGES, "private, no-cache"),
    **dict.fromkeys(ASSETS, "no-cache"),  # for good only at the address that the pages give
}
LOST = (
    60_000  # of so many bytes some are unread when the server hangs up: its system resets, and the answer may be lost
)


def attack(effort: Effort) -> Iterator[Figure]:
    """Every part of the attack, and after each what the servers wrote."""
    yield from as_documented(effort)
    with serving(published(effort.scratch / "home"), log_level="DEBUG") as server:
        yield every_case(server)
        yield in_pieces(effort, server)
        yield security_headers(server)
        yield what_was_logged(server)
    yield from consumers.attack(effort)
    yield from slow_clients(effort)
    yield nothing_secret(effort)
    yield on_a_terminal(effort)


# --- bytes ---


def every_case(server: Served) -> Figure:
    """Every case of the table, as it is and from a client that has half-closed; a new client is served after each."""
    figure = Figure(f"{len(CASES)} kinds of raw bytes, kept open and half-closed")
    for case in CASES:
        for is_half_closed in (False, True):
            found, has_ended = server.send(case.sent + NEXT, is_half_closed=is_half_closed)
            problem = verdict(case, found, has_ended) or server.answers()
            figure.check(not problem, f"{case.name!r}{', half-closed' * is_half_closed}: {problem}")
    return figure


def in_pieces(effort: Effort, server: Served) -> Figure:
    """The same bytes in packets of a few bytes are the same requests."""
    figure = Figure("the same bytes in pieces")
    random = effort.random("pieces")
    # without the path that has rate limits: so many requests would meet them
    short = [case for case in CASES if len(case.sent) < 3000 and STREAMS.encode() not in case.sent]
    for _ in range(effort.times(150, 5000)):
        case, size = random.choice(short), random.choice((1, 2, 3, 7, 40))
        sent = case.sent + NEXT
        with server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                for start in range(0, len(sent), size):
                    connection.sendall(sent[start : start + size])
                    time.sleep(0.0001)
            found, has_ended = received(connection)
        problem = verdict(case, found, has_ended, is_in_pieces=True)
        figure.check(not problem, f"{case.name!r}, {size} bytes at a time: {problem}")
    problem = server.answers()
    figure.check(not problem, problem)
    return figure


def verdict(case: Case, found: bytes, has_ended: bool, *, is_in_pieces: bool = False) -> str:
    """What is wrong with the answers to a case, and to the request behind it; nothing when all is right."""
    try:
        answers = parsed(found)
    except ValueError as error:
        return str(error)
    if not has_ended:
        return f"the connection is still open after {ANSWER_SECONDS:g} s"
    statuses = [answer.status for answer in answers]
    expected = [*case.statuses, 200] if case.goes_on else [*case.statuses]
    # a client that goes on sending after the refusal may be reset before it has read the answer
    is_lost = not case.goes_on and (is_in_pieces or len(case.sent) > LOST) and statuses == expected[: len(statuses)]
    if statuses != expected and not is_lost:
        return f"answered {statuses}, not {expected}"
    if case.goes_on and json.loads(answers[-1].body)["data"]["status"] != "ready":
        return f"the next request was answered {answers[-1].body[:80]!r}"
    return next(filter(None, map(header_problem, answers)), "")


# --- headers ---


def header_problem(answer: Answer, *, is_page: bool = False) -> str:
    """What an answer says that it must not, or leaves out."""
    said = answer.headers
    for name, value in MUST_SAY.items():
        if said.get(name) != value:
            return f"{answer.status}: {name} is {said.get(name)!r}"
    policy = said.get("content-security-policy", "")
    if not (policy == DATA_POLICY or (is_page and is_strict_page_policy(policy))):
        return f"{answer.status}: content-security-policy is {policy!r}"
    if told := [name for name in MUST_NOT_SAY if name in said]:
        return f"{answer.status}: it has {told}"
    if answer.status >= 400 and said.get("cache-control") != "no-store":
        return f"{answer.status}: cache-control is {said.get('cache-control')!r}"
    if is_page and answer.status >= 400 and answer.headers.get("content-type", "").startswith("text/html"):
        return ""  # a page for people that says why not
    if answer.status >= 400 and answer.body and json.loads(answer.body)["statusCode"] != answer.status:
        return f"{answer.status}: {answer.body[:100]!r}"
    return ""


def is_strict_page_policy(policy: str) -> bool:
    """Nothing but the page's own files, or its own style by its hash; no frames, no other base."""
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    if "script-src" in parts:
        own = ("script-src", "style-src", "img-src", "connect-src", "form-action")
        return {parts.pop(name, None) for name in own} == {"'self'"} and (
            parts == dict.fromkeys(("default-src", "base-uri", "frame-ancestors"), "'none'")
        )
    return (
        parts.keys() == {"default-src", "style-src", "base-uri", "frame-ancestors"}
        and parts.pop("style-src").startswith("'sha256-")
        and set(parts.values()) == {"'none'"}
    )


def security_headers(server: Served) -> Figure:
    """On every path and every kind of answer."""
    figure = Figure("security headers of every path and status")
    bearer = {"Authorization": f"Bearer {token()}"}
    for path in (*PATHS, "/nowhere"):
        is_page = path in ("/docs", *PAGES, *ASSETS)
        for headers in ({}, bearer, {"Authorization": "Bearer x.y.z"}, {"If-None-Match": "*"}, {"Range": "bytes=0-0"}):
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                answer = server.get(path, headers, method)
                problem = header_problem(answer, is_page=is_page)
                figure.check(not problem, f"{method} {path} {list(headers)}: {problem}")
        answer = server.get(path, bearer if path.endswith("funded") else {})
        if answer.status == 200:
            said = answer.headers["cache-control"]
            figure.check(said == CACHED.get(path, "no-store"), f"{path}: cache-control is {said}")
    refusals = [answer for answer in (server.get(STREAMS) for _ in range(110)) if answer.status == 429]
    figure.check(bool(refusals), "no request was answered 429")
    for answer in refusals:
        figure.check(not (problem := header_problem(answer)), problem)
    return figure


def what_was_logged(server: Served) -> Figure:
    """Nothing but JSON in plain letters, one object a line, no error and nothing from headers, at DEBUG."""
    figure = Figure("log lines of all these")
    problems = list(log_problems(server, secrets=("s3cret", "x.y.z", token())))
    figure.tried = server.err.read_bytes().count(b"\n")
    figure.wrong = problems
    return figure
