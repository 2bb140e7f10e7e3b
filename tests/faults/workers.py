"""The rate limits over HTTP: several workers with one store, killed and started again, and forged headers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from random import Random

from faults.addresses import spellings
from faults.campaign import Effort, Figure, not_tried
from faults.judge import REAL, Judge
from faults.raw import STREAMS, Answer, Connection, envelope_problem, once
from faults.server import CHECKOUT, Process, SharedClock, end, worker
from faults.store import embedded_store, kind, shared_store

# seconds to wait, and requests to send at that very instant, from all connections at once
STEPS = [
    (0, 60), (0, 60), (30, 5), (29.999999, 7), (0.000001, 130), (59.999999, 3), (0.000001, 100), (0, 5), (60, 100),
    (60, 100), (60, 100), (60, 100), (60, 100), (60, 100), (60, 100), (60, 100), (60, 20), (3000, 5), (0.999999, 5),
    (59, 5), (0.000001, 30), (120, 110),
]  # fmt: skip


def over_http(effort: Effort, home: Path, clock: SharedClock) -> Iterator[Figure]:
    """Three workers, whose clock and whose store's clock are the attack's."""
    with ExitStack() as stack:
        url, store = stack.enter_context(embedded_store(effort.scratch, clock))
        trio = [stack.enter_context(worker(home, clock, redis_url=url)) for _ in range(3)]
        figure = Figure("answers of three workers with one store that are not the judge's, workers killed in between")
        judge, draw = Judge(REAL), effort.random("over http")
        for number, (pause, count) in enumerate(STEPS):
            clock.advance(pause)
            if number % 4 == 3:  # a worker dies with all it knows, and another takes its place
                trio.pop(0).kill()
                trio.append(stack.enter_context(worker(home, clock, redis_url=url)))
            _compare(figure, judge, clock.us, _burst(trio, count, draw), f"step {number}")
        fallbacks = [_fallbacks(one.port) for one in trio]
        figure.tried += 1
        if any(fallbacks):  # said first: it may be the reason of all the rest, on a machine with too much else to do
            figure.wrong.insert(0, f"{fallbacks} requests did without the store, which was too slow for them")
        yield figure

        figure = Figure("more than each worker's limit while the store is away, and after it came back empty")
        clock.advance(7200)
        admitted = _admitted(_burst(trio, 150, draw))
        figure.check(admitted == 100, f"{admitted} with the store")
        store.kill()
        away = _admitted(_burst(trio, 420, draw))
        figure.check(admitted + away <= 300, f"{admitted + away} with three workers alone")
        stack.enter_context(embedded_store(effort.scratch, clock, port=int(url.rpartition(":")[2].partition("/")[0])))
        clock.advance(3)
        back = _admitted(_burst(trio, 420, draw))
        figure.check(admitted + away + back <= 300, f"{admitted + away + back} with a store that came back empty")
        figure.check(sum(_fallbacks(one.port) for one in trio) > 0, "it was not noticed")
        figure.note = f"{admitted} with it, then {away} while it was away, then {back} from an empty one"
        yield figure
    yield _behind_a_proxy(effort, home, clock)


def _compare(figure: Figure, judge: Judge, now: int, answers: list[Answer], why: str) -> None:
    """All answers of one instant with the judge's, in no order: the connections raced each other."""
    verdicts = [judge.hit("127.0.0.1", now) for _ in answers]
    seen = sorted((a.status, a.headers.get("retry-after"), a.headers["ratelimit"].split(";t=")[0]) for a in answers)
    expected = sorted(
        (200 if v.is_admitted else 429, None if v.is_admitted else str(v.retry_after), f'"minute";r={v.remaining[0]}')
        for v in verdicts
    )
    for one, other in zip(seen, expected, strict=True):
        figure.check(one == other, f"{why}: {one} instead of {other}")
    for answer in answers:
        if answer.status == 429 and (problem := envelope_problem(answer, 429, ["Too many requests"])):
            figure.check(False, f"{why}: {problem}")


