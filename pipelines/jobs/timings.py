"""How long each step of a run took. The stages of the run and its progress say which step is at work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.core.progress import Progress
from pipelines.core.termination import interrupts_restored

BETWEEN = "finding and checking what is there"  # inside a stage, where no step is being told of


@dataclass(frozen=True)
class StepTime:
    """The time that one step of one stage took, in one piece or in many."""

    stage: str
    step: str
    after_seconds: float  # from the beginning of the run to that of the step
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, to a millisecond."""
        return {
            "stage": self.stage,
            "step": self.step,
            "after_seconds": round(self.after_seconds, 3),
            "seconds": round(self.seconds, 3),
        }


class Durations:
    """A stopwatch that wraps the `stage` and the `progress` of a run."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self._stage: str | None = None
        self._step = BETWEEN
        self._since = self._began
        self._took: dict[tuple[str, str], tuple[float, float]] = {}  # (after, seconds), in the order of beginning

    def timed_stage(self, stage: Callable[..., Any]) -> Callable[..., Any]:
        """Return `stage`, timed: also each time that it is tried again."""

        def timed(name: str, function: Callable[[], Any]) -> Any:
            def within() -> Any:
                self._turn(name, BETWEEN)
                try:
                    with interrupts_restored():
                        return function()
                finally:
                    self._turn(None, BETWEEN)

            return stage(name, within)

        return timed

    def timed(self, progress: Progress) -> Progress:
        """Return `progress`, timed: it also tells when a step begins and when all of it is done."""

        def tell(step: str, done: int, total: int, unit: str = "") -> None:
            if self._stage is not None:
                self._turn(self._stage, BETWEEN if done >= total else _kind_of(step))
            progress(step, done, total, unit)

        return tell

    def so_far(self) -> list[StepTime]:
        """Every step, in the order in which they began."""
        self._turn(self._stage, self._step)
        return [StepTime(*key, after, seconds) for key, (after, seconds) in self._took.items()]

    def seconds(self) -> float:
        """Since the beginning of the run."""
        return self._clock() - self._began

    def _turn(self, stage: str | None, step: str) -> None:
        """Begin this step, and end the one before."""
        now = self._clock()
        if self._stage is not None:
            key = self._stage, self._step
            after, seconds = self._took.get(key, (self._since - self._began, 0.0))
            self._took[key] = after, seconds + now - self._since
        self._stage, self._step, self._since = stage, step, now


def _kind_of(step: str) -> str:
    """A step without the name of the file that it is at: `read pledges/1.csv` is `read pledges`."""
    return step.partition("/")[0] if step.startswith("read ") else step
