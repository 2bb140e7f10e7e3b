"""A process that starts commands at the same moment, in children that each are the whole command line.

Reads one JSON object a line: {"home": …, "commands": [{"arguments": […], "delay": seconds, "folder": …}], "after":
seconds, "then": "kill" | "pause" | null, "spoil": … | null}. The commands start together (each after its delay). After
`after` seconds whoever holds the lock is killed, or paused until the others have ended; meanwhile the lock's file is
removed or overwritten, where `spoil` says so. The answer is a list, a command each:
{"pid", "code", "out", "err", "was": "killed" | "paused" | null, "first", "last", "ended"}: between which moments it
changed the home, and when it had ended, by the clock that all processes share.

Children are forked, so that a race costs no interpreter's start. Nothing in here runs a query before it forks.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pipelines.core.progress
import pipelines.jobs.nightly
import pipelines.lake.engines.duckdb  # imported here once, and not in every child
import pipelines.snapshots.manifest  # noqa: F401
from pipelines import cli
from pipelines.core.durable_files import home_lock

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PATIENCE_SECONDS = 60.0  # with a command: far over the slowest


class Child:
    """One command in a process of its own."""

    def __init__(self, home: Path, command: dict[str, Any], go: int, start: int) -> None:
        self.files = [tempfile.TemporaryFile("w+") for _ in range(3)]  # noqa: SIM115  stdout, stderr, moments; see told()
        self.was: str | None = None
        self.code: int | None = None
        self.ended = 0.0
        self.pid = os.fork()
        if self.pid == 0:
            status = 70
            try:
                os.close(start)
                os.read(go, 1)  # ends when the parent closes the other end
                time.sleep(command.get("delay", 0))
                status = self._command(home, command)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)

    def _command(self, home: Path, command: dict[str, Any]) -> int:
        os.dup2(self.files[0].fileno(), 1)
        os.dup2(self.files[1].fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.chdir(command.get("folder", "/"))
        sys.addaudithook(_Moments(home, self.files[2].fileno()))
        sys.argv = ["mostwatched", *command["arguments"]]
        try:
            cli.main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0

    def send(self, number: signal.Signals) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def poll(self) -> bool:
        """Whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.ended = time.monotonic()
        return self.code is not None

    def told(self) -> dict[str, Any]:
        texts = []
        for file in self.files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        out, err, moments = texts
        times = [float(line) for line in moments.split()]
        return {
            "pid": self.pid,
            "code": self.code,
            "out": out,
            "err": err,
            "was": self.was,
            "first": times[0] if times else None,
            "last": times[-1] if times else None,
            "ended": self.ended,
        }


class _Moments:
    """An audit hook that notes when the home is changed: anything but its lock, and the folder itself."""

    def __init__(self, home: Path, descriptor: int) -> None:
        self.home, self.descriptor = f"{home}/", descriptor

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not arguments[2] & WRITING:
            return
        if event != "open" and event not in CHANGES:
            return
        path = os.path.realpath(str(arguments[0]))
        if path.startswith(self.home) and not path.startswith(f"{self.home}.lock"):
            os.write(self.descriptor, b"%f\n" % time.monotonic())


def race(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Start the commands together, do to the holder what was asked for, and wait for all."""
    home = Path(task["home"]).resolve()
    go, start = os.pipe()
    children = [Child(home, command, go, start) for command in task["commands"]]
    os.close(go)
    os.close(start)
    if task.get("then"):
        time.sleep(task["after"])
        chosen = _holder(home, children)
        if chosen is not None and task["then"] == "kill":
            chosen.send(signal.SIGKILL)
            chosen.was = "killed"
        elif chosen is not None:
            chosen.send(signal.SIGSTOP)
            chosen.was = "paused"
            if task.get("spoil") == "removed":
                home_lock(home).unlink()
            elif task.get("spoil"):
                home_lock(home).write_text(task["spoil"])
            _wait([child for child in children if child is not chosen])
            chosen.send(signal.SIGCONT)
    _wait(children)
    return [child.told() for child in children]


def _holder(home: Path, children: list[Child]) -> Child | None:
    """Who holds the lock, by the name in it, as soon as there is one; None when all have ended."""
    while [child for child in children if not child.poll()]:
        with suppress(OSError, ValueError, IndexError):
            name = int(home_lock(home).read_text().split()[0])
            for child in children:
                if child.pid == name and not child.poll():
                    return child
        time.sleep(0.002)
    return None


def _wait(children: list[Child]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while [child for child in children if not child.poll()]:
        if time.monotonic() > until:
            for child in children:
                child.send(signal.SIGKILL)
        select.select([], [], [], 0.002)


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(race(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
