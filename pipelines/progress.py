"""How long work shows that it goes on: a bar on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.ingest import Progress
from pipelines.printing import printable

_SECONDS_BETWEEN_LINES = 10.0  # a log file wants signs of life, not an animation


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield what to report progress to."""
    if quiet:
        yield lambda _step, _done, _total: None
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield progress
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1)

        def progress(step: str, done: int, total: int) -> None:
            bars.update(task, description=printable(step), completed=done, total=total)

        yield progress


def _lines() -> Progress:
    shown_at, shown_step = time.monotonic(), ""

    def progress(step: str, done: int, total: int) -> None:
        nonlocal shown_at, shown_step
        waited = time.monotonic() - shown_at
        if waited >= _SECONDS_BETWEEN_LINES or (waited >= 1 and step != shown_step):
            print(f"{printable(step)}: {done:,} of {total:,}", file=sys.stderr, flush=True)
            shown_at, shown_step = time.monotonic(), step

    return progress
