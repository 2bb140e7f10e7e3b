"""A server of the example platform in a process of its own, raw bytes to send it, and what it answered and logged."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from published import CREATOR_ID, EXAMPLE, many, publish
from tokens import claims, jwks, sign

CHECKOUT = Path(__file__).parents[2]
RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"
STREAMS = "/lls/v1.0/stream"
RANGE = "/api/v1/creators/ranking"
REACH = f"/api/v1/creators/reach?creatorId={CREATOR_ID}"
EXPLANATION = f"/api/v1/creators/explanation?creatorId={CREATOR_ID}"
PAGES = ("/", f"/creator?id={CREATOR_ID}")
ASSETS = ("/page/charts.js", "/page/explanation.js", "/page/icon.svg", "/page/page.css", "/page/page.js")
OPERATIONS = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")
PATHS = (RANKING, FUNDED, STREAMS, RANGE, REACH, EXPLANATION, *PAGES, *ASSETS, *OPERATIONS)
NOT_YET_PAST = 4_000_000_000  # seconds since 1970
READY_SECONDS = 60.0
ANSWER_SECONDS = 10.0  # far more than any answer takes


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parsed(received: bytes, *, to_head: bool = False) -> list[Answer]:
    """The responses that were received. Raises ValueError for anything that is not whole responses."""
    answers = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        if not end or not first.startswith("HTTP/1.1 "):
            raise ValueError(f"no response: {received[:80]!r}")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = 0 if status in (100, 304) or to_head else int(headers["content-length"])
        if len(rest) < size:
            raise ValueError(f"{len(rest)} of {size} bytes of a body")
        answers.append(Answer(status, headers, rest[:size]))
        received = rest[size:]
    return answers


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    port: int
    process: subprocess.Popen[bytes]
    out: Path  # what it wrote to stdout
    err: Path

    def connect(self, timeout: float = ANSWER_SECONDS) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def send(self, sent: bytes, *, is_half_closed: bool = False, seconds: float = ANSWER_SECONDS) -> tuple[bytes, bool]:
        """Everything received for some bytes, and whether the server hung up within that time."""
        with self.connect(seconds) as connection:
            with suppress(OSError):  # it may hang up before it has had everything
                connection.sendall(sent)
                if is_half_closed:
                    connection.shutdown(socket.SHUT_WR)
            return received(connection)

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def answers(self) -> str:
        """Why it does not answer a new client; nothing when it does."""
        if self.process.poll() is not None:
            return "the server has ended"
        try:
            status = self.get("/healthz").status
        except (OSError, http.client.HTTPException) as error:
            return f"the server does not answer: {error!r}"
        return "" if status == 200 else f"the server answers {status}"

    def memory(self) -> int | None:
        """Bytes in memory, where the system tells."""
        with suppress(OSError):
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return None


def received(connection: socket.socket) -> tuple[bytes, bool]:
    """Everything until the end, a reset or the connection's time-out, and whether it ended."""
    found = bytearray()
    try:
        while chunk := connection.recv(65_536):
            found += chunk
    except TimeoutError:
        return bytes(found), False
    except OSError:
        pass
    return bytes(found), True


def token(subject: str = CREATOR_ID, **header: str) -> str:
    """A token that the server believes."""
    return sign(claims(subject, exp=NOT_YET_PAST), header={"alg": "RS256", "kid": "rsa-1", **header})


def published(home: Path, creators: int = 0) -> Path:
    """The documents' example platform, or a ranking of so many creators, with the keys for `token`."""
    publish(home, EXAMPLE | many(creators) if creators else EXAMPLE)
    (home / "jwks.json").write_bytes(jwks("rsa-1"))
    return home


def command(home: Path, *arguments: object) -> list[str]:
    """`mostwatched` with some arguments."""
    return [sys.executable, "-m", "pipelines.cli", "--home", str(home), *map(str, arguments)]


@contextmanager
def serving(home: Path, *, open_files: int | None = None, **settings: object) -> Iterator[Served]:
    """Serve a home with settings such as log_level="DEBUG", and end the server by its handle."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    given = {"jwks": home / "jwks.json"} | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    environment |= {f"MOSTWATCHED_{name.upper()}": str(value) for name, value in given.items()}
    arguments = command(home, "serve", "--port", port)
    if open_files is not None:
        arguments = ["sh", "-c", f"ulimit -n {open_files}; exec {shlex.join(arguments)}"]
    out, err = (home / f"served-{port}.{name}" for name in ("out", "err"))
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            arguments, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_err
        )
    server = Served(port, process, out, err)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while problem := server.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{problem}: {err.read_text()[-500:]}")
            time.sleep(0.02)
        yield server
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def log_problems(server: Served, secrets: tuple[str, ...] = (), expected: tuple[str, ...] = ()) -> Iterator[str]:
    """What is wrong with what a server wrote: a line that is no JSON object of plain letters, an error, a secret."""
    if said := server.out.read_bytes():
        yield f"stdout: {said[:200]!r}"
    for line in server.err.read_bytes().split(b"\n")[:-1]:
        try:
            entry = json.loads(line.decode("ascii"))
            is_plain = isinstance(entry, dict) and line.decode("ascii").isprintable()
        except ValueError:
            is_plain = False
        if not is_plain:
            yield f"not a line of JSON in plain letters: {line[:200]!r}"
        elif entry["level"] in ("error", "critical") and not entry["event"].startswith(expected or "\n"):
            yield f"an error: {line[:300]!r}"
        for secret in secrets:
            if secret in line.decode("utf-8", "replace") or secret in str(entry if is_plain else ""):
                yield f"the secret {secret!r} is in the log: {line[:300]!r}"
