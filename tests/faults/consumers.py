"""What consumers send beside the path: encodings, origins, methods, parameters, pages of a walk, and paths of a prefix.

Every verdict is another reading of the same thing: of Accept-Encoding by RFC 9110's grammar, of bodies by Python's and
Arrow's decompressors, of rankings by adding up the rows of the snapshot's Parquet.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote

import pyarrow as pa
import pyarrow.parquet as pq
from published import publish, reached
from tokens import jwks

from faults.campaign import Effort, Figure
from faults.raw import Answer, Connection
from faults.serving import PATHS, RANGE, RANKING, REACH, STREAMS, log_problems, serving

AS_OF = date(2026, 11, 21)
HELD_DAYS = 91
NAMES = ("ada", 'say "hi"', "a,b", "çğış", "-", "x y", "emoji \N{GRINNING FACE}", "0012", "ORD", "z" * 90)
ORIGINS = ("https://a.example", "https://b.example:8443")
ZIPPED = ("/openapi.json", "/docs", RANGE, f"{RANGE}?trend=true&limit=1000", "/page/page.css", "/")


def attack(effort: Effort) -> Iterator[Figure]:
    """Every part, against one server."""
    home = effort.scratch / "consumers"
    (home / "snapshots").mkdir(parents=True)
    publish(home, rows(effort.random("first rows")))
    (home / "jwks.json").write_bytes(jwks("rsa-1"))
    with serving(home, cors_origins=",".join(ORIGINS), log_level="DEBUG") as server:
        with Connection(server.port) as connection:
            yield encodings(effort, connection)
            yield origins(effort, connection)
            yield methods(effort, connection)
            yield parameters(effort, connection)
            yield prefixes(effort, connection)
        yield walks(effort, home, server.port)
        yield Figure("log lines of these consumers", server.err.read_bytes().count(b"\n"), list(log_problems(server)))


def rows(draw: Random) -> dict[str, list[dict[str, Any]]]:
    """A cube of ten creators with ties, anonymous devices, sessions over midnight, and days without anything."""
    cube = []
    for back in range(1, HELD_DAYS + 1):
        day = AS_OF - timedelta(days=back)
        for name in NAMES:
            for gap in {None, draw.randint(1, 40), draw.randint(1, 5)} if draw.random() < 0.6 else ():
                for signed_in in (True, False) if draw.random() < 0.2 else (True,):
                    more = {"sessions_carried_in": draw.randint(0, 3), "is_signed_in": signed_in}
                    more |= {"watched_milliseconds": draw.randint(0, 9_000_000)}
                    cube.append(reached(str(day), name, draw.randint(1, 4), gap, **more))
    return {"creator_reach": cube, "creators": [{"creator_id": name, "username": name} for name in NAMES[::2]]}


# --- encodings ---

CODINGS = ("gzip", "zstd", "br", "identity", "*", "deflate", "x-gzip", "GZIP", "Zstd", "compress")
WEIGHTS = ("", "", ";q=0", ";q=1", ";q=0.5", " ; q=0.001", ";q=0.000", ";Q=0.3", ";q=1.000", ";q=0.")
HOSTILE = (
    "gzip;q=2", "gzip;q=-1", "zstd;q=nan", "gzip;q=1e3", "gzip;q=0.0001", "gzip;q=1;q=0", "gzip;x=y", '"gzip"',
    "gzip gzip", "", ",,,", ";", ";q=1", "=", "g" * 3000, "gzip," * 500, "zstd;q=" + "1" * 300, "gzip\t;\tq=1", "é",
    "gzip;q=0,gzip;q=1", "*;q=0", "gzip;", "gzip;q", "gzip;q=", "../../gzip", "%67zip", "gzip\\", "'or 1=1",
)  # fmt: skip
ELEMENT = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")


def may_be(coding: str, lines: Sequence[str]) -> bool:
    """Whether an answer may have a coding, by RFC 9110: it, or else *, is named with a weight above nothing."""
    weights = defaultdict(list)
    for element in ",".join(lines).split(","):
        if found := ELEMENT.fullmatch(element.strip(" \t")):
            name = found[1].lower().removeprefix("x-")
            weights[name].append(float(found[2] or 1))
    return any(weight > 0 for weight in weights.get(coding, weights["*"]))


def unpacked(answer: Answer) -> bytes:
    """The body as it was before it was compressed, by decompressors that the product does not use."""
    coding = answer.headers.get("content-encoding")
    if coding == "gzip":
        return gzip.decompress(answer.body)
    if coding == "zstd":
        return pa.input_stream(io.BytesIO(answer.body), compression="zstd").read()
    return answer.body


def untimed(answer: Answer) -> Any:
    """What it holds, but for the instant of the answer and what it costs to say how old it is."""
    body = unpacked(answer)
    if answer.headers["content-type"] != "application/json":
        return body
    said = json.loads(body)
    said.pop("timestamp", None)
    return said


def encodings(effort: Effort, connection: Connection) -> Figure:
    """What clients say that they take, well and badly: nobody gets what they did not name, and everybody the same."""
    figure = Figure("bodies in an encoding that was not asked for, or that hold something else")
    draw = effort.random("encodings")
    plain = {path: connection.get(path) for path in ZIPPED}
    for path, whole in plain.items():
        figure.check("content-encoding" not in whole.headers, f"{path}: compressed for who takes nothing")
        for coding in ("gzip", "zstd"):
            found = connection.get(path, f"Accept-Encoding: {coding}").headers.get("content-encoding")
            figure.check(found == coding, f"{path}: {found}, although {coding} is taken")
    for _ in range(effort.times(400, 20_000)):
        path = draw.choice(ZIPPED)
        lines = [
            draw.choice((",", ", ", " ,\t")).join(
                draw.choice(HOSTILE) if draw.random() < 0.25 else draw.choice(CODINGS) + draw.choice(WEIGHTS)
                for _ in range(draw.randint(1, 4))
            )
            for _ in range(draw.choice((1, 1, 1, 2)))
        ]
        headers = [f"Accept-Encoding: {line}" for line in lines]
        answer = connection.get(path, *headers)
        why = f"{path} {[line[:80] for line in lines]}"
        coding = answer.headers.get("content-encoding")
        figure.check(answer.status == 200, f"{why}: {answer.status}")
        figure.check(coding is None or may_be(coding, lines), f"{why}: {coding}")
        figure.check(untimed(answer) == untimed(plain[path]), f"{why}: another body")
        figure.check("accept-encoding" in answer.headers.get("vary", "").lower(), f"{why}: no Vary")
        again = connection.get(path, *headers, f"If-None-Match: {answer.headers['etag']}")
        figure.check((again.status, again.body) == (304, b""), f"{why}: {again.status} for its own ETag")
        if coding is not None:
            other = connection.get(path, f"If-None-Match: {answer.headers['etag'].removeprefix('W/')}")
            figure.check(other.status == 200, f"{why}: its ETag fits the plain body")
    return figure


# --- origins and methods ---

STRANGERS = (
    "null", "*", "https://a.example/", "https://a.example:443", "http://a.example", "https://A.example",
    "https://a.example.evil.test", "https://evil-a.example", "https://sub.a.example", "https://b.example",
    "https://b.example:84430", "https://a.example https://b.example:8443", "https://a.example, https://b.example:8443",
    "https://a.example%00", "https://user@a.example", "a.example", "x" * 3000, "é",
    "https://a.example#", "https://a.example?", "https://[::1]", "chrome-extension://a.example", "about:blank",
)  # fmt: skip


def origins(effort: Effort, connection: Connection) -> Figure:
    """Scripts of the two listed origins may read, to the letter; nobody else may, and no cookie is ever taken."""
    figure = Figure("answers that scripts of a foreign origin may read, or that those of a listed one may not")
    draw = effort.random("origins")
    paths = (*PATHS[:5], "/nowhere", f"{RANGE}?days=0", "/readyz", "/openapi.json")
    for _ in range(effort.times(500, 20_000)):
        sent = draw.sample(ORIGINS, 1) if draw.random() < 0.4 else [draw.choice(STRANGERS)]
        if draw.random() < 0.1:
            sent.append(draw.choice((*ORIGINS, *STRANGERS)))
        is_listed = len(sent) == 1 and sent[0] in ORIGINS
        method = draw.choice(("GET", "GET", "HEAD", "OPTIONS", "POST"))
        asks = method == "OPTIONS" and draw.random() < 0.8
        wanted = draw.choice(("GET", "HEAD", "DELETE", "x" * 300))
        preflight = [f"Access-Control-Request-Method: {wanted}"] if asks else []
        path = draw.choice(paths)
        answer = connection.get(path, *(f"Origin: {one}" for one in sent), *preflight, method=method)
        why, said = f"{method} {path} {[one[:60] for one in sent]} {preflight}", answer.headers
        allowed = sent[0] if is_listed else None
        figure.check(said.get("access-control-allow-origin") == allowed, f"{why}: {said}")
        figure.check("access-control-allow-credentials" not in said, f"{why}: with cookies")
        figure.check("origin" in said.get("vary", "").lower().split(", "), f"{why}: Vary is {said.get('vary')}")
        if asks and is_listed and path != "/nowhere":
            figure.check(answer.status == 204, f"{why}: {answer.status}")
            figure.check(said.get("access-control-allow-methods") == "GET, HEAD", f"{why}: {said}")
        elif method in ("OPTIONS", "POST") and path != "/nowhere":
            figure.check(answer.status in (405, 429), f"{why}: {answer.status}")
    return figure


OTHERS = (
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "MKCOL",
    "LOCK",
    "REPORT",
    "PURGE",
    "SEARCH",
)


def methods(effort: Effort, connection: Connection) -> Figure:
    """HEAD says what GET says, to the header; every other method is 405 and names the two."""
    figure = Figure("HEAD that says something else than GET, and other methods that are not refused")
    draw = effort.random("methods")
    moving = {"date", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-data-age-seconds"}
    moving |= {"x-request-id"}
    paths = [path for path in PATHS if path != "/metrics"]  # its length is another every time
    for path in (*paths, f"{RANGE}?format=csv&bom=true", f"{RANGE}?limit=3", f"{RANGE}?days=0", "/nowhere"):
        for line in ("X-A: b", "Accept-Encoding: gzip", "Accept: text/html", f"Origin: {ORIGINS[0]}"):
            whole, head = (connection.get(path, line, method=method) for method in ("GET", "HEAD"))
            said = [{k: v for k, v in one.headers.items() if k not in moving} for one in (whole, head)]
            figure.check(whole.status == head.status and said[0] == said[1], f"HEAD {path} {line}: {said}")
            figure.check(head.body == b"", f"HEAD {path}: a body")
        if path != STREAMS:
            method = draw.choice(OTHERS)
            answer = connection.get(path, method=method)
            expected = (404, None) if path == "/nowhere" else (405, "GET, HEAD")
            found = (answer.status, answer.headers.get("allow"))
            figure.check(found == expected, f"{method} {path}: {found}")
    return figure


# --- parameters ---

GOOD = {
    "days": ("1", "7", "30", "90"),
    "from": ("2026-11-01",),
    "to": ("2026-11-08", "2026-11-21"),
    "limit": ("1", "3", "10000"),
    "offset": ("0", "2", "100000000"),
    "q": ("a", "", "\N{GRINNING FACE}", "%", "'"),
    "trend": ("true", "false"),
    "format": ("csv", "json"),
    "bom": ("true", "false"),
}
BAD = {
    "days": ("0", "91", "1001", "-1", "+7", "7.0", "٧", "", " 7", "7 ", "1e1", "9" * 400),
    "from": ("2026-11-31", "2026-1-1", "20261101", "yesterday", "", "2026-11-01T00:00", "0000-01-01"),
    "to": ("2026-11-22", "2026-11-01\n", "", "٢٠٢٦-11-08"),
    "limit": ("0", "10001", "", "-1", "3.5", "many", "0x3", "1_0"),
    "offset": ("-1", "100000001", "", "1;2"),
    "q": ("x" * 201,),
    "trend": ("yes", "TRUE", "", "1"),
    "format": ("xml", "CSV", ""),
    "bom": ("utf-8", ""),
}
UNKNOWN = (
    "window",
    "Days",
    "days[]",
    "days ",
    "snapshot_id",
    "page",
    "sort",
    "callback",
    "",
    "__proto__",
    "\0",
    "limit;",
)


def is_fine(sent: Sequence[tuple[str, str]]) -> bool:
    """Whether parameters can be answered, by what the document says of them."""
    names = [name for name, _ in sent]
    if len(set(names)) < len(names) or not set(names) <= GOOD.keys():
        return False
    if any(value not in GOOD[name] for name, value in sent):
        return False
    given = dict(sent)
    if ("from" in given) != ("to" in given) or ("from" in given and "days" in given):
        return False
    return given.get("bom") != "true" or given.get("format") == "csv"


def encoded(draw: Random, text: str) -> str:
    """One of the ways to write a text in a query."""
    written = quote(text, safe="")
    if draw.random() < 0.15 and text.isascii() and text:
        at = draw.randrange(len(text))
        written = quote(text[:at], safe="") + f"%{ord(text[at]):02x}" + quote(text[at + 1 :], safe="")
    return written


def parameters(effort: Effort, connection: Connection) -> Figure:
    """Each well or badly, once or twice, known or not: 200 where the document lets it, and otherwise 400."""
    figure = Figure(
        "parameters that were misread: answered although they are wrong, or refused although they are right"
    )
    draw = effort.random("parameters")
    fine = 0
    for _ in range(effort.times(1500, 60_000)):
        names = draw.sample(sorted(GOOD), draw.randint(0, 4))
        sent = [(name, draw.choice(BAD[name] if draw.random() < 0.12 else GOOD[name])) for name in names]
        if draw.random() < 0.1:
            sent.append((draw.choice(UNKNOWN), "1"))
        if sent and draw.random() < 0.1:
            sent.append(draw.choice(sent))
        draw.shuffle(sent)
        query = "&".join(f"{encoded(draw, name)}={encoded(draw, value)}" for name, value in sent)
        answer = connection.get(f"{RANGE}?{query}" if query else RANGE)
        expected = 200 if is_fine(sent) else 400
        fine += expected == 200
        figure.check(answer.status == expected, f"?{query[:200]}: {answer.status}, not {expected}")
        if expected == 400 and answer.status == 400:
            said = answer.json()
            figure.check(len(said["errors"]) == 1 and said["errors"][0].isprintable(), f"?{query[:200]}: {said}")
    figure.note = f"{fine:,} of them right"
    return figure


def prefixes(effort: Effort, connection: Connection) -> Figure:
    """A page that is not there, at any depth: behind a prefix its links stay behind it, and none leads elsewhere."""
    figure = Figure("links of a page that lead out of the prefix")
    draw = effort.random("prefixes")
    parts = ("a", "b.c", "%2e%2e", "%2f", "", "..", ".", "evil.test", "%5c", "x;y", "%00", "@evil.test", "%3f", "tr")
    for _ in range(effort.times(300, 10_000)):
        path = "/" + "/".join(draw.choice(parts) for _ in range(draw.randint(1, 9)))
        if path.startswith(("/api", "/lls")):
            continue
        answer = connection.get(
            path, "Accept: text/html", "X-Forwarded-Prefix: //evil.test", "X-Forwarded-Host: evil.test"
        )
        figure.check(answer.status in (200, 404), f"{path}: {answer.status}")
        if any(part in ("..", ".", "%2e%2e") for part in path.split("/")):
            continue  # a browser never sends these
        for link in re.findall(rb'(?:href|src|action)="([^"#][^"]*)"', answer.body):
            led = resolved(f"/stats{path}", link.decode().partition("?")[0])
            figure.check(led.startswith("/stats/"), f"{path}: {link!r} leads to {led}")
    return figure


def resolved(base: str, link: str) -> str:
    """The path that a relative link leads to, as browsers work it out: an empty segment is one, unlike in urljoin."""
    if re.match("[a-z]+:|//", link):
        return link
    if link.startswith("/"):
        return link
    segments = base.split("/")[1:-1]
    *ups, last = link.split("/")
    for part in ups:
        if part == "..":
            segments = segments[:-1]
        elif part != ".":
            segments.append(part)
    return "/" + "/".join([*segments, last.removeprefix(".")])


# --- walks ---


@dataclass(frozen=True)
class Reach:
    """What a snapshot's Parquet holds of the cube, row by row."""

    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, snapshot: Path) -> Reach:
        tables = [pq.read_table(path) for path in sorted((snapshot / "creator_reach").glob("*.parquet"))]
        return cls([row for table in tables for row in table.to_pylist()])

    def ranking(self, first: date, end: date) -> list[tuple[str, int, int, int, int]]:
        """(creator, viewers, devices, sessions, seconds) of a range, in the order of the ranking."""
        added: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for row in self.rows:
            if not first <= row["day"] < end:
                continue
            sums = added[row["creator_id"]]
            is_first = row["gap_days"] is None or row["day"] - timedelta(days=row["gap_days"]) < first
            sums[0 if row["is_signed_in"] else 1] += row["viewers"] if is_first else 0
            sums[2] += row["sessions_started"] + (row["sessions_carried_in"] if row["day"] == first else 0)
            sums[3] += row["watched_milliseconds"]
        found = [(name, one[0], one[1], one[2], one[3] // 1000) for name, one in added.items() if one[2]]
        return sorted(found, key=lambda one: (-one[1], -one[4], one[0]))


@dataclass
class Walk:
    """One walk through a ranking, part by part: what it found, or why it came to no end."""

    as_csv: bool
    snapshot: str = ""
    problem: str = ""
    is_gone: bool = False
    found: list[tuple[str, int, int, int, int]] = field(default_factory=list)

    def step(self, answer: Answer) -> str:
        """Read one part; returns the address of the next one, or nothing."""
        self.is_gone = answer.status == 410
        if answer.status != 200:
            self.problem = f"{answer.status} {answer.body[:200]!r}"
            return ""
        if self.snapshot not in ("", answer.headers["x-snapshot-id"]):
            self.problem = "the snapshot changed"
        self.snapshot = answer.headers["x-snapshot-id"]
        part, led = read_part(answer, self.as_csv)
        self.found += part
        link = re.fullmatch(r'<(\?[^>]*)>; rel="next"', answer.headers.get("link", ""))
        if not self.as_csv and led != (link and link[1]):
            self.problem = f"next is {led!r}, the Link {link and link[1]!r}"
        if link and dict(parse_qsl(link[1][1:]))["snapshot"] != self.snapshot:
            self.problem = f"it leads to another snapshot: {link[1]}"
        return RANGE + link[1] if link and not self.problem else ""


def walks(effort: Effort, home: Path, port: int) -> Figure:
    """Through a ranking part by part, as JSON or CSV, while others are published: all rows of one snapshot."""
    figure = Figure("walks through a ranking whose rows are not those of one snapshot's Parquet")
    draw = effort.random("walks")
    gone, newest = 0, ""
    for number in range(effort.times(25, 500)):
        first = AS_OF - timedelta(days=draw.randint(1, HELD_DAYS))
        end = min(AS_OF, first + timedelta(days=draw.randint(1, 90)))
        walk, to_publish, published = Walk(draw.random() < 0.4), draw.choice((0, 1, 1, 2)), 0
        more = "&format=csv&bom=true" if walk.as_csv else draw.choice(("", "&trend=true"))
        address = f"{RANGE}?from={first}&to={end}&limit={draw.randint(1, 4)}{more}"
        with Connection(port) as connection:
            until_served(connection, newest)
            while address:
                packed = ["Accept-Encoding: gzip"] if draw.random() < 0.5 else []
                address = walk.step(connection.get(address, *packed))
                if published < to_publish and draw.random() < 0.7:
                    published += 1
                    newest = publish(home, rows(draw))
                    time.sleep(draw.choice((0.0, 0.0, 1.2)))  # until it is served, or not
        if walk.is_gone and published > 1:
            gone += 1  # two were published since: it begins again, as the document says
            continue
        if not walk.problem:
            expected = Reach.of(home / "snapshots" / walk.snapshot).ranking(first, end)
            other = [both for both in zip_longest(walk.found, expected) if both[0] != both[1]]
            walk.problem = f"{other[0][0]} in place of {other[0][1]}" if other else ""
        figure.check(not walk.problem, f"seed {effort.seed}, walk {number}: {walk.problem}")
    stored = sorted((home / "snapshots").glob("2026-*"))
    with Connection(port) as connection:
        until_served(connection, newest)
        for path in stored:
            if path.name != newest:
                shutil.rmtree(path)
                answer = connection.get(f"{RANGE}?snapshot={path.name}")
                figure.check(answer.status == 410, f"{path.name} is removed: {answer.status}")
        reach = REACH.partition("?")[0]
        for address in (f"{RANGE}?snapshot={newest}", f"{reach}?creatorId=ada&snapshot={newest}", RANKING):
            found = connection.get(address).headers.get("x-snapshot-id")
            figure.check(found == newest, f"{address}: of {found}")
    figure.note = f"{len(stored)} snapshots, {gone} walks that began again"
    return figure


def until_served(connection: Connection, snapshot_id: str) -> None:
    """Wait until a snapshot answers, if one was published."""
    while snapshot_id and connection.get(RANGE).headers["x-snapshot-id"] != snapshot_id:
        time.sleep(0.05)


def read_part(answer: Answer, as_csv: bool) -> tuple[list[tuple[str, int, int, int, int]], str | None]:
    """The rows of one part, and where its body says that the next one is."""
    body = unpacked(answer)
    if not as_csv:
        data = json.loads(body)["data"]
        keys = ("creatorId", "viewers", "anonymousViewers", "sessions", "watchedSeconds")
        return [tuple(row[key] for key in keys) for row in data["creators"]], data["next"]
    assert body.startswith("\ufeff".encode())
    table = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    numbers = ("viewers", "anonymous_viewers", "sessions", "watched_seconds")
    # what a spreadsheet would work out has an apostrophe in front
    return [(row["creator_id"].removeprefix("'"), *(int(row[key]) for key in numbers)) for row in table], None
