"""Clients that are slow, idle, do not read, or go away: none holds a connection for long, none stops the others."""

from __future__ import annotations

import http.client
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from statistics import quantiles

from published import many, publish

from faults.campaign import Effort, Figure
from faults.requests import get
from faults.serving import RANKING, Served, log_problems, parsed, published, received, serving

PATIENCE = 2  # MOSTWATCHED_CLIENT_TIMEOUT_SECONDS of these servers
LATE = 4.0  # seconds of grace on a busy machine, whose client may be late itself
EVERY = 0.1  # seconds between two bytes
LONGEST = 3.0  # seconds that another client waits meanwhile, at most: the machine does other things as well
LARGE = f"{RANKING}?limit=1000".encode()


@dataclass(frozen=True)
class Slow:
    """What a client sends at once, what it repeats, and what it is answered before the server hangs up."""

    name: str
    first: bytes
    then: bytes
    statuses: tuple[int, ...]


KINDS = (
    Slow("nothing", b"", b"", ()),
    Slow("empty lines", b"", b"\r\n", ()),
    Slow("a request line", b"GET /", b"x", (408,)),
    Slow("a header", get()[:-2] + b"X: ", b"y", (408,)),
    Slow("header after header", get()[:-2], b"X: y\r\n", (408,)),
    Slow("a body", get(b"/healthz", b"Content-Length: 1000", method=b"POST"), b"x", (405,)),
    Slow("chunk after chunk", get(b"/healthz", b"Transfer-Encoding: chunked"), b"1\r\nx\r\n", (200,)),
    Slow("trailer after trailer", get(b"/healthz", b"Transfer-Encoding: chunked") + b"0\r\n", b"X: y\r\n", (200,)),
    Slow("no second request", get(), b"", (200,)),
    Slow("empty lines after a request", get(), b"\r\n", (200,)),
    Slow("a second request", get() + b"GET /", b"x", (200, 408)),
    Slow("bytes behind an upgrade", get(b"/healthz", b"Connection: Upgrade", b"Upgrade: websocket"), b"x", (200,)),
)


@dataclass
class Dripping:
    """One such client."""

    kind: Slow
    connection: socket.socket
    found: bytes = b""
    ended_after: float | None = None

    def go_on(self, seconds: float) -> None:
        """Send a little more, and see what has come."""
        try:
            if self.kind.then:
                self.connection.send(self.kind.then)
            while chunk := self.connection.recv(65_536):
                self.found += chunk
            self.ended_after = seconds
        except BlockingIOError:
            pass
        except OSError:
            self.ended_after = seconds


@dataclass
class Others:
    """A client that asks all the time, and how long it waited each time."""

    server: Served
    waits: list[float] = field(default_factory=list)
    problem: str = ""

    def __enter__(self) -> Others:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._is_over.is_set() and not self.problem:
            started = time.perf_counter()
            try:
                if self.server.get(RANKING).status != 200:
                    self.problem = "another client was refused"
            except (OSError, http.client.HTTPException) as error:
                self.problem = f"another client was not answered: {error!r}"
            self.waits.append(time.perf_counter() - started)
            time.sleep(0.005)

    def verdict(self, figure: Figure) -> str:
        """Judge it, and say in a few words how long it took."""
        longest = max(self.waits, default=99.0)
        figure.tried += len(self.waits)
        if self.problem or longest > LONGEST:
            figure.wrong.append(self.problem or f"another client waited {longest:.2f} s")
        return f"others wait {quantiles(self.waits, n=100)[-1] * 1000:.0f} ms (99 %)" if len(self.waits) > 1 else ""


