"""A server on a free port of this machine, for as long as it is needed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.benchmarks.process import ROOT, Failed, clean_environment

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_READY_SECONDS = 60.0
_END_SECONDS = 15.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Server:
    """One that answers."""

    port: int
    pid: int
    ready_seconds: float  # from the start of its process to its first answer of 200

    def cpu(self) -> float:
        """Seconds of CPU that it has used, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        """(status, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(
    command: Callable[[int], Sequence[str]], ready_path: str, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start the server that `command` makes of a port, wait until `ready_path` answers 200, and end it by its pid."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        child = subprocess.Popen(
            command(port),
            cwd=ROOT,
            env=clean_environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            server = Server(port, child.pid, _wait(child, port, ready_path, started, said))
            yield server
        finally:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait(child: subprocess.Popen[bytes], port: int, path: str, started: float, said: IO[bytes]) -> float:
    """Seconds until it was ready. Raises Failed when it ends, or takes too long."""
    server = Server(port, child.pid, 0.0)
    while child.poll() is None and time.perf_counter() - started < _READY_SECONDS:
        with suppress(OSError, http.client.HTTPException):
            if server.get(path)[0] == 200:
                return time.perf_counter() - started
        time.sleep(_POLL_SECONDS)
    said.seek(0)
    raise Failed(f"The server was not ready: {said.read().decode(errors='replace')[-500:]}")
