"""Any range of days, asked of a published snapshot, against the peers who answer it from scratch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from statistics import median
from typing import Any

from tests.benchmarks.answers import Answer, DifferentAnswers, answer, require_same
from tests.benchmarks.contenders import Contender, Runs, command, side_by_side
from tests.benchmarks.night import WINDOW_DAYS, answers_of, peer, seconds_of, window
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, Measured, python
from tests.benchmarks.report import Goal, Row, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, product

_SAMPLED_DAYS = (30, 15, 7, 1)  # ranges that the peers are asked, too; each ends with the night's day
_GOAL = Goal(at_least=50)


def measure(options: Options, workload: Workload) -> Section:
    """All ranges of the snapshot; a sample of them, of the peers; and one range by the command line."""
    sampled = [window(days=days) for days in _SAMPLED_DAYS]
    warm_up = sampled[-1]  # the first question of a process pays for what all others use
    (warehouse,) = (workload.after / "snapshots").glob(f"{AS_OF}-*/warehouse.duckdb")
    asked = python("tests.benchmarks.questions", warehouse, AS_OF, WINDOW_DAYS)
    first, end = sampled[1]
    top = product(workload.after, "top", "--json", "--from", first, "--to", end)
    contenders = [
        Contender("mostwatched", command(asked), is_once=True),  # nearly a thousand questions
        Contender("mostwatched top", command(top), workload.env),
        *(peer(options, workload, name, [warm_up, *sampled]) for name in options.peers),
    ]
    results = side_by_side(contenders, options.runs)
    ours, by_command, *theirs = results.values()
    for runs in (ours, by_command):
        if runs.failure is not None:
            raise Failed(f"{runs.name}: {runs.failure}")
    _compare(workload, sampled, ours.last, theirs)
    peers = [runs for runs in theirs if runs.failure is None]
    rows = [*_rows(sampled, ours, peers), *(timed("ranges", runs) for runs in theirs if runs.failure)]
    whole = timed(
        f"`mostwatched top` of {_SAMPLED_DAYS[1]} days, the whole process",
        by_command,
        note="checks the sha256 of every file that it reads",
    )
    return Section(
        "window",
        "Any range of days",
        f"All {len(_tops(ours.last))} ranges of whole days inside the {WINDOW_DAYS}, asked of the published "
        "warehouse.duckdb in one process: the 100 creators with the most distinct viewers, and the reach of single "
        f"creators. The peers answer ranges of {', '.join(map(str, _SAMPLED_DAYS))} days from scratch, in one warm "
        "process each. The ratio is the time of the fastest peer for that range by the product's. Times are per "
        "question, without the start of a process. Answers agree.",
        [*rows, whole],
    )


def _rows(sampled: Sequence[tuple[date, date]], ours: Runs, peers: Sequence[Runs]) -> list[Row]:
    rows = []
    fastest = []
    for place, (first, end) in enumerate(sampled, 1):
        what = f"top 100 of {_days((end - first).days)}"
        our_seconds = [_seconds(run, first, end) for run in ours.runs]
        seconds = {runs.name: [seconds_of(run)[place] for run in runs.runs] for runs in peers}
        name, best = min(seconds.items(), key=lambda item: median(item[1]), default=("", []))
        ratio = median(best) / median(our_seconds) if best else None
        fastest.append(median(best) if best else None)
        rows.append(Row(what, ours.name, our_seconds, ratio=ratio, ratio_is=f"x as fast as {name}", goal=_GOAL))
        rows += [Row(what, peer_name, values) for peer_name, values in seconds.items()]
    known = [seconds for seconds in fastest if seconds is not None]
    tops = [median(_column(_tops(run), 2)) for run in ours.runs]
    reaches = [median(_column(json.loads(run.stdout)["reaches"], 3)) for run in ours.runs]
    over_sampled = "x as fast as the median of the fastest peers above"
    for what, values in (("any range: top 100", tops), ("any range: one creator", reaches)):
        ratio = median(known) / median(values) if known else None
        rows.append(Row(what, ours.name, values, ratio=ratio, ratio_is=over_sampled, goal=_GOAL))
    slowest = [max(_column(_tops(run), 2)) for run in ours.runs]
    rows.append(Row("any range: top 100, the slowest", ours.name, slowest))
    return rows


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def _tops(run: Measured) -> list[list[Any]]:
    return list(json.loads(run.stdout)["tops"])


def _column(rows: Sequence[Sequence[Any]], place: int) -> list[float]:
    return [float(row[place]) for row in rows]


def _of(run: Measured, first: date, end: date) -> list[Any]:
    return next(row for row in _tops(run) if row[:2] == [str(first), str(end)])


def _seconds(run: Measured, first: date, end: date) -> float:
    return float(_of(run, first, end)[2])


def _compare(workload: Workload, sampled: Sequence[tuple[date, date]], ours: Measured, theirs: Sequence[Runs]) -> None:
    """The peers, the macro and the command line must agree on the sampled ranges; and the macro with itself."""
    for place, (first, end) in enumerate(sampled, 1):
        what = f"{first} to {end}"
        tops = answer(_of(ours, first, end)[3])
        require_same(
            what, "reach()", tops, "mostwatched top", workload.top(workload.after, "--from", first, "--to", end)
        )
        for runs in theirs:
            if runs.failure is None:
                require_same(what, "reach()", tops, runs.name, answers_of(runs.last)[place])
    ranked: dict[tuple[str, str], Answer] = {(row[0], row[1]): answer(row[3]) for row in _tops(ours)}
    for first_day, end_day, creator, _, viewers in json.loads(ours.stdout)["reaches"]:
        known = dict(ranked[first_day, end_day]).get(creator)
        if known is not None and known != viewers:
            raise DifferentAnswers(
                f"{first_day} to {end_day}: {creator} has {viewers} viewers alone, {known} in the ranking"
            )
