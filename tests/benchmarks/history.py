"""The ranking of the last 30 days on each of many past days: a backfill, against peers who scan for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta

from tests.benchmarks.answers import require_same
from tests.benchmarks.contenders import Contender, Runs, fastest, side_by_side
from tests.benchmarks.night import WINDOW_DAYS, answers_of, peer, window
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed
from tests.benchmarks.report import Goal, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, product

_GOAL = Goal(at_least=15)
_RUNS = 1  # each is as much as many nights


def measure(options: Options, workload: Workload) -> Section:
    """Every as_of once, in a lake that is built and in one that holds raw alone; the same windows for the peers."""
    last = AS_OF - timedelta(days=1)  # the as_of that the home was prepared with
    count = min(options.history_asofs, workload.days)
    as_ofs = [last - timedelta(days=n) for n in reversed(range(count))]
    answers: dict[date, list[tuple[str, int]]] = {}
    ours = {
        "mostwatched": _backfill(workload, "mostwatched", as_ofs, answers, ("snapshots",)),
        "mostwatched, cold": _backfill(
            workload, "mostwatched, cold", as_ofs, answers, ("snapshots", *_derived(workload))
        ),
    }
    peers = [peer(options, workload, name, [window(as_of) for as_of in as_ofs]) for name in options.peers]
    results = side_by_side([*ours.values(), *peers], _RUNS)
    warm, cold, *theirs = results.values()
    for runs in (warm, cold):
        if runs.failure is not None:
            raise Failed(f"The backfill failed: {runs.failure}")
    _compare(as_ofs, answers, theirs)
    best = fastest(theirs)
    is_by = f"x as fast as {best.name}" if best else ""
    what = f"{count} as_of dates"
    filled = sum((as_of - max(window(as_of)[0], workload.first_day)).days for as_of in as_ofs) / count
    return Section(
        "history",
        "History",
        f"The {WINDOW_DAYS}-day ranking as of each of {count} days, oldest first (on average {filled:.0f} of the "
        f"{WINDOW_DAYS} days hold sessions). The product publishes a whole snapshot for each, in one process; each "
        "peer answers the top 100 of each, in one process. Once from a lake that the nights before have "
        "built, once (cold) from raw alone. Answers agree.",
        [
            timed(what, warm, ratio=best.wall / warm.wall if best else None, ratio_is=is_by, goal=_GOAL),
            timed(what, cold, ratio=best.wall / cold.wall if best else None, ratio_is=is_by),
            *(timed(what, runs) for runs in theirs),
        ],
    )


def _derived(workload: Workload) -> list[str]:
    """The folders of the lake that can be made from raw."""
    return [path.name for path in (workload.base / "lake").iterdir() if path.is_dir() and path.name != "raw"]


def _backfill(
    workload: Workload,
    name: str,
    as_ofs: Sequence[date],
    answers: dict[date, list[tuple[str, int]]],
    without: tuple[str, ...],
) -> Contender:
    """Publish a snapshot for every as_of, in a copy of the home; its answers are read before it is removed."""

    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        with workload.copy(workload.base, without=without) as home:
            landing = home / "nothing-lands"
            landing.mkdir()
            yield product(home, "backfill", "--json", "--from", as_ofs[0], "--to", as_ofs[-1], "--landing", landing)
            for as_of in _sampled(as_ofs):
                (path,) = (home / "snapshots").glob(f"{as_of}-*")
                answers[as_of] = workload.top(home, "--snapshot", path.name)

    return Contender(name, ready, workload.env)


def _sampled(as_ofs: Sequence[date]) -> list[date]:
    return sorted({as_ofs[0], as_ofs[len(as_ofs) // 2], as_ofs[-1]})


def _compare(as_ofs: Sequence[date], ours: dict[date, list[tuple[str, int]]], theirs: Sequence[Runs]) -> None:
    for as_of, found in ours.items():
        for runs in theirs:
            if runs.failure is None:
                theirs_then = answers_of(runs.last)[as_ofs.index(as_of)]
                require_same(f"as of {as_of}", "mostwatched", found, runs.name, theirs_then)
