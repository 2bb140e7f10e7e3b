"""The API and DuckDB read without a pause while somebody publishes, rolls back, prunes and repairs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey
from world import World

from faults.campaign import Effort, Figure
from faults.together_platform import CALLERS
from faults.together_races import environment
from faults.together_reader import requests_of
from faults.together_starts import starts
from faults.together_truth import Truth
from faults.together_writer import Move, Writer

WORKERS = (1, 2)  # of the servers, both at a time
LAG_SECONDS = 5.0  # by which an answer may lag behind the pointer, on a machine that has all this to do at once
START_SECONDS = 60.0
VALID_SECONDS = 24 * 3600


class Server:
    """`mostwatched serve` in processes of its own."""

    def __init__(self, home: Path, workers: int, log: Path, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), "serve"]
        command += ["--port", str(self.port), "--workers", str(workers)]
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, env=environment() | settings, stdout=out, stderr=out, start_new_session=True
            )

    def wait(self) -> None:
        """Until it accepts connections."""
        until = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, "the server did not start in time"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and its workers."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: nobody else's
            self.process.wait()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The entries of its log with that event."""
        found = []
        for line in self.log.read_text().splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                found += [entry] if entry.get("event") == event else []
        return found


@contextmanager
def server(home: Path, workers: int, log: Path, **settings: str) -> Iterator[Server]:
    """It ends with the block."""
    started = Server(home, workers, log, **settings)
    try:
        started.wait()
        yield started
    finally:
        started.stop()


