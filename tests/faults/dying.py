"""A process that runs commands in children which die by SIGKILL when they are told to.

Reads one JSON object a line: {"do": "run" | "prune" | "rollback", "home": …, "landing": …, "as_of": …, "to": …,
"die_at": k, "die_after": seconds}. The child kills itself just before its k-th change of the home (opening a file to
write, fsync, rename, link, unlink, mkdir, rmdir), or dies after some seconds, wherever it is. The answer is
{"died": true}, or {"died": false, "changes": how many there were, "result": …}.

Children are forked, so that a death costs a few hundredths of a second and not an interpreter's start. Nothing in
here has run a query or parsed a file before it forks: libraries that start threads have not started them yet.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from datetime import date
from pathlib import Path
from typing import Any

import pipelines.engines.duckdb  # noqa: F401  imported here once, and not in every child
from pipelines import nightly, snapshots, store
from pipelines.settings import Settings

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Deaths:
    """Counts changes of the home, and dies before the one it was told to."""

    def __init__(self, home: str, die_at: int | None) -> None:
        self.home, self.die_at, self.changes = home, die_at, 0
        self.fsync = os.fsync
        os.fsync = self.fsynced
        sys.addaudithook(self.audited)

    def audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING and str(path).startswith(self.home):
                self.changed()
        elif event in CHANGES:
            self.changed()

    def fsynced(self, descriptor: int) -> None:
        self.changed()
        self.fsync(descriptor)

    def changed(self) -> None:
        self.changes += 1
        if self.changes == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def settings(home: str) -> Settings:
    return Settings(home=Path(home), max_window_days=30, threads=1, memory_limit="500MB", keep_snapshots=1)


def do(task: dict[str, Any]) -> Any:
    """Carry out a command and return what the tests want to know of it."""
    here = settings(task["home"])
    if task["do"] == "run":
        report = nightly.run(
            here,
            date.fromisoformat(task["as_of"]),
            [Path(task["landing"])],
            accept_rejects=True,
            allow_incomplete=True,
        )
        return {"snapshot_id": report.snapshot_id, "built": report.built}
    if task["do"] == "prune":
        return vars(nightly.prune(here))
    with store.lock(here.home / ".lock"):
        return snapshots.roll_back(here.snapshots, task["to"]).id


def in_a_child(task: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            deaths = Deaths(task["home"], task.get("die_at"))
            signal.setitimer(signal.ITIMER_REAL, task.get("die_after", 0))  # nobody handles it: death without a word
            result = do(task)
            os.write(writing, json.dumps({"changes": deaths.changes, "result": result}).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)  # never back into the loop of the parent
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        content = answer.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended in (-signal.SIGKILL, -signal.SIGALRM):
        return {"died": True}
    if ended != 0:
        return {"failed": ended}
    return {"died": False, **json.loads(content)}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(in_a_child(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
