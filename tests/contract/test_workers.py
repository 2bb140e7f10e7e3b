"""The workers of a server: they may take long to start, are replaced when they die or are hung, and finish answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from calling import AS_IT_IS
from published import EXAMPLE, LLS_ACTIVE, publish

from pipelines.api import workers
from pipelines.api.workers import Supervisor, Worker, retry_seconds

RANKING = "/api/v1/live-stream/most-watched-creators"
OWN_RANKING = "/api/v1/creators/ranking"

SERVE = """
import signal, sys
from pathlib import Path
from pipelines.api import workers
from pipelines.api.app import serve
from pipelines.core.settings import Settings

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored by whatever nohup has started, tests too
    workers.HUNG_SECONDS = float(sys.argv[4])
    serve(Settings(home=Path(sys.argv[1])), "127.0.0.1", int(sys.argv[2]), int(sys.argv[3]))
"""

# what a machine with too much to do makes of every worker: it imports for longer than uvicorn waits
STARVED = """
import sys, time
if "--multiprocessing-fork" in sys.orig_argv:
    time.sleep(8)
"""


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def get(self, path: str) -> httpx.Response:
        """One GET on a connection of its own."""
        return httpx.get(f"{self.address}{path}", timeout=30)

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for a condition, for whom no server is no harm."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)

    def pids(self) -> set[int]:
        """The processes that have told that they serve."""
        lines = self.get("/metrics").text.splitlines()
        return {int(line.split('"')[1]) for line in lines if line.startswith("mostwatched_worker_info{")}

    def end(self) -> list[dict[str, Any]]:
        """SIGTERM; returns what it logged."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=90)
        return [json.loads(line) for line in errors.splitlines()]