def _burst(trio: list[Process], count: int, draw: Random) -> list[Answer]:
    """That many requests at once over all workers, with whatever a client may claim about itself."""
    claims = [
        "X-Forwarded-For: 203.0.113.{}", "X-Forwarded-For: 203.0.113.{}, 127.0.0.1", "Forwarded: for=203.0.113.{}",
        "X-Real-IP: 203.0.113.{}", "True-Client-IP: 203.0.113.{}", "CF-Connecting-IP: 203.0.113.{}",
        "X-Client-IP: 203.0.113.{}", "X-Forwarded-For: ::1\r\nX-Forwarded-For: 203.0.113.{}", "Via: 1.1 203.0.113.{}",
        "X-Cluster-Client-IP: 203.0.113.{}", "X-Forwarded-For: \t", "x-forwarded-for:203.0.113.{}",
    ]  # fmt: skip
    asked = [draw.choice(claims).format(draw.randrange(256)) for _ in range(count)]

    def some(part: int) -> list[Answer]:
        lines = asked[part::6]
        if not lines:
            return []
        with Connection(trio[part % len(trio)].port) as connection:
            return [connection.get(STREAMS, line) for line in lines]

    with ThreadPoolExecutor(6) as pool:
        return [answer for found in pool.map(some, range(6)) for answer in found]


def _admitted(answers: list[Answer]) -> int:
    return sum(answer.status == 200 for answer in answers)


def _fallbacks(port: int) -> int:
    """How many requests did without the store."""
    for line in once(port, "/metrics").body.decode().splitlines():
        if line.startswith("mostwatched_rate_limit_fallbacks_total"):
            return int(float(line.rpartition(" ")[2]))
    return 0


def _behind_a_proxy(effort: Effort, home: Path, clock: SharedClock) -> Figure:
    """A worker that trusts 127.0.0.1: each client behind it has its own limits, however its address is spelt."""
    figure = Figure("answers to clients behind a trusted proxy that are not the judge's")
    draw = effort.random("proxy")
    clients = [f"198.51.100.{at}" for at in range(4)] + [f"2001:db8::{at}" for at in range(1, 4)]
    judge = Judge(REAL)
    with worker(home, clock, trusted_proxies=["127.0.0.1"]) as server, Connection(server.port) as connection:
        for _ in range(effort.times(1500, 30_000)):
            clock.advance(draw.choice((0, 0, 0, 0.001, 0.2, 1)))
            client = draw.choice(clients)
            made_up = draw.choice(("", "", f"203.0.113.{draw.randrange(256)}, ", "nonsense, ", "::1, 127.0.0.1, "))
            spelt = draw.choice([one for one in spellings(client) if "\t" not in one])
            answer = connection.get(STREAMS, f"X-Forwarded-For: {made_up}{spelt}")
            verdict = judge.hit(str(ip_address(client)), clock.us)
            seen = (answer.status, answer.headers.get("retry-after"))
            expected = (200, None) if verdict.is_admitted else (429, str(verdict.retry_after))
            figure.check(seen == expected, f"{client} as {made_up}{spelt}: {seen} instead of {expected}")
    return figure


# --- in real time ---


class _OverUnix(Connection):
    """A connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rb")


def on_sockets(effort: Effort, home: Path) -> Figure:
    """`serve --uds` and `serve --fd`: behind a trusted one every client is itself, behind another all are one."""
    figure = Figure("clients behind a Unix socket or an inherited one that are counted as somebody else")
    draw = effort.random("sockets")
    for trusted in ("unix,127.0.0.1", "", "192.0.2.0/24"):
        with tempfile.TemporaryDirectory() as folder:  # a short path: the kernel takes 107 bytes
            path = Path(folder) / "api.sock"
            with _serve(home, effort.scratch / "uds.log", ["--uds", str(path)], MOSTWATCHED_TRUSTED_PROXIES=trusted):
                _count(figure, draw, lambda path=path: _OverUnix(path), bool("unix" in trusted), f"--uds, {trusted!r}")
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            inherited.set_inheritable(True)
            port, number = inherited.getsockname()[1], inherited.fileno()
            log = effort.scratch / "fd.log"
            with _serve(home, log, ["--fd", str(number)], (number,), MOSTWATCHED_TRUSTED_PROXIES=trusted):
                _count(figure, draw, lambda port=port: Connection(port), "127" in trusted, f"--fd, {trusted!r}")
    return figure


def _count(figure: Figure, draw: Random, connect: Callable[[], Connection], is_trusted: bool, why: str) -> None:
    """Fewer requests than anybody is refused for: what is left to each client says whom they were counted for."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with connect() as connection:
                if connection.get("/healthz").status == 200:
                    break
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{why}: it did not start in time"
        time.sleep(0.1)
    asked: Counter[str] = Counter()
    with connect() as connection:
        for _ in range(90):
            client = draw.choice(("198.51.100.1", "198.51.100.2", "2001:db8::7"))
            bracketed = f"[{client}]" if ":" in client else client
            line = draw.choice(
                (
                    f"X-Forwarded-For: 203.0.113.{draw.randrange(256)}, {client}",
                    f'Forwarded: for="{bracketed}";proto=https',
                    f"X-Real-IP: {client}",
                    f"X-Forwarded-For: {bracketed}\r\nX-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9",
                )
            )
            counted = client if is_trusted else "the peer"
            asked[counted] += 1
            left = connection.get(STREAMS, line).headers["x-ratelimit-remaining"]
            figure.check(int(left) == 100 - asked[counted], f"{why}, {line!r}: {left} left, not {100 - asked[counted]}")


