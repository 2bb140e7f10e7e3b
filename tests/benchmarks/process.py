"""Run one contender as a process of its own and say what that process cost.

Wall time includes the start of the process; CPU and peak memory are the kernel's own figures for exactly that child.
Linux hands a new process the peak of the one that started it, so the modules that start contenders import nothing but
the standard library: what the figures cannot go below is the size of a bare interpreter.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import tree

ROOT = Path(__file__).resolve().parents[2]  # of the checkout: where `python -m` finds pipelines and tests

_WATCH_SECONDS = 0.2  # how often a running contender's time and memory are looked at
_LOOKS_A_SUM = 5  # the memory of many processes together takes longer to look up: not every time
# As Python, DuckDB, ClickHouse, Rust and DataFusion say it.
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|out of memory|memory limit|MEMORY_LIMIT|memory allocation of|resources exhausted", re.IGNORECASE
)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Measured:
    """What one run of one contender cost, and what it printed."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak_bytes: int  # most resident memory at once
    stdout: str
    failure: str | None  # why it has no answer, such as "over 600 s" or "out of memory"; None: it has


class Failed(Exception):
    """A process that had to succeed did not."""


def python(module: str, *arguments: object, interpreter: str = sys.executable) -> list[str]:
    """The command line that runs a module, with the interpreter of this process unless told another."""
    return [interpreter, "-m", module, *map(str, arguments)]


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    memory_bytes: int | None = None,
    with_children: bool = False,
) -> Measured:
    """Run a command to its end. After `timeout` seconds, or beyond `memory_bytes`, its process group is killed.

    `with_children` counts the CPU of all processes that it starts, and the most memory that they held together: a
    figure that is looked up once a second, not the kernel's.
    `env` is added to the environment without the product's own variables. Never raises for what the command did.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        os.sync()  # so that nobody waits for what another wrote
        if with_children:
            tree.adopt()
        started = time.perf_counter()
        child = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=clean_environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        watch = _Watch(child.pid, started, timeout, memory_bytes, with_children)
        try:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # leaves the pid taken until the watch has ended
            wall = time.perf_counter() - started
        except BaseException:  # interrupted: a session of its own is not
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        finally:
            watch.end()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        of_children = tree.left_behind_seconds(child.pid) if with_children else 0.0
        out.seek(0)
        errors.seek(0)
        stdout, stderr = out.read().decode(errors="replace"), errors.read().decode(errors="replace")
    return Measured(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime + of_children,
        peak_bytes=max(watch.peak_bytes, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)),
        stdout=stdout,
        failure=watch.reason or _failure(child.returncode, stderr),
    )


def must(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Measured:
    """Run a command that prepares something. Raises Failed, with what it said, when it fails."""
    measured = run(argv, env=env)
    if measured.failure is not None:
        raise Failed(f"{' '.join(argv[1:])}: {measured.failure}")
    return measured


def clean_environment() -> dict[str, str]:
    """The environment without the product's settings: a contender has those that it is given, and no others.

    And without what would make Python compile every module again at every start, as no installation does.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return inherited


class _Watch:
    """Ends a process that takes too long or too much, and remembers why."""

    def __init__(
        self, pid: int, started: float, timeout: float | None, memory_bytes: int | None, with_children: bool
    ) -> None:
        self.reason: str | None = None
        self.peak_bytes = 0  # of all together, where that was asked for
        self._with_children = with_children
        self._pid, self._started = pid, started
        self._timeout, self._memory_bytes = timeout, memory_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The process has ended by itself, or been killed."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        looks = 0
        while self.reason is None and not self._over.wait(_WATCH_SECONDS):
            looks += 1
            if self._with_children and looks % _LOOKS_A_SUM == 0:
                self.peak_bytes = max(self.peak_bytes, tree.resident_bytes(self._pid))
            if self._timeout is not None and time.perf_counter() - self._started > self._timeout:
                self.reason = f"over {self._timeout:g} s"
            elif self._memory_bytes is not None and _resident_bytes(self._pid) > self._memory_bytes:
                self.reason = f"over {self._memory_bytes / 1e9:.1f} GB"
        if self.reason is not None:
            os.killpg(self._pid, signal.SIGKILL)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):  # no such system, or the process has just ended
        return 0


def _failure(exit_code: int, stderr: str) -> str | None:
    if exit_code == 0:
        return None
    said = next((line for line in reversed(stderr.strip().splitlines()) if line.strip()), "").strip()
    if exit_code == -signal.SIGKILL:
        return "killed: out of memory?"
    if _OUT_OF_MEMORY.search(stderr):
        return f"out of memory ({said[:120]})"
    return f"exit code {exit_code} ({said[:300]})"