@contextmanager
def server(
    home: Path, count: int, extra: Path | None = None, hung_seconds: float = workers.HUNG_SECONDS
) -> Iterator[Running]:
    script = home / "serve.py"
    script.write_text(SERVE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = os.pathsep.join([*([str(extra)] if extra else []), str(Path(__file__).parents[2])])
    process = subprocess.Popen(
        [sys.executable, str(script), str(home), str(port), str(count), str(hung_seconds)],
        start_new_session=True, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
    )  # fmt: skip
    try:
        yield Running(process, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_workers_that_start_slowly_are_waited_for(home: Path, tmp_path: Path) -> None:
    """And nothing is killed meanwhile: each kill would begin the wait anew."""
    publish(home, EXAMPLE)
    starved = tmp_path / "starved"
    starved.mkdir()
    (starved / "sitecustomize.py").write_text(STARVED)
    with server(home, 2, starved) as running:
        running.until(lambda: running.get(RANKING).status_code == 200)
        logged = running.end()
    assert not [entry for entry in logged if entry["event"] == "a worker is replaced"]


@pytest.mark.slow
def test_a_hung_worker_and_a_killed_one_are_replaced_and_the_log_says_why(home: Path) -> None:
    publish(home, EXAMPLE)
    with server(home, 2, hung_seconds=3) as running:
        running.until(lambda: len(running.pids()) == 2)
        hung, killed = running.pids()
        time.sleep(3)  # the supervisor asks twice a second: one that it has not heard of is still starting
        os.kill(hung, signal.SIGSTOP)  # the kernel still gives it connections: who has one waits
        os.kill(killed, signal.SIGKILL)

        def is_mended() -> bool:
            return len({*running.pids()} - {hung, killed}) == 2

        running.until(is_mended, 90)
        logged = running.end()
    reasons = {entry["pid"]: entry["reason"] for entry in logged if entry["event"] == "a worker is replaced"}
    assert reasons[killed] == "was killed by SIGKILL"
    assert reasons[hung].startswith("has been hung for")
    assert set(reasons) == {hung, killed}


@pytest.mark.slow
def test_a_new_worker_finds_the_snapshot_before(home: Path) -> None:
    """Whoever is in the middle of its pages goes on, also where every worker was replaced since; until it is gone."""
    first = publish(home, EXAMPLE)
    pinned, killed = f"{OWN_RANKING}?snapshot={first}", set()

    def replace_all(running: Running) -> None:
        for pid in running.pids() - killed:  # figures of the dead are shown for a while
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            running.until(lambda: len(running.pids() - killed) == 2)

    with server(home, 2) as running:
        running.until(lambda: len(running.pids()) == 2)
        second = publish(home, EXAMPLE, as_of="2026-11-22")
        running.until(lambda: {running.get(OWN_RANKING).headers["X-Snapshot-Id"] for _ in range(8)} == {second})
        answer = running.get(pinned)
        assert answer.status_code == 200
        replace_all(running)
        for _ in range(20):  # each on a connection of its own: the kernel gives them to both
            again = running.get(pinned)
            assert (again.status_code, again.headers["ETag"]) == (200, answer.headers["ETag"])
            assert again.json()["data"] == answer.json()["data"]
        shutil.rmtree(home / "snapshots" / first)
        assert {running.get(pinned).status_code for _ in range(8)} == {410}
        replace_all(running)
        assert {running.get(pinned).status_code for _ in range(8)} == {410}
        assert running.get(OWN_RANKING).headers["X-Snapshot-Id"] == second
        logged = running.end()
    assert {entry["event"] for entry in logged if entry["level"] == "error"} == {"a worker is replaced"}


def test_workers_end_with_their_supervisor(home: Path) -> None:
    """Nobody would replace them, and their port would stay taken."""
    publish(home, EXAMPLE)
    with server(home, 2) as running:
        running.until(lambda: len(running.pids()) == 2)
        pids = running.pids()
        running.process.kill()
        running.process.wait()
        running.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 30)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_hangup_lets_every_answer_be_finished(home: Path, count: int) -> None:
    """A worker alone ends after it, several are replaced and go on serving; the answer under way is whole."""
    publish(home, {"lls_streams": [LLS_ACTIVE | {"stream_id": f"stream-{at:06}"} for at in range(30_000)]})
    with server(home, count) as running:
        running.until(lambda: running.get("/readyz").status_code == 200)
        whole = len(running.get("/lls/v1.0/stream").content)
        before = running.pids()
        with httpx.stream("GET", f"{running.address}/lls/v1.0/stream", headers=AS_IT_IS, timeout=30) as answer:
            parts = answer.iter_raw(1 << 16)
            taken = len(next(parts))
            os.killpg(running.process.pid, signal.SIGHUP)  # as a terminal does that is closed
            time.sleep(1)
            taken += sum(map(len, parts))
        assert taken == whole == int(answer.headers["Content-Length"])
        if count == 1:
            assert running.process.wait(90) in (0, -signal.SIGHUP)
        else:
            running.until(lambda: len(running.pids() - before) == 2 and running.get(RANKING).status_code == 200)
            assert running.process.poll() is None


# --- by the supervisor's own clock ---


class FakeWorker:
    """A worker that has the problem that a test gives it."""

    made: list[FakeWorker]

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        self.pid = len(self.made) + 1
        self.started_at = time.monotonic()
        self.is_ready_now = True
        self.trouble: str | None = None
        self.exitcode = 1
        self.made.append(self)

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def join(self) -> None: ...

    def problem(self, now: float) -> str | None:
        return self.trouble


def test_a_worker_that_dies_again_and_again_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long after each death; from the beginning once one has lived for a minute."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    FakeWorker.made = []
    supervisor = Supervisor(uvicorn.Config("none", workers=1), [], FakeWorker)  # type: ignore[arg-type]
    supervisor.init_processes()
    (slot,) = supervisor.slots
    waits = []
    for lived in (0, 1, 5, 61, 2):
        now += lived
        FakeWorker.made[-1].trouble = "ended"
        supervisor.keep_subprocess_alive()
        waits.append(slot.retry_at - now)
        supervisor.keep_subprocess_alive()
        assert slot.worker is None, "not before its time"
        now = slot.retry_at
        supervisor.keep_subprocess_alive()
        assert slot.worker is FakeWorker.made[-1]
    assert waits == [0.5, 1, 2, 0.5, 1]
    assert retry_seconds(10_000) == workers.MAX_RETRY_SECONDS


class Pipe:
    """The supervisor's end of the pipe, with the answers that a test puts in."""

    def __init__(self) -> None:
        self.answers: list[float] = []

    def send(self, _: bytes) -> None: ...

    def poll(self, _: float) -> bool:
        return bool(self.answers)

    def recv(self) -> float:
        return self.answers.pop(0)


def test_when_a_worker_is_replaced() -> None:
    """Not while it starts, up to the limit, whatever it says; then when it or its event loop stands still."""
    worker = Worker.__new__(Worker)
    worker.process = type("Alive", (), {"exitcode": None})()  # type: ignore[assignment]
    worker.parent_conn = pipe = Pipe()  # type: ignore[assignment]
    worker.started_at = worker.answered_at = 0.0
    worker.is_ready_now = worker._is_asked = False
    assert worker.problem(400) is None, "it says nothing yet"
    pipe.answers = [-1.0]
    assert worker.problem(500) is None, "it answers, and does not serve yet"
    assert worker.problem(workers.START_SECONDS + 1) == "has not started within 600 seconds"
    pipe.answers = [0.1]
    assert worker.problem(599) is None
    assert worker.problem(599 + workers.HUNG_SECONDS) is None
    assert worker.problem(599 + workers.HUNG_SECONDS + 1) == "has been hung for 31 seconds"
    pipe.answers = [0.1]
    assert worker.problem(700) is None
    pipe.answers = [workers.HUNG_SECONDS + 5]  # its thread answers, its event loop does not turn
    assert worker.problem(701) == "has been hung for 35 seconds"
    worker.process.exitcode = -9  # type: ignore[misc]
    assert worker.problem(702) == "was killed by SIGKILL"
    worker.process.exitcode = 1  # type: ignore[misc]
    assert worker.problem(702) == "ended with exit code 1"