@contextmanager
def _serve(
    home: Path, log: Path, options: list[str], descriptors: tuple[int, ...] = (), **given: str
) -> Iterator[None]:
    """The product's own command on a socket."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    environ |= {"PYTHONPATH": str(CHECKOUT)} | {name: value for name, value in given.items() if value}
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), "serve", *options]
    with log.open("ab") as complaints:
        process = subprocess.Popen(command, env=environ, stdout=complaints, stderr=complaints, pass_fds=descriptors)
    try:
        yield
    finally:
        end(process, 20)


def really_served(effort: Effort, home: Path) -> Iterator[Figure]:
    """`mostwatched serve --workers 3` with a store, a worker killed in between; in full until one may again."""
    figure = Figure(f"real time: `serve --workers 3` with {kind()}: more or fewer than 100, or a wrong Retry-After")
    folder = effort.scratch / "real"
    folder.mkdir()
    with shared_store(folder) as url, _served(home, folder / "serve.log", url) as (process, port):
        started = time.monotonic()

        def some(_: int) -> list[Answer]:
            return [once(port, STREAMS, f"X-Forwarded-For: 203.0.113.{_}") for _ in range(30)]

        with ThreadPoolExecutor(8) as pool:
            answers = [answer for found in pool.map(some, range(8)) for answer in found]
        took = time.monotonic() - started
        problem = f"{_admitted(answers)} of {len(answers)} admitted"
        if _admitted(answers) != 100:
            time.sleep(1.5)  # what a worker has counted, the others know a second later
            problem += f"; {_fallbacks(port)} did without the store, which was too slow for them"
        figure.check(_admitted(answers) == 100, problem)
        for answer in answers:
            if answer.status != 200:
                fits = answer.status == 429 and 60 - took <= int(answer.headers["retry-after"]) <= 60
                figure.check(fits, f"{answer.status}, Retry-After {answer.headers.get('retry-after')} within {took} s")
        children = _children(process.pid)
        if children:
            os.kill(children[-1], signal.SIGKILL)
            time.sleep(1.5)
            figure.check(len(_children(process.pid)) >= 3, "the worker that was killed was not replaced")
        else:
            figure.note = "no worker was killed: this system does not tell which they are"
        after = [once(port, STREAMS) for _ in range(40)]
        took = time.monotonic() - started
        figure.check(not _admitted(after), f"{_admitted(after)} admitted within {took:.1f} s after a worker was killed")
        if effort.full:
            yield _in_real_time(port)
    yield figure
    if not effort.full:
        yield not_tried("real time: one that waits as told is admitted, one second earlier is not", "full tier only")


def _in_real_time(port: int) -> Figure:
    """Waiting for exactly as long as one is told suffices, and a second less does not."""
    figure = Figure("real time: one that waits as told is admitted, one second earlier is not")
    for _ in range(3):
        refused = once(port, STREAMS)
        told_at = time.monotonic()
        figure.check(refused.status == 429, f"{refused.status} instead of 429")
        wait = int(refused.headers.get("retry-after", 0))
        if wait > 1:
            time.sleep(max(0.0, told_at + wait - 1.05 - time.monotonic()))
            early = once(port, STREAMS)
            figure.check(early.status == 429, f"{early.status} a second early")
        time.sleep(max(0.0, told_at + wait - time.monotonic()))
        figure.check(once(port, STREAMS).status == 200, f"refused after waiting {wait} s as told")
        for _ in range(100):
            once(port, STREAMS)
    return figure


@contextmanager
def _served(home: Path, log: Path, redis_url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The product's own command."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    environ |= {"PYTHONPATH": str(CHECKOUT), "MOSTWATCHED_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), "serve"]
    with log.open("wb") as complaints:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "3"], env=environ, stdout=complaints, stderr=complaints
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                if once(port, "/healthz").status == 200:
                    break
            assert process.poll() is None, f"it ended: {log.read_text(errors='replace')[-2000:]}"
            assert time.monotonic() < deadline, "it did not start in time"
            time.sleep(0.1)
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()


def _children(parent: int) -> list[int]:
    """The worker processes of a server, oldest first; empty where the system does not tell."""
    found = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        found += [int(number) for number in path.read_text().split()]
    return sorted(pid for pid in found if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes())
