"""Progress of long work, its rate and its remaining time: a bar on a terminal, lines elsewhere.

Always on stderr. A line is plain words, or a JSON object where logs are JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from pipelines.core import logs
from pipelines.core.text import printable

if TYPE_CHECKING:
    from rich.progress import Task


BYTES = "bytes"


class Progress(Protocol):
    """Called with the step at work, how many of its parts are done, of how many, and the unit of those parts."""

    def __call__(self, step: str, done: int, total: int, unit: str = "") -> None: ...


def no_progress(step: str, done: int, total: int, unit: str = "") -> None:
    """Ignore progress."""


_SECONDS_BETWEEN_LINES = 10.0  # a log file wants signs of life, not an animation
_SECONDS_TO_MEASURE = 0.5  # of one kind of work, before anything is said of its rate


class Pace:
    """The rate of one kind of work, and the remaining time at that rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kind: tuple[str, int, str] | None = None
        self._began, self._from, self._done, self._total = 0.0, 0, 0, 0

    def update(self, step: str, done: int, total: int, unit: str) -> None:
        """Note how far the work has come. Another kind of work, or one that begins anew, is measured by itself."""
        kind = step.partition(" ")[0], total, unit
        if kind != self._kind or done < self._done:
            self._kind, self._began, self._from = kind, self._clock(), done
        self._done, self._total = done, total

    @property
    def per_second(self) -> float | None:
        """Parts a second since it began; None before that can be told."""
        seconds = self._clock() - self._began
        parts = self._done - self._from
        return parts / seconds if parts > 0 and seconds >= _SECONDS_TO_MEASURE else None

    @property
    def remaining_seconds(self) -> float | None:
        """Estimated seconds until the work is done; None before that can be told."""
        rate = self.per_second
        return (self._total - self._done) / rate if rate else None

    @property
    def text(self) -> str:
        """Rate and remaining time, for people; nothing before they can be told."""
        rate, remaining = self.per_second, self.remaining_seconds
        if rate is None or remaining is None or self._kind is None:
            return ""
        return f"{_rate(rate, self._kind[2])}, {_clock_time(remaining)} left"


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Yield what to report progress to."""
    if sys.stderr.isatty() and not logs.are_json():
        with _bars() as progress:
            yield progress
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    pace = Pace()

    class Counted(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields["counted"])

    class Paced(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(pace.text)

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), Counted(), Paced())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1, counted="")

        def progress(step: str, done: int, total: int, unit: str = "") -> None:
            pace.update(step, done, total, unit)
            counted = _counted(done, total, unit)
            bars.update(task, description=printable(step), completed=done, total=total, counted=counted)

        yield progress


def _lines() -> Progress:
    shown_at, shown_step = time.monotonic(), ""
    pace = Pace()

    def progress(step: str, done: int, total: int, unit: str = "") -> None:
        nonlocal shown_at, shown_step
        pace.update(step, done, total, unit)
        waited = time.monotonic() - shown_at
        if waited >= _SECONDS_BETWEEN_LINES or (waited >= 1 and step != shown_step):
            if logs.are_json():
                rate, remaining = pace.per_second, pace.remaining_seconds
                measured = {
                    "per_second": rate and round(rate, 3),
                    "remaining_seconds": None if remaining is None else round(remaining, 1),
                }
                counts = {"step": step, "done": done, "total": total, "unit": unit or "parts"}
                logs.run_log.info("progress", extra=counts | measured)
            else:
                words = f", {pace.text}" if pace.text else ""
                line = f"{printable(step)}: {_counted(done, total, unit)}{words}"
                print(line, file=sys.stderr, flush=True)
            shown_at, shown_step = time.monotonic(), step

    return progress


def _counted(done: int, total: int, unit: str) -> str:
    if unit == BYTES:
        return f"{_bytes(done)} of {_bytes(total)}"
    return f"{done:,} of {total:,}" + (f" {unit}" if unit else "")


def _rate(per_second: float, unit: str) -> str:
    if unit == BYTES:
        return f"{_bytes(per_second)}/s"
    return f"{per_second:,.1f}/s" if per_second < 10 else f"{per_second:,.0f}/s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
