"""What the system says, on stderr, in its logs and on a terminal: no secret, and no letter that could do something."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tokens import b64, sign

from faults.campaign import Effort, Figure
from faults.requests import get
from faults.serving import CHECKOUT, FUNDED, PATHS, RANKING, STREAMS, command, log_problems, published, serving, token

CLOSED = "127.0.0.1:9"  # nobody answers there
SECRET = "s3cret"  # part of everything below that must not be seen again
NASTY = (
    "\x1b[31mred\x1b[0m",
    "\n\r\nline",
    "\u2028\u2029",
    "\u202egnirts",
    "\x85\x9b1m",
    "\x00",
    "\ud800",
    "\U000e0041",
)
EXPECTED_ERRORS = ("the JWKS cannot be fetched", "Redis cannot be reached")
WRONG_SETTINGS = (
    {"jwks": f"ftp://user:{SECRET}@{CLOSED}/jwks"},
    {"jwks": f"http://user:{SECRET}@{CLOSED}/jwks"},
    {"jwks": f"http://{CLOSED}:{SECRET}/jwks"},
    {"redis_url": f"redis://:{SECRET}#{SECRET}@{CLOSED}/0"},
    {"redis_url": f"http://:{SECRET}@{CLOSED}/0"},
)


def nothing_secret(effort: Effort) -> Figure:
    """Tokens, queries, passwords in URLs of the settings: in no log line at INFO and DEBUG, and not in /metrics."""
    figure = Figure("secrets and control characters in requests, settings, log lines")
    home = published(effort.scratch / "said")
    for level in ("INFO", "DEBUG"):
        settings = {"jwks": f"http://{CLOSED}/jwks?key={SECRET}", "redis_url": f"redis://u:{SECRET}@{CLOSED}/0"}
        with serving(home, log_level=level, **settings) as server:
            requests = [*_hostile_requests(), *_drawn(effort, level)]
            for sent in requests:
                figure.tried += 1
                server.send(sent)
            figure.check(not (problem := server.answers()), problem)
            shown = server.get("/metrics").body.decode()
            figure.check(SECRET not in shown and shown.replace("\n", "").isprintable(), "/metrics shows it")
            problems = log_problems(server, (SECRET, token()), EXPECTED_ERRORS)
            figure.wrong += [f"{level}: {problem}" for problem in problems]
            figure.tried += server.err.read_bytes().count(b"\n")
    for setting in WRONG_SETTINGS:
        done = _run(home, "serve", "--port", 0, settings=setting)
        name = next(iter(setting)).upper()
        figure.check(done.returncode == 2 and name in done.stderr, f"{setting}: {done.returncode} {done.stderr}")
        figure.check(SECRET not in done.stdout + done.stderr, f"{setting}: {done.stderr}")
        figure.check(not (problem := _unprintable(done)), problem)
    return figure


def _hostile_requests() -> list[bytes]:
    """Secrets where they do not belong, and letters that break lines, in every place of a request."""
    requests = []
    for path in (RANKING, FUNDED, STREAMS, "/nowhere"):
        target = path.encode()
        headers = (f"Authorization: Bearer {token()}", f"Authorization: Basic {SECRET}", f"Cookie: a={SECRET}")
        requests += [get(target, header.encode(), b"Connection: close") for header in headers]
        queries = (f"token={SECRET}", f"access_token={token()}", f"domain={SECRET}%00%0a", f"limit={SECRET}")
        requests += [get(target + b"?" + query.encode(), b"Connection: close") for query in queries]
        requests.append(get(f"http://user:{SECRET}@x{path}".encode(), b"Connection: close"))
        for text in NASTY:
            letters = text.encode("utf-8", "surrogatepass")
            quoted = b"".join(b"%%%02x" % letter for letter in letters)
            requests.append(get(target + b"/" + quoted, b"Connection: close"))
            requests.append(get(target + b"?domain=" + quoted, b"Connection: close"))
            requests.append(get(target, b"User-Agent: " + letters, b"Connection: close"))
            requests.append(get(target, b"X-Forwarded-For: " + letters, b"Connection: close"))
            claims = {"sub": text + SECRET, "exp": 4_000_000_000}
            signed = sign(json.dumps(claims), header={"alg": "RS256", "kid": text + SECRET})
            requests.append(get(target, f"Authorization: Bearer {signed}".encode(), b"Connection: close"))
            broken = f"{b64(text.encode('utf-8', 'replace'))}.{b64(text.encode('utf-8', 'replace'))}.{b64(SECRET)}"
            requests.append(get(target, f"Authorization: Bearer {broken}".encode(), b"Connection: close"))
    return requests


def _drawn(effort: Effort, part: str) -> list[bytes]:
    """Paths and headers of any bytes."""
    random = effort.random(part)
    drawn = []
    for _ in range(effort.times(100, 5000)):
        path = b"".join(b"%%%02x" % random.randrange(256) for _ in range(random.randrange(1, 20)))
        value = random.randbytes(20)
        drawn.append(get(random.choice(PATHS).encode() + path, b"X: " + value, b"Connection: close"))
    return drawn


# --- the command line ---


def on_a_terminal(effort: Effort) -> Figure:
    """Names of landed files, ids and rejected lines come from others: a terminal is shown no more than letters."""
    figure = Figure("control characters in file names, ids and lines, on a terminal")
    home = effort.scratch / "terminal"
    folder = home / "landing" / "viewing_sessions"
    folder.mkdir(parents=True)
    for number, text in enumerate(NASTY):
        session = {"sessionId": f"s{number}{text}", "creatorId": f"c{text}", "viewerId": f"v{text}"}
        times = {"startedAt": "2026-01-05T10:00:00Z", "endedAt": "2026-01-05T11:00:00Z"}
        bad = {"startedAt": f"yesterday{text}"}
        lines = "".join(json.dumps(session | one) + "\n" for one in (times, bad))
        name = f"{number}{text}.ndjson".replace("/", "").replace("\0", "").encode("utf-8", "surrogatepass")
        raw = "\n".join(lines.splitlines()).encode() + b"\n" + b'{"sessionId": "\x1b[31m\xc2\x9b\xe2\x80\xae"}\n'
        with suppress(OSError):  # a file system may refuse such a name
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(raw)
    (folder / "broken\x1b[2J\n.ndjson.gz").write_bytes(b"no gzip")
    as_of = ("--as-of", "2026-01-31", "--direct", "--accept-rejects", "--allow-incomplete")
    calls: list[tuple[int, tuple[str, ...]]] = [(0, ("run", *as_of)), (0, ("run", *as_of, "--json")), (0, ("rejects",))]
    calls += [(0, ("rejects", "--json")), (0, ("top",)), (0, ("top", "--json"))]
    calls += [(2, ("snapshots", "verify", "2026\x1b[31m")), (2, ("run", "--landing", "no\x1b[31m\nwhere", "--direct"))]
    for code, arguments in calls:
        done = _run(home, *arguments)
        figure.check(done.returncode == code, f"{arguments}: exit code {done.returncode}: {done.stderr}")
        figure.check(not (problem := _unprintable(done)), f"{arguments}: {problem}")
        if "--json" in arguments:
            json.loads(done.stdout.splitlines()[-1])
    seen = _run(home, "rejects").stdout
    figure.check("\\x1b[31m" in seen and "\\u202e" in seen, f"what was escaped is not shown: {seen[:300]}")
    return figure


def _run(home: Path, *arguments: object, settings: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    environment |= {f"MOSTWATCHED_{name.upper()}": value for name, value in (settings or {}).items()}
    environment |= {"MOSTWATCHED_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command(home, *arguments),
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _unprintable(done: subprocess.CompletedProcess[str]) -> str:
    """The first line with a letter that does something, or a traceback."""
    for line in (done.stdout + done.stderr).split("\n"):
        if not line.isprintable() or line.startswith("Traceback"):
            return f"{line!r}"
    return ""
