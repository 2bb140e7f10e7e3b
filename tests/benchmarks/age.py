"""What a night costs in homes of several ages, with few sessions a day: what grows is the history and nothing else."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Contender, Ready, side_by_side
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, must
from tests.benchmarks.report import Goal, Row, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, copy_home, night, product

SESSIONS = 2  # a day
_GOAL = Goal(at_most=1.2)  # times the CPU of the home that is compared with
_COMPARED_WITH = 200  # days
_UNTIL_REMEMBERED = 2.5  # seconds: what was written a moment ago is read again


def measure(options: Options, workload: Workload) -> Section:
    """Each of the nights and questions, at every age in turn."""
    folder = workload.folder / "ages"
    homes = {age: _prepared(folder / str(age), age, workload) for age in options.ages}
    before = AS_OF - timedelta(days=1)
    nights: dict[str, Callable[[Path, Path, int], Sequence[str]]] = {
        "nothing new": lambda home, landing, age: night(home, before, landing),
        "a new day": lambda home, landing, age: _landed(landing, 1) and night(home, AS_OF, landing),
        "a late session on the oldest day": lambda home, landing, age: (
            _landed(landing, age, "late") and night(home, before, landing)
        ),
        "status": lambda home, landing, age: product(home, "status", "--as-of", before, "--landing", landing),
    }
    rows: list[Row] = []
    for what, argv in nights.items():
        contenders = [
            Contender(f"{age:,} days", _ready(home, age, argv, workload), workload.env) for age, home in homes.items()
        ]
        results = side_by_side(contenders, options.runs)
        cpu = {}
        for age, runs in zip(homes, results.values(), strict=True):
            if runs.failure is not None:
                raise Failed(f"{what}, after {age} days: {runs.failure}")
            cpu[age] = median(run.cpu for run in runs.runs)
        for age, runs in zip(homes, results.values(), strict=True):
            if age > _COMPARED_WITH in cpu:
                ratio = cpu[age] / cpu[_COMPARED_WITH]
                rows.append(timed(what, runs, ratio=ratio, ratio_is=f"x the CPU of {_COMPARED_WITH} days", goal=_GOAL))
            else:
                rows.append(timed(what, runs))
    shutil.rmtree(folder)
    return Section(
        "age",
        "Age",
        f"Homes of several ages with {SESSIONS} sessions and one landed file a day.",
        rows,
    )


def _prepared(folder: Path, age: int, workload: Workload) -> Path:
    """A home that is so many days old, as its nights left it, beside what landed."""
    for ago in range(2, age + 1):
        _landed(folder / "landing", ago)
    must(night(folder / "home", AS_OF - timedelta(days=1), folder / "landing"), env=workload.env)
    return folder


def _landed(landing: Path, ago: int, name: str = "") -> Path:
    """Land the file of a day: a few people, who come again every week."""
    day: date = AS_OF - timedelta(days=ago)
    path = landing / "viewing_sessions" / f"{day}{name}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    sessions = [
        {
            "sessionId": f"{day}-{number}{name}",
            "creatorId": f"creator-{(ago + number) % 5}",
            "viewerId": f"viewer-{(ago + number) % 7}",
            "startedAt": f"{day}T10:00:00Z",
            "endedAt": f"{day}T10:20:00Z",
        }
        for number in range(SESSIONS)
    ]
    path.write_text("".join(json.dumps(session) + "\n" for session in sessions))
    return path


def _ready(folder: Path, age: int, argv: Callable[[Path, Path, int], Sequence[str]], workload: Workload) -> Ready:
    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy_home(folder / "home", copy / "home")
        shutil.copytree(folder / "landing", copy / "landing")
        time.sleep(_UNTIL_REMEMBERED)
        must(night(copy / "home", AS_OF - timedelta(days=1), copy / "landing"), env=workload.env)  # the night before
        yield argv(copy / "home", copy / "landing", age)
        shutil.rmtree(copy)

    return ready
