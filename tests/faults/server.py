"""Workers of the API as processes of their own, with a clock that the attack moves for all of them at once.

What is served is `create_app` under the product's own uvicorn configuration; only the clock is another, by the seam
that the tests have too. `python -m faults.server JSON` is one worker.
"""

from __future__ import annotations

import functools
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 30


class SharedClock:
    """Microseconds since 1970 that stand still until somebody sets them; the same for every process with that file."""

    def __init__(self, path: Path, us: int | None = None) -> None:
        if us is not None:
            path.write_bytes(us.to_bytes(8, sys.byteorder))
        self.path = path
        self._file = path.open("r+b")
        self._cell = memoryview(mmap.mmap(self._file.fileno(), 8)).cast("q")

    @property
    def us(self) -> int:
        return self._cell[0]

    @us.setter
    def us(self, value: int) -> None:
        self._cell[0] = value

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


@dataclass
class Process:
    """A server that was started, and the port it listens on."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def kill(self) -> None:
        """At once, without a word."""
        self.process.kill()
        self.process.wait()

    def complaints(self) -> list[str]:
        """The lines of its log that speak of something unexpected."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "unexpected" in line or "Traceback" in line or "never awaited" in line]


@contextmanager
def started(module: str, argument: str, log: Path, **environment: str) -> Iterator[Process]:
    """`python -m module argument`, which writes the port it listens on; ended when left, however that is."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    environ |= {"PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "tests")))} | environment
    with log.open("ab") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", module, argument], env=environ, stdout=subprocess.PIPE, stderr=complaints
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.strip().isdigit(), f"{module} did not start: {log.read_text(errors='replace')[-2000:]}"
        yield Process(process, int(line), log)
    finally:
        end(process, 10)
        process.stdout.close()


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """End a process by SIGTERM, and by SIGKILL when it has not ended in time."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


@contextmanager
def worker(home: Path, clock: SharedClock, **settings: Any) -> Iterator[Process]:
    """One worker of the API over that home, on a port of its own."""
    asked = {"clock": str(clock.path), "settings": {"home": str(home), **settings}}
    number = len(list(home.glob("worker-*.log")))
    with started("faults.server", json.dumps(asked), home / f"worker-{number}.log") as process:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", process.port), timeout=5) as probe:
                    probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    if probe.recv(100).startswith(b"HTTP/1.1 200"):
                        break
            except OSError:
                pass
            assert process.process.poll() is None, f"it ended: {process.log.read_text(errors='replace')[-2000:]}"
            assert time.monotonic() < deadline, "it did not start in time"
            time.sleep(0.02)
        yield process


def main() -> None:
    """Be one worker."""
    import uvicorn

    from pipelines.api.app import create_app, server_config
    from pipelines.api.envelope import Clock
    from pipelines.core.logs import configure_server
    from pipelines.core.settings import Settings

    asked = json.loads(sys.argv[1])
    shared = SharedClock(Path(asked["clock"]))
    given = asked["settings"] | {"home": Path(asked["settings"]["home"])}
    given["trusted_proxies"] = tuple(given.get("trusted_proxies", ()))
    settings = Settings(**given)
    configure_server(None, "INFO")
    config = server_config(settings, "127.0.0.1", 0)
    clock = Clock(now_ms=lambda: shared.us // 1000, monotonic_us=lambda: shared.us)
    config.app = functools.partial(create_app, settings, clock)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
