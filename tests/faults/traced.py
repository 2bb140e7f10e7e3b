"""Kill and refuse at the true system calls of the command, those of native code included, where strace is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from faults.campaign import Effort, Figure, not_tried
from faults.children import Answer, Case, Scene, environment
from faults.refused import problem_said, problem_when_done

WRITES = "write,pwrite64,writev,pwritev,pwritev2,fallocate,ftruncate,truncate,fsync,fdatasync"
NAMES = "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
CHANGES = f"{WRITES},{NAMES}"
NOT_FOUND = "strace is not here, or may not trace"


def attack(effort: Effort, played: Scene) -> Iterator[Figure]:
    """Kill at a sample of the system calls that change the home."""
    what = "killed at a system call"
    if not can_trace():
        yield not_tried(what, NOT_FOUND)
        return
    case = played.cases["run"]
    figure = Figure(what)
    places = places_of(effort, case, CHANGES)
    draw = effort.random(what)
    for call, number in sorted(draw.sample(places, min(len(places), effort.times(3, 400)))):
        home = case.copy(effort.scratch / "traced")
        answer = traced(effort, case, home, call, f"signal=KILL:when={number}")
        problem = None if answer.died else f"it did not die but ended with {answer.exit}"
        problem = problem or case.problem_between(home) or case.problem_after(home, played.children)
        figure.check(problem is None, f"{case.name}, at {call} number {number}: {problem}")
        shutil.rmtree(home)
    figure.note = f"of {len(places):,} that change the home of a {case.name}"
    yield figure


def errors(effort: Effort, played: Scene) -> Iterator[Figure]:
    """Let a sample of the system calls fail, closing a file among them."""
    if not can_trace():
        yield not_tried("a system call refused", NOT_FOUND)
        return
    case = played.cases["run"]
    everywhere = places_of(effort, case, f"{CHANGES},close")
    for calls, error in ((WRITES, "ENOSPC"), (CHANGES, "EIO"), ("close", "EIO")):
        figure = Figure(f"{error} from {'close' if calls == 'close' else 'a system call'}")
        places = [(call, number) for call, number in everywhere if call in calls.split(",")]
        draw = effort.random(figure.what)
        refused = 0
        for call, number in sorted(draw.sample(places, min(len(places), effort.times(2, 150)))):
            home = case.copy(effort.scratch / "traced")
            answer = traced(effort, case, home, call, f"error={error}:when={number}")
            problem = (
                problem_said(answer, home, error)
                or problem_when_done(answer, home, case)
                or case.problem_between(home)
                or case.problem_after(home, played.children)
            )
            refused += answer.exit != 0
            figure.check(problem is None, f"{case.name}, {call} number {number}: {problem}")
            shutil.rmtree(home)
        figure.note = f"of {len(places):,} on the home; {refused:,} ended the command"
        yield figure


def can_trace() -> bool:
    """Whether strace is here and may do what it is for."""
    found = shutil.which("strace")
    return found is not None and not subprocess.run([found, "-f", "true"], capture_output=True, check=False).returncode


def places_of(effort: Effort, case: Case, calls: str) -> list[tuple[str, int]]:
    """Such calls on the home that an undisturbed run makes: each a name, and the how manieth of that name it is.

    With one thread for the engine they are the main thread's, and strace counts a thread's calls name by name.
    """
    home = case.copy(effort.scratch / "traced")
    log = effort.scratch / "strace"
    traced(effort, case, home, calls, None, log)
    shutil.rmtree(home)
    started = re.compile(r"(\d+) +(\w+)\(")  # and not the end of a call that another thread interrupted
    lines = [(found, line) for line in log.read_text(errors="replace").splitlines() if (found := started.match(line))]
    main = lines[0][0][1]
    so_far: Counter[str] = Counter()
    places = []
    for found, line in lines:
        if found[1] == main:
            so_far[found[2]] += 1
            if str(home) in line:
                places.append((found[2], so_far[found[2]]))
    return places


def traced(effort: Effort, case: Case, home: Path, calls: str, inject: str | None, log: Path | None = None) -> Answer:
    """Give the command in a process of its own, under strace."""
    how = ["-f", "-qq", "-y", "-s", "0", "-o", str(log or effort.scratch / "strace-injected"), "-e", f"trace={calls}"]
    how += ["-e", f"inject={calls}:{inject}"] if inject else []
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), *case.arguments]
    ended = subprocess.run(
        ["strace", *how, "--", *command], env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    if ended.returncode < 0 or ended.returncode > 128:
        return Answer(died=True)
    return Answer(died=False, exit=ended.returncode, out=ended.stdout, err=ended.stderr)
