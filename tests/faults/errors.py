"""Let the operating system refuse: no space, no descriptor, no permission, a failing disk. One sentence says what and
where and what to do, readers still have the last snapshot whole, and the same command given once more ends where an
undisturbed one ends, file by file.

An operation on the home fails, a sample of them in the quick tier and each in the full one, once or from then on. What
native code does is refused by true limits: of open files, of the size of files and, where a file system can be
mounted in a namespace of one's own, of the disk itself; by strace, where it is found, at any system call.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from faults import full_disk, traced
from faults.campaign import Effort, Figure
from faults.children import Case, Scene, scene
from faults.refused import problem_said, problem_when_done

ERRORS = ("ENOSPC", "EIO", "EACCES", "EMFILE")
SAMPLES = {"run": 4, "first run": 1, "repair": 3, "prune": 2, "rollback": 2}  # of each error, in the quick tier


def attack(effort: Effort) -> Iterator[Figure]:
    """Let operations fail, a sample of them; then limit what native code may do."""
    with scene(effort.scratch / "scene", reads=True) as played:
        for error in ERRORS:
            yield at_every_operation(effort, played, error)
        yield from limited(effort, played)
        yield from full_disk.attack(effort, played)
        yield from traced.errors(effort, played)


def at_every_operation(effort: Effort, played: Scene, error: str) -> Figure:
    """One error at each operation, or at one of each stretch of them."""
    figure = Figure(f"{error} at an operation")
    refused, started = 0, time.monotonic()
    for case in played.cases.values():
        count = len(case.operations)
        draw = effort.random(f"{error} {case.name}")
        size = SAMPLES[case.name]
        sampled = [draw.randint(count * n // size + 1, count * (n + 1) // size) for n in range(size)]
        for number in range(1, count + 1) if effort.full else sampled:
            for stays in (False, True) if effort.full else (draw.random() < 0.5,):
                how = {"at": number, "then": error, "stays": stays, "reads": True}
                where = f"{case.name}, operation {number} of {count}{', and on' if stays else ''}"
                refused += refuse(figure, effort.scratch / "home", played, case, where, error, **how)
    figure.note = f"{refused:,} ended the command; {(time.monotonic() - started) / max(figure.tried, 1):.2f} s each"
    return figure


def refuse(figure: Figure, home: Path, played: Scene, case: Case, where: str, error: str, **how: Any) -> bool:
    """Give a command to which the operating system refuses something; whether that ended it."""
    case.copy(home)
    if error == "EIO":  # what cannot be read is damaged: `prune` takes it away, and the next run builds it again
        case = replace(case, builds_again=True)
    # What was half-written, or replaced, and could not be removed stays until the next run.
    done = replace(case, sweeps=False)
    answer = played.children.do(home, case.arguments, **how)
    problem = (
        problem_said(answer, home, error)
        or problem_when_done(answer, home, done)
        or case.problem_between(home)
        or case.problem_after(home, played.children)
    )
    figure.check(problem is None, f"{where}: {problem}")
    shutil.rmtree(home)
    return answer.exit != 0


def limited(effort: Effort, played: Scene) -> Iterator[Figure]:
    """True limits, which native code meets as well: of open files, and of the size of a file."""
    for what, limit, error, spread in (
        ("a limit of open files", "nofile", "EMFILE", range(16, 40)),
        ("a limit of a file's size", "fsize", "EFBIG", range(0, 400_000, 250)),
    ):
        figure = Figure(what)
        draw = effort.random(limit)
        refused = 0
        for _ in range(effort.times(7, 1_000)):
            case = played.cases[draw.choice(["run", "run", "first run", "repair", "prune"])]
            value = draw.choice(spread)
            where = f"{case.name} with at most {value} of {limit}"
            refused += refuse(figure, effort.scratch / "home", played, case, where, error, limits={limit: value})
        figure.note = f"{refused:,} ended the command"
        yield figure