class Watching:
    """A process of ours that works until its stdin is closed, and leaves what it saw in a file."""

    def __init__(self, module: str, plan: dict[str, Any], folder: Path, name: str) -> None:
        self.result, path = folder / f"{name} saw.json", folder / f"{name}.json"
        path.write_text(json.dumps(plan | {"result": str(self.result)}))
        command = [sys.executable, "-m", f"faults.{module}", str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        self.progress = 0
        self.thread = Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.progress = int(line)

    def end(self) -> dict[str, Any]:
        """What it saw."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(120)
        self.thread.join(10)
        seen: dict[str, Any] = json.loads(self.result.read_text())
        return seen

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def tokens_for(folder: Path) -> tuple[Path, list[str]]:
    """A file of keys, and a token of each caller."""
    key = OctKey.generate_key(256, {"kid": "ours", "alg": "HS256"})
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": [key.as_dict(private=True)]}))
    path.chmod(0o600)
    expires = int(time.time()) + VALID_SECONDS
    header = {"alg": "HS256", "kid": "ours"}
    return path, [jwt.encode(header, {"sub": caller, "exp": expires}, key) for caller in CALLERS]


def reading(effort: Effort) -> Iterator[Figure]:
    """Every answer is of one snapshot, which was current, or had been a moment before."""
    folder = effort.scratch / "reading"
    folder.mkdir()
    world = World(folder, keep_snapshots=1)
    home, archive = world.settings.home, folder / "archive"
    archive.mkdir()
    home.mkdir()
    jwks, tokens = tokens_for(folder)
    settings = {"MOSTWATCHED_JWKS": str(jwks), "MOSTWATCHED_TRUSTED_PROXIES": "127.0.0.1"}
    writer = Writer(world, archive, effort.random("writer"), effort.seed)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server(home, workers, folder / f"{workers}.log", **settings)) for workers in WORKERS
        ]
        plan = {"ports": [one.port for one in servers], "connections": 8, "tokens": tokens, "seed": effort.seed}
        reader = Watching("together_reader", plan, folder, "reader")
        stack.callback(reader.kill)
        time.sleep(1.0)
        writer.a_night()
        plan = {"home": str(home), "seed": effort.seed, "pause": 0.2}
        asker = Watching("together_analyst", plan, folder, "analyst")
        stack.callback(asker.kill)
        memory = [resident_megabytes(servers[0].process.pid)]
        began, answered = time.monotonic(), reader.progress
        wanted, nights = effort.times(20_000, 1_000_000), effort.times(3, 60)
        while reader.progress < wanted or writer.night < nights:
            writer.a_night()
            assert reader.process.poll() is None, "the reader has ended"
        writer.vanish()
        rate = (reader.progress - answered) / (time.monotonic() - began)
        time.sleep(2)
        by_reader, by_analyst = reader.end(), asker.end()
        memory.append(resident_megabytes(servers[0].process.pid))
    truth = Truth(archive, jwks, tokens)
    yield _answers(by_reader, truth, requests_of(tokens), f"{rate:,.0f} a second")
    yield from _in_order(by_reader, writer)
    yield _server_logs(servers, memory)
    yield from _asked(by_analyst, truth, writer)
    published = Figure("publishes, rollbacks, prunes and repairs in the meantime", sum(writer.done.values()))
    published.wrong = writer.problems
    published.note = ", ".join(f"{count} {what}" for what, count in writer.done.items())
    yield published
    yield starts(archive, folder / "starts", effort.times(100, 2000), effort.random("starts"))


def _answers(seen: dict[str, Any], truth: Truth, requests: list[Any], rate: str) -> Figure:
    """No answer is mixed: all of a snapshot are the same, and that one is right."""
    figure = Figure("answers of the API, compared to the byte", seen["answers"], list(seen["problems"]))
    known = {request.name: request for request in requests}
    for name, of_request in seen["kept"].items():
        for snapshot_id, kept in of_request.items():
            problem = truth.problem(known[name[4:]], int(name[:3]), snapshot_id, kept.encode("latin-1"))
            if problem:
                figure.wrong.append(f"{name} of {snapshot_id}: {problem}")
    of_statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(seen["statuses"].items()))
    snapshots = {snapshot_id for of_request in seen["kept"].values() for snapshot_id in of_request}
    figure.note = f"{rate}; {of_statuses}; {len(snapshots)} snapshots"
    if not snapshots or set(seen["statuses"]) < {"200", "304", "503"}:
        figure.wrong.append(f"too little was seen: {figure.note}")
    return figure


def _in_order(seen: dict[str, Any], writer: Writer) -> Iterator[Figure]:
    """A connection's answers follow the pointer, in its order, never far behind it and never before it."""
    order = Figure("stretches of answers, in the order of the pointer's moves")
    lags: list[float] = []
    for stretches in seen["stretches"]:
        order.tried += len(stretches)
        order.wrong += followed(stretches, writer.moves, writer.damages, lags)
    lags.sort()
    if lags:
        middle, most = lags[len(lags) // 2], lags[-1]
        order.note = (
            f"{len(lags)} changes of snapshot, {middle:.2f} s behind the pointer in the middle, {most:.2f} at most"
        )
    else:
        order.wrong.append("the pointer's moves were not seen")
    yield order


def followed(
    stretches: list[list[Any]], moves: list[Move], damages: list[tuple[str, float, float]], lags: list[float]
) -> list[str]:
    """What is wrong with the snapshots that one connection saw one after the other.

    For each that it saw after the pointer had left it, how long after that is added to `lags`.
    """
    wrong, at = [], 0
    for snapshot_id, first, last in stretches:
        if snapshot_id == "":
            if at or last > moves[0].ended + LAG_SECONDS:
                wrong.append(f"503 at {last:.2f}; {moves[0].snapshot_id} was current since {moves[0].ended:.2f}")
            continue
        # the moves to it, from where we were, that had begun when it was seen
        to_it = [n for n in range(at, len(moves)) if moves[n].snapshot_id == snapshot_id and moves[n].began <= last]
        if not to_it or moves[to_it[0]].began > first:
            wrong.append(f"{snapshot_id} was seen at {first:.2f}, after {moves[at]}")
            continue
        at = to_it[0]
        behind = last - left_at(to_it[-1], moves, damages)
        if behind > 0:
            lags.append(behind)
        if behind > LAG_SECONDS:
            wrong.append(f"{snapshot_id} was still served {behind:.2f} s after the pointer had left it")
    return wrong


def left_at(number: int, moves: list[Move], damages: list[tuple[str, float, float]]) -> float:
    """When the pointer left what it moved to, for a snapshot that could be loaded: it may have been in repair."""
    if number + 1 == len(moves):
        return float("inf")
    left = moves[number + 1].written
    for _, began, ended in damages:
        if left - 1 < began < left + LAG_SECONDS:
            left = max(left, ended)
    return left


def resident_megabytes(pid: int) -> int:
    """Megabytes that a process holds, where the system says so."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    return 0


def _server_logs(servers: list[Server], memory: list[int]) -> Figure:
    """Nothing unexpected happened in a server, and it ended when it was told to."""
    figure = Figure("servers that ran through it")
    loads = 0
    for one in servers:
        loads += len(one.logged("serving"))
        unexpected = one.logged("unexpected")
        figure.check(not unexpected, f"port {one.port}: {unexpected[:3]}")
    figure.note = (
        f"{loads} snapshots loaded; one worker held {memory[0]} MB after the first night, {memory[1]} at the end"
    )
    return figure


def _asked(seen: dict[str, Any], truth: Truth, writer: Writer) -> Iterator[Figure]:
    """Each of DuckDB's answers is one snapshot's; where there is none, the snapshot had been removed, or damaged."""
    answers = Figure("answers to analysts, of DuckDB and the command line", sum(seen["answers"].values()))
    answers.wrong = list(seen["problems"])
    for question, kept in seen["kept"].items():
        for snapshot_id, digest in kept.items():
            of_a_snapshot = snapshot_id in truth.tops() if question == "top" else None
            right = digest == truth.answer(snapshot_id, question) if of_a_snapshot is None else of_a_snapshot
            if not right:
                answers.wrong.append(f"{question} of {snapshot_id} is not what its files say")
    counts = ", ".join(f"{count} of {way}" for way, count in seen["answers"].items())
    answers.note = f"{counts}; {seen['after_removal']} of a snapshot that had been removed"
    yield answers
    gone = Figure("questions to a snapshot that was removed or damaged meanwhile", len(seen["gone"]))
    spoilt = [*writer.spoilt, *((began, ended) for _, began, ended in writer.damages)]
    for asked_of, at, error in seen["gone"]:
        # a prune had begun, or was to begin while the answer was worked out
        removed = [snapshot_id for snapshot_id, began in writer.removed if at - 10 < began < at + 30]
        was_removed = asked_of in removed or any(f"{snapshot_id} was removed" in error for snapshot_id in removed)
        if not was_removed and not any(began - 2 <= at <= ended + 1 for began, ended in spoilt):
            gone.wrong.append(f"{asked_of} at {at:.2f}: {error}"[:500])
    gone.note = f"{dict(Counter(error.split(':')[0] for _, _, error in seen['gone']))}"
    yield gone
