"""The processes of a server with several workers: started, watched, replaced, and why is logged.

uvicorn's own supervisor kills a worker that does not answer within five seconds, also one that is still importing the
program: on a machine with too much to do none ever comes up. Here a worker that starts has START_SECONDS, one that has
started must answer, and its event loop must turn; one that is replaced again and again is waited for longer each time.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from socket import socket

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

START_SECONDS = 600.0  # for a worker to import the program and prepare its first snapshot, on a starved machine
HUNG_SECONDS = 30.0  # without an answer, or a turn of the event loop: far more than the longest step takes
RETRY_SECONDS = 0.5  # before a worker that died is replaced; twice as long after each further death
MAX_RETRY_SECONDS = 60.0
STEADY_SECONDS = 60.0  # a worker that lived so long has not died of its start
_NOT_STARTED = -1.0

log = logging.getLogger("mostwatched.api")


class TickingServer(uvicorn.Server):
    """A server that knows when its event loop turned last."""

    ticked_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        self.ticked_at = time.monotonic()
        return await super().on_tick(counter)


class Worker(Process):
    """One worker process, seen from the supervisor; `target`, `always_pong` and `pong` run in the process itself."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self.supervisor = os.getpid()
        self.started_at = self.answered_at = time.monotonic()
        self.is_ready_now = False
        self._is_asked = False

    # --- in the worker ---

    @property
    def server(self) -> uvicorn.Server:
        """The server of this process."""
        if self._server is None:
            self._server = TickingServer(config=self.config)
        return self._server

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve. A hangup of the terminal is the supervisor's business: it replaces one worker after the other."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # safeguard: hangup-leaves-workers-alone
        super().target(sockets)

    def always_pong(self) -> None:
        """Answer the supervisor, and end when it has gone: nobody would replace this worker."""
        while True:
            if self.child_conn.poll(1.0):
                self.pong()
            elif os.getppid() != self.supervisor:  # safeguard: worker-ends-with-its-supervisor
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def pong(self) -> None:
        """Say how long ago the event loop turned."""
        self.child_conn.recv()
        server = self.server
        ticked_at = server.ticked_at if isinstance(server, TickingServer) else 0.0
        self.child_conn.send(time.monotonic() - ticked_at if server.started and ticked_at else _NOT_STARTED)

    # --- in the supervisor ---

    def problem(self, now: float) -> str | None:
        """Return why it is to be replaced; None when it is well, or still starting."""
        code = self.process.exitcode
        if code is not None:
            return f"ended with exit code {code}" if code >= 0 else f"was killed by {_signal_name(-code)}"
        stuck = self._ask(now)
        if not self.is_ready_now:
            if now - self.started_at > START_SECONDS:
                return f"has not started within {START_SECONDS:.0f} seconds"
            return None  # safeguard: starting-worker-left-alone
        stuck = max(stuck, now - self.answered_at)
        return f"has been hung for {stuck:.0f} seconds" if stuck > HUNG_SECONDS else None

    def _ask(self, now: float) -> float:
        """Read its answer, if there is one, and ask again. Returns for how long its event loop has not turned."""
        stuck = 0.0
        try:
            if self._is_asked and self.parent_conn.poll(0):
                age = float(self.parent_conn.recv())
                self._is_asked = False
                self.answered_at = now
                self.is_ready_now = self.is_ready_now or age != _NOT_STARTED
                stuck = max(0.0, age)
            if not self._is_asked:
                self.parent_conn.send(b"ping")
                self._is_asked = True
        except (OSError, EOFError):
            pass  # it ends: its exit code is there the next time
        return stuck


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def retry_seconds(deaths: int) -> float:
    """How long to wait before a worker is replaced that has died so many times in a row."""
    return min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2.0 ** min(deaths - 1, 30))


class Slot:
    """The place of one worker: who fills it, and when it is filled again."""

    def __init__(self, worker: Worker) -> None:
        self.worker: Worker | None = worker
        self.deaths = 0  # in a row
        self.retry_at = 0.0


class Supervisor(Multiprocess):
    """Keeps the workers of a server alive. SIGHUP replaces them one after the other; each finishes its answers."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket], make: Callable[..., Worker] = Worker) -> None:
        super().__init__(config, sockets)
        self._make = make
        self.slots: list[Slot] = []
        self.has_failed = False  # a worker cannot start, and none ever will

    def init_processes(self) -> None:
        """Start all workers."""
        self.slots = [Slot(self._start()) for _ in range(self.processes_num)]

    def _start(self) -> Worker:
        worker = self._make(self.config, self.sockets)
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Look at every worker, and replace those that have died or are hung."""
        now = time.monotonic()
        for slot in self.slots:
            if self.should_exit.is_set():
                return
            worker = slot.worker
            if worker is None:
                if now >= slot.retry_at:
                    slot.worker = self._start()
                continue
            problem = worker.problem(now)
            if problem is None:
                continue
            worker.kill()
            worker.join()
            others_serve = any(one.worker is not None and one.worker.is_ready_now for one in self.slots)
            if worker.exitcode == STARTUP_FAILURE and not others_serve:
                log.error("a worker cannot start: the server ends", extra={"pid": worker.pid})
                self.has_failed = True
                self.should_exit.set()
                return
            slot.deaths = 1 if now - worker.started_at >= STEADY_SECONDS else slot.deaths + 1
            wait = retry_seconds(slot.deaths)  # safeguard: deaths-in-a-row-wait
            slot.worker, slot.retry_at = None, now + wait
            about = {"pid": worker.pid, "reason": problem, "replaced_in_seconds": wait}
            log.error("a worker is replaced", extra=about)

    def restart_all(self) -> None:
        """Replace every worker, one after the other, each once its successor serves."""
        for slot in self.slots:
            successor = self._start()
            while not self.should_exit.is_set() and not successor.is_ready_now:
                problem = successor.problem(time.monotonic())
                if problem is not None:
                    successor.kill()
                    successor.join()
                    log.error("a worker stays: its successor could not start", extra={"reason": problem})
                    return
                time.sleep(0.1)
            if slot.worker is not None:
                slot.worker.terminate()
                slot.worker.join()
            slot.worker, slot.deaths = successor, 0

    def terminate_all(self) -> None:
        """Ask every worker to finish."""
        for worker in self._workers():
            worker.terminate()

    def join_all(self) -> None:
        """Wait until all have."""
        for worker in self._workers():
            worker.join()

    def _workers(self) -> Sequence[Worker]:
        return [slot.worker for slot in self.slots if slot.worker is not None]

    def handle_ttin(self) -> None:
        """SIGTTIN: one worker more."""
        self.slots.append(Slot(self._start()))

    def handle_ttou(self) -> None:
        """SIGTTOU: one fewer, but never none."""
        if len(self.slots) > 1 and (worker := self.slots.pop().worker) is not None:
            worker.terminate()
            worker.join()


def serve_alone(config: uvicorn.Config, listening: socket | None = None) -> None:
    """Serve in this process, on the configured address or on a socket.

    SIGHUP ends it as SIGTERM does, with every answer finished.
    """
    server = uvicorn.Server(config)
    replaced = {}
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal that ended it once more: by default this process would die of it there, and leave
        # its files behind
        for number in (signal.SIGHUP, signal.SIGTERM):  # safeguard: hangup-drains
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                replaced[number] = signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    try:
        server.run(None if listening is None else [listening])
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
