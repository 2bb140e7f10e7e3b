"""The night against its peers.

The product starts a process, ingests the new lines, and publishes a snapshot; each peer starts a process and answers
one question of it, over Parquet that somebody else has made for it already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from tests.benchmarks.answers import Answer, answer, require_same
from tests.benchmarks.contenders import Contender, Runs, command, fastest, side_by_side
from tests.benchmarks.options import Options
from tests.benchmarks.peers import TOP
from tests.benchmarks.process import Failed, Measured, python
from tests.benchmarks.report import Goal, Row, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, night

WINDOW_DAYS = 30
_GOAL = Goal(at_most=0.5)
_MEMORY = Goal(at_most=2)  # GB

Range = tuple[date, date]


def window(as_of: date = AS_OF, days: int = WINDOW_DAYS) -> Range:
    """The `days` days before an as_of."""
    return as_of - timedelta(days=days), as_of


def measure(options: Options, workload: Workload) -> Section:
    """One night of the product; the same question, for each of the peers."""
    what = f"night of {workload.sessions:,}"
    contenders = [product_night(workload), *(peer(options, workload, name, [window()]) for name in options.peers)]
    results = side_by_side(contenders, options.runs)
    return Section(
        "night",
        "The night",
        f"The product: from {workload.sessions:,} new NDJSON lines, after {workload.days} days of as many, to a "
        "published and verified snapshot (rankings of 1, 7 and 30 days, the cube, funding, the warehouse). The peers: "
        f"the {TOP} creators with the most distinct viewers of the 30 days, from Parquet that is there already. "
        "All answers agree.",
        night_rows(what, workload, results),
    )


def night_rows(what: str, workload: Workload, results: dict[str, Runs], *, is_judged: bool = True) -> list[Row]:
    """The rows of a night and the peers beside it, their answers compared; with goals if it is to be judged."""
    ours, *theirs = results.values()
    if ours.failure is not None:
        raise Failed(f"The night failed: {ours.failure}")
    compare(what, workload.top(workload.after), theirs)
    best = fastest(theirs)
    rows = [
        timed(
            what,
            ours,
            ratio=ours.wall / best.wall if best else None,
            ratio_is=f"x the time of {best.name}" if best else "",
            goal=_GOAL if is_judged else None,
        ),
        *(
            timed(what, runs, ratio=runs.wall / ours.wall, ratio_is="x the night's")
            for runs in theirs
            if not runs.failure
        ),
        *(timed(what, runs) for runs in theirs if runs.failure),
    ]
    return [
        *rows,
        Row(f"{what}, memory", ours.name, (ours.peak_bytes / 1e9,), unit="GB", goal=_MEMORY if is_judged else None),
    ]


def product_night(workload: Workload) -> Contender:
    """The nightly job in a fresh copy of the home as it was the evening before."""

    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        with workload.copy(workload.base) as home:
            yield night(home, AS_OF, workload.night)

    return Contender("mostwatched", ready, workload.env)


def peer(
    options: Options, workload: Workload, name: str, ranges: Sequence[Range], parquet: Path | None = None
) -> Contender:
    """A peer, asked one range or several in one process."""
    argv = python(
        "tests.benchmarks.peers",
        name,
        *("--parquet", parquet or workload.parquet),
        *("--memory", options.peer_memory_bytes),
        *("--spill", workload.folder / "spill"),
        *(part for first, end in ranges for part in ("--range", f"{first}:{end}")),
        interpreter=options.peer_python,
    )
    memory = options.peer_memory_bytes * 5 // 4  # a limit that is kept leaves room; without one the machine would end
    return Contender(name, command(argv), timeout=options.peer_timeout * len(ranges), memory_bytes=memory)


def answers_of(run: Measured) -> list[Answer]:
    """What a peer answered, one answer a range."""
    return [answer(rows) for rows in json.loads(run.stdout)["answers"]]


def seconds_of(run: Measured) -> list[float]:
    """How long a peer took for each range, without the start of its process."""
    return [float(seconds) for seconds in json.loads(run.stdout)["seconds"]]


def compare(what: str, ours: Answer, peers: Sequence[Runs], place: int = 0) -> None:
    """Compare the product's answer with those of every peer that has one, to their `place`-th question."""
    for runs in peers:
        if runs.failure is None:
            require_same(what, "mostwatched", ours, runs.name, answers_of(runs.last)[place])