def slow_clients(effort: Effort) -> Iterator[Figure]:
    """All of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # of this attack's process, and of the servers it starts
    room = 100_000 if most == resource.RLIM_INFINITY else most - 500
    home = published(effort.scratch / "slow", creators=1000)
    with serving(home, client_timeout_seconds=PATIENCE, log_level="DEBUG") as server:
        yield a_byte_at_a_time(server, effort.times(20, 100))
        yield idle(server, min(effort.times(2000, 10_000), room))
        yield unread(server, effort.times(20, 60))
        yield gone(effort, server)
        figure = Figure("log lines of slow clients", server.err.read_bytes().count(b"\n"), list(log_problems(server)))
        yield figure
    with serving(home, open_files=256, client_timeout_seconds=PATIENCE) as server:
        yield too_many(server)


def a_byte_at_a_time(server: Served, of_each: int) -> Figure:
    """Every kind is hung up on in time, however busily it goes on."""
    figure = Figure(f"{len(KINDS) * of_each} clients that send a byte at a time")
    started = time.monotonic()
    with ExitStack() as stack, Others(server) as others:
        clients = []
        for kind in KINDS * of_each:
            connection = stack.enter_context(server.connect())
            connection.sendall(kind.first)
            connection.setblocking(False)
            clients.append(Dripping(kind, connection))
        while (left := [one for one in clients if one.ended_after is None]) and (
            time.monotonic() - started < 3 * PATIENCE + 2 * LATE
        ):
            time.sleep(EVERY)
            for client in left:
                client.go_on(time.monotonic() - started)
    for client in clients:
        statuses = _statuses(client.found)
        # what is sent after the end may reset the connection before the answer is read
        is_answered = statuses == list(client.kind.statuses) or (
            bool(client.kind.then) and statuses == list(client.kind.statuses)[: len(statuses)]
        )
        figure.check(is_answered, f"{client.kind.name}: answered {statuses}, not {list(client.kind.statuses)}")
        is_in_time = client.ended_after is not None and client.ended_after < PATIENCE + LATE
        figure.check(is_in_time, f"{client.kind.name}: ended after {client.ended_after} s")
    figure.note = others.verdict(figure)
    return figure


def _statuses(found: bytes) -> list[int]:
    try:
        return [answer.status for answer in parsed(found)]
    except ValueError:
        return [-1]


def idle(server: Served, count: int) -> Figure:
    """Connections that say nothing cost little and are closed in time."""
    figure = Figure(f"{count:,} idle connections")
    before = server.memory()
    with ExitStack() as stack:
        opened = [stack.enter_context(server.connect(PATIENCE + 2 * LATE)) for _ in range(count)]
        with Others(server) as others:
            time.sleep(PATIENCE / 2)
        after = server.memory()
        figure.tried += count
        figure.wrong += ["an idle connection stays open"] * still_open(opened)
    figure.note = others.verdict(figure)
    if before and after:
        figure.note += f", {max(0, after - before) / count / 1000:.0f} kB each"
    return figure


def still_open(connections: list[socket.socket]) -> int:
    """How many of them the server has not hung up on, in silence, when it should have."""
    deadline, left = time.monotonic() + PATIENCE + LATE, 0
    for connection in connections:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        left += received(connection) != (b"", True)
    return left


def unread(server: Served, count: int) -> Figure:
    """A client that asks and does not read is given up, and what it asked for does not pile up."""
    figure = Figure(f"{count} clients that do not read their answers")
    asked = 200
    before = server.memory()
    with ExitStack() as stack, Others(server) as others:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(5)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(get(LARGE) * asked)
            connections.append(connection)
        time.sleep(3 * PATIENCE)
        after = server.memory()
        for connection in connections:
            found, has_ended = received(connection)
            figure.check(has_ended, "it is still open")
            figure.check(found.count(b"HTTP/1.1 200 ") < asked, "everything was kept for it")
    figure.note = others.verdict(figure)
    if before and after:
        grown = (after - before) / count / 1e6
        figure.check(grown < 2, f"it grew by {grown:.1f} MB a client")
        figure.note += f", {max(0.0, grown):.2f} MB each"
    return figure


def gone(effort: Effort, server: Served) -> Figure:
    """Clients that reset the connection before, in the middle of, or after their answers."""
    figure = Figure("clients that reset the connection")
    random = effort.random("gone")
    for _ in range(effort.times(300, 5000)):
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sent = get(LARGE) * random.choice((1, 20))
        with suppress(OSError):
            connection.sendall(sent[: random.randrange(1, len(sent) + 1)])
            if random.random() < 0.5:
                connection.settimeout(0.02)  # there may be nothing to come yet
                connection.recv(random.choice((1, 1000, 100_000)))
        connection.close()
        figure.tried += 1
    problem = server.answers()
    figure.check(not problem, problem)
    return figure


def too_many(server: Served) -> Figure:
    """More connections than files may be open: some are refused, a new snapshot is still loaded, and all ends well."""
    figure = Figure("600 connections to a server of 256 files")
    with ExitStack() as stack:
        opened = [stack.enter_context(server.connect(PATIENCE + 2 * LATE)) for _ in range(600)]
        snapshot_id = publish(server.err.parent, many(5))
        deadline = time.monotonic() + PATIENCE / 2
        while snapshot_id not in server.err.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        figure.check(snapshot_id in server.err.read_text(), "the new snapshot was not loaded meanwhile")
        figure.tried += len(opened)
        figure.wrong += ["a connection stays open"] * still_open(opened)
    problem = server.answers()
    figure.check(not problem, problem)
    figure.wrong += list(log_problems(server))
    complaints = server.err.read_text().count("there are too many")
    figure.check(complaints == 1, f"it complained {complaints} times")
    return figure
