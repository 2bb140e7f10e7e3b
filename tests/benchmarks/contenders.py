"""Contenders in turn: A B C A B C ..., so that a machine that drifts, drifts for all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median

from tests.benchmarks.process import Measured, run

Ready = Callable[[], AbstractContextManager[Sequence[str]]]


@dataclass(frozen=True)
class Contender:
    """Somebody who answers a question as a process of its own."""

    name: str
    ready: Ready  # makes what one run needs, gives the command, and tidies up behind it; not part of what is measured
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    memory_bytes: int | None = None
    with_children: bool = False  # it costs what all cost that it starts
    is_once: bool = False  # one run says enough, or takes too long to ask for another


def command(argv: Sequence[str]) -> Ready:
    """For a contender that needs nothing made: the same command every time."""
    return lambda: nullcontext(argv)


@dataclass(frozen=True)
class Runs:
    """All runs of one contender."""

    name: str
    runs: tuple[Measured, ...]

    @property
    def failure(self) -> str | None:
        """Why it has no figures, if one of its runs failed."""
        return next((run.failure for run in self.runs if run.failure is not None), None)

    @property
    def walls(self) -> list[float]:
        """Seconds, of every run."""
        return [run.wall for run in self.runs]

    @property
    def wall(self) -> float:
        """The median, in seconds."""
        return median(self.walls)

    @property
    def cpu(self) -> float:
        """The median, in seconds."""
        return median(run.cpu for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """The highest of all runs."""
        return max(run.peak_bytes for run in self.runs)

    @property
    def last(self) -> Measured:
        """The last run: what it printed is its answer."""
        return self.runs[-1]


def side_by_side(contenders: Sequence[Contender], runs: int) -> dict[str, Runs]:
    """Run every contender `runs` times, in turn; one that failed is not asked again. Results by name, in order."""
    results: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    for turn in range(runs):
        for contender in contenders:
            done = results[contender.name]
            if done and (contender.is_once or done[-1].failure is not None):
                continue
            with contender.ready() as argv:
                measured = run(
                    argv,
                    env=contender.env,
                    timeout=contender.timeout,
                    memory_bytes=contender.memory_bytes,
                    with_children=contender.with_children,
                )
            done.append(measured)
            tell(f"  {turn + 1}/{runs} {contender.name}: {measured.failure or f'{measured.wall:.2f} s'}")
    return {name: Runs(name, tuple(done)) for name, done in results.items()}


def fastest(results: Sequence[Runs]) -> Runs | None:
    """The contender with the lowest median among those that have an answer."""
    return min((runs for runs in results if runs.failure is None), key=lambda runs: runs.wall, default=None)


def tell(text: str) -> None:
    """A line of progress, on stderr: stdout is for the report."""
    print(text, file=sys.stderr, flush=True)
