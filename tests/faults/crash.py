"""Kill a run, a first run, a repair, a prune and a rollback: readers see the old state or the new, never between, and
the same command given once more ends where an undisturbed one ends, file by file.

A child kills itself before every operation that changes its home (dying.py), and at moments drawn evenly from the
time that an undisturbed run takes, run after run on one home. Python's own operations are counted by an audit hook;
what native code does between them is met by the random moments, and call by call where strace is found (traced.py).
"""

from __future__ import annotations

import shutil
import time
from bisect import bisect_right
from collections.abc import Iterator
from random import Random

from faults import traced
from faults.campaign import Effort, Figure
from faults.children import Case, Scene, scene

SAMPLES = {"run": 8, "first run": 3, "repair": 4, "prune": 5, "rollback": 10}  # of the quick tier
KILLS_OF_A_HOME = 6  # at most, one after the other, before it is put right


def attack(effort: Effort) -> Iterator[Figure]:
    """Kill before every change (a sample of them), and at random moments."""
    with scene(effort.scratch / "scene") as played:
        for case in played.cases.values():
            yield before_every_change(effort, played, case)
        yield at_random_moments(effort, played)
        yield from traced.attack(effort, played)


def before_every_change(effort: Effort, played: Scene, case: Case) -> Figure:
    """Kill before each change of the home, or before one of each stretch of them."""
    count = len(case.operations)
    moments = list(range(1, count + 1)) if effort.full else sample(count, SAMPLES[case.name], effort.random(case.name))
    figure = Figure(f"killed before a change of a {case.name}")
    started = time.monotonic()
    for number in moments:
        home = case.copy(effort.scratch / "home")
        died = played.children.do(home, case.arguments, at=number).died
        problem = None if died else "it did not die"
        problem = problem or case.problem_between(home) or case.problem_after(home, played.children)
        figure.check(problem is None, f"before change {number} of {count}: {problem}")
        shutil.rmtree(home)
    figure.note = f"of {count} changes; {(time.monotonic() - started) / len(moments):.2f} s each"
    return figure


def sample(count: int, size: int, draw: Random) -> list[int]:
    """Numbers from 1 to `count`: one of each of `size` stretches of equal length, and the last three."""
    size = min(size, count)
    drawn = {draw.randint(count * n // size + 1, count * (n + 1) // size) for n in range(size)}
    return sorted(drawn | set(range(max(1, count - 2), count + 1)))


def at_random_moments(effort: Effort, played: Scene) -> Figure:
    """Kill at moments drawn evenly from the time a run takes, several times a home, then give the command once more."""
    draw = effort.random("moments")
    wanted = effort.times(40, 10_000)
    figure = Figure("killed at a random moment")
    homes = 0
    while figure.tried < wanted:
        case = played.cases[draw.choices(["run", "first run", "repair", "prune"], [6, 2, 1, 1])[0]]
        home = case.copy(effort.scratch / "home")
        homes += 1
        done, killed = 0.0, []
        for _ in range(min(draw.randint(1, KILLS_OF_A_HOME), wanted - figure.tried)):
            # What an earlier one finished is not done again, so the next has so much less time to live.
            at, seconds, done = moment(case, draw, done)
            if not played.children.do(home, case.arguments, at=at, seconds=seconds).died:
                break
            killed.append(f"{seconds * 1000:.2f} ms after change {at}")
            problem = case.problem_between(home)
            figure.check(problem is None, f"{case.name} killed {', then '.join(killed)}: {problem}")
        if problem := case.problem_after(home, played.children):
            figure.wrong.append(f"{case.name} killed {', then '.join(killed)}: {problem}")
        shutil.rmtree(home)
    figure.note = f"in {homes:,} homes, each put right by one more run"
    return figure


def moment(case: Case, draw: Random, done: float) -> tuple[int, float, float]:
    """(change, seconds after it, the moment in all): drawn evenly, when so many seconds' work is done already.

    Told by the change before it and not by the clock alone, it is the same moment when the attack is made again.
    """
    times = [when for when, *_ in case.operations]
    at = draw.uniform(times[0], times[-1] - done)
    number = max(1, bisect_right(times, at))
    return number, max(at - times[number - 1], 1e-6), min(done + at, times[-1] * 0.9)
