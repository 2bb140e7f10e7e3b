"""A Prefect server of our own, for the tests of the flows."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
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
        """One request to the server's API."""
        user, _, password = self.environ["PREFECT_API_AUTH_STRING"].partition(":")
        answer = httpx.request(method, self.url + path, json=body, timeout=20, auth=(user, password))
        answer.raise_for_status()
        return answer.json()


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
