"""How the night grows with the platform: nights of several sizes, against the fastest peers."""

from __future__ import annotations

from tests.benchmarks import curves
from tests.benchmarks.contenders import side_by_side
from tests.benchmarks.night import night_rows, peer, product_night, window
from tests.benchmarks.options import Options
from tests.benchmarks.report import Goal, Row, Section
from tests.benchmarks.workload import Workload, prepare

_FLAT = Goal(at_most=1.05)  # times what a session cost at the size before; the rest is noise


def measure(options: Options, workload: Workload) -> Section:
    """Every size in turn, smallest first."""
    rows: list[Row] = []
    points: list[dict[str, object]] = []
    before: float | None = None
    for sessions in options.growth:
        is_prepared = sessions == workload.sessions
        sized = workload if is_prepared else prepare(options, workload.folder.parent, sessions)
        peers = (peer(options, sized, name, [window()]) for name in options.growth_peers)
        results = side_by_side([product_night(sized), *peers], options.runs)
        rows += night_rows(f"night of {sessions:,}", sized, results, is_judged=False)
        seconds = [wall / sessions * 1e6 for wall in results["mostwatched"].walls]
        cost = Row(f"night of {sessions:,}, a million sessions", "mostwatched", seconds)
        if before is not None:
            ratio = cost.value / before
            cost = Row(cost.what, cost.contender, seconds, ratio=ratio, ratio_is="x the size before", goal=_FLAT)
        before = cost.value
        rows.append(cost)
        walls = {name: runs.wall for name, runs in results.items() if runs.failure is None}
        points.append({"sessions": sessions, "seconds": walls})
        if not is_prepared:
            sized.discard(options)
    return Section(
        "growth",
        "Growth",
        f"The night at several sizes, each after {options.days} days of as many sessions. What a session costs should "
        "not rise with their number. Then curves: a command in homes of one, four and sixteen times as many "
        "files, follows, pledges, creators and sessions, with the exponent of its CPU (curves.py).",
        [*rows, *curves.rows_of(options, workload)],
        {"points": points},
    )
