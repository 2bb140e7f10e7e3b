"""A process that gives commands in children of its own, which die or fail at the operation they are told to.

Reads one JSON object a line and answers with one (children.py is the other end):

    {"home": …, "arguments": ["run", …]}      the command line, as `mostwatched --home … run …`
    "at": k, "then": "die"                    the child kills itself just before its k-th operation on the home,
    "seconds": s                              or so many seconds after that, wherever it is then
    "at": k, "then": "ENOSPC", "stays": true  the operation fails with that error; and every later one that can
    "reads": true                             opening and listing what is read are operations too, not only changes
    "limits": {"nofile": n, "fsize": n}       limits of the operating system, which native code meets as well
    "record": folder                          write down every operation, and what was fsynced (recording.py)

    {"died": true} or {"exit": code, "out": …, "err": …, "operations": [[seconds, what, path], …]}

Children are forked, so that a death costs a few hundredths of a second and not an interpreter's start. Nothing in
here has run a query or parsed a file before it forks: libraries that start threads have not started them yet.

Nothing is really fsynced: what a process wrote outlives its death, and what is lost with the power is worked out from
the record (power.py).
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import pipelines.core.progress  # noqa: F401  imported here once, and not in every child
from faults.recording import Recorder
from pipelines import cli

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink", "os.chmod"}
READS = {"os.scandir", "os.listdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MAKING = {"create", "write", "fsync", "os.rename", "os.link", "os.mkdir"}  # what a full disk refuses
OPENING = {"create", "read", *READS}  # what a process without a free descriptor is refused


class Watch:
    """Sees every operation on the home before it happens, and does at one of them what it was told to."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.home = str(task["home"])
        self.at, self.then = task.get("at"), task.get("then", "die")
        self.seconds, self.stays, self.reads = task.get("seconds", 0), task.get("stays"), task.get("reads")
        self.recorder = Recorder(self.home, Path(task["record"])) if "record" in task else None
        self.operations: list[tuple[float, str, str]] = []
        self.started = time.monotonic()
        self.failing = self.is_mine = False
        self.write_bytes = Path.write_bytes
        os.fsync = self.fsynced  # type: ignore[assignment]
        written = self.written  # a bound method would be handed no path

        def write_bytes(path: Path, data: bytes) -> int:
            return written(path, data)

        Path.write_bytes = write_bytes  # type: ignore[method-assign, assignment]
        sys.addaudithook(self.audited)

    def audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_mine:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str):
                self.happens("create" if flags & WRITING else "read", path)
        elif event in CHANGES:
            if event in ("os.rename", "os.link"):
                source, target, source_folder, target_folder = arguments
                self.happens(event, self.full(target, target_folder), self.full(source, source_folder))
            else:
                folder = arguments[-1] if event != "os.truncate" else -1
                self.happens(event, self.full(arguments[0], folder))
        elif event in READS and isinstance(arguments[0], str):
            self.happens(event, arguments[0])

    def full(self, path: Any, folder: int) -> str:
        """The path of an argument that may be relative to an open folder, or be an open file."""
        if isinstance(path, int):
            return str(Path(f"/proc/self/fd/{path}").readlink())
        path = os.fsdecode(path)
        return path if folder == -1 else str(Path(f"/proc/self/fd/{folder}").readlink() / path)

    def fsynced(self, descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        self.happens("fsync", path)

    def written(self, path: Path, content: bytes) -> int:
        """Writing fails in its middle."""
        try:
            self.happens("write", str(path))
        except OSError:
            self.is_mine = True
            self.write_bytes(path, content[: len(content) // 2])
            self.is_mine = False
            raise
        return self.write_bytes(path, content)

    def happens(self, what: str, path: str, source: str | None = None) -> None:
        """An operation is about to happen."""
        if not path.startswith(self.home) or (what in ("read", *READS) and not self.reads):
            return
        self.operations.append((round(time.monotonic() - self.started, 6), what, path.removeprefix(self.home + "/")))
        is_it = len(self.operations) == self.at
        if is_it and self.then == "die":
            if not self.seconds:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)  # nobody handles it: death without a word
        self.failing = self.failing or (is_it and self.then != "die")
        fails = self.failing and self.can_fail(what)
        if fails and not self.stays:
            self.failing = False
        if self.recorder is not None:
            self.is_mine = True
            self.recorder.happens(what, path, source, fails)
            self.is_mine = False
        if fails:
            number = getattr(errno, self.then)
            raise OSError(number, os.strerror(number), path)

    def can_fail(self, what: str) -> bool:
        """Whether such an operation can fail with such an error; else the next one that can fails."""
        if self.then in ("ENOSPC", "EDQUOT"):
            return what in MAKING
        if self.then == "EMFILE":
            return what in OPENING
        return what != "write" if self.then == "EACCES" else True


def limit(limits: dict[str, int]) -> None:
    """Set limits of this process. Python ignores the signal that comes with a file that is too large."""
    for name, value in limits.items():
        which = {"nofile": resource.RLIMIT_NOFILE, "fsize": resource.RLIMIT_FSIZE}[name]
        resource.setrlimit(which, (value, resource.getrlimit(which)[1]))


def command(home: str, arguments: list[str]) -> int:
    """Give a command of the command line in this process; its exit code."""
    sys.argv = ["mostwatched", "--home", home, *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()  # as the interpreter does when nobody catches it
        return 1
    return 0


def in_a_child(task: dict[str, Any]) -> dict[str, Any]:
    """What became of one task."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                watch = Watch(task)
                limit(task.get("limits", {}))
                status = command(task["home"], task["arguments"])
                sys.stdout.flush()
                sys.stderr.flush()
                limit({"fsize": resource.RLIM_INFINITY})
                watch.is_mine = True
                told.write(json.dumps(watch.operations))
                told.flush()
            except BaseException:
                status = 70
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)  # never back into the loop of the parent
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended in (-signal.SIGKILL, -signal.SIGALRM):
            return {"died": True}
        for file in (out, err, told):
            file.seek(0)
        answer = {"died": False, "exit": ended, "out": out.read(), "err": err.read()}
        return answer | {"operations": json.loads(told.read() or "[]")}


def main() -> None:
    """Answer until there is nothing more to read."""
    for line in sys.stdin:
        print(json.dumps(in_a_child(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
