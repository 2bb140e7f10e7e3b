"""A Prefect server of our own, for the tests of the flows."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SERVER_STARTS_WITHIN = 90  # seconds; it makes its database first
STOPS_WITHIN = 10


@dataclass(frozen=True)
class PrefectServer:
    """A running server: where it is, and the environment in which `prefect` commands reach it."""

    url: str
    environ: dict[str, str]
    log: Path

    def command(self, *arguments: str, cwd: Path) -> str:
        """Run a `prefect` command to its end and give what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=cwd,
            env=self.environ | {"PWD": str(cwd)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the server's API, again while its database is busy."""
        user, _, password = self.environ["PREFECT_API_AUTH_STRING"].partition(":")
        for _attempt in range(10):
            answer = httpx.request(method, self.url + path, json=body, timeout=20, auth=(user, password))
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextlib.contextmanager
def running(arguments: list[str], cwd: Path, environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, and whatever it starts, for as long as the block lasts."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that its children go with it
        )
    try:
        yield process
    finally:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOPS_WITHIN)
        process.wait()


def is_healthy(server: PrefectServer) -> bool:
    """Whether it answers yet."""
    try:
        return httpx.get(server.url + "/health", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def started_server(folder: Path, auth_string: str) -> Iterator[tuple[PrefectServer, subprocess.Popen[bytes]]]:
    """A real server on the loopback, once it answers, and its process; it takes some 15 seconds to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MOSTWATCHED_"))}
    environ = ours | {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": auth_string,
        "PREFECT_API_AUTH_STRING": auth_string,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    log = folder / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, folder, environ, log) as process:
        server = PrefectServer(environ["PREFECT_API_URL"], environ, log)
        give_up_at = time.monotonic() + SERVER_STARTS_WITHIN
        while not is_healthy(server):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, f"no server within {SERVER_STARTS_WITHIN} s:\n{log.read_text()}"
            time.sleep(0.2)
        yield server, process
