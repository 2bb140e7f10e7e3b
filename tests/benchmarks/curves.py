"""What a command costs as one dimension of the platform grows to 4 and to 16 times: files, entities, creators, people.

Each curve is a home at three sizes and a command. Its exponent is the slope of log(cost) over log(size): 0 for a cost
that does not follow the size, 1 for one that follows it. Where the cost is expected to follow the size, what the
command costs at next to nothing is taken off first; it stays where the promise is that the command costs the same.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Contender, Ready, side_by_side
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, must, python
from tests.benchmarks.report import Goal, Row, timed
from tests.benchmarks.server import serving
from tests.benchmarks.workload import AS_OF, Workload, copy_home, night, product

TIMES = (1, 4, 16)
LINES = 20_000  # of sessions in small files, whatever their number
SNAPSHOTS = 8  # of a store, one a night
NEXT_TO_NOTHING = 20  # the size whose cost is the start of a command
LEAST_SECONDS = 0.1  # of CPU beyond that, or it is noise

_FLAT = Goal(at_most=0.15)  # 16 times as much: at most 1.5 times the CPU
_LINEAR = Goal(at_most=1.05)
_BEFORE = AS_OF - timedelta(days=1)

Command = Callable[[Path], Sequence[str]]  # of the folder that holds home/ and landing/


@dataclass(frozen=True)
class Curve:
    """A command in homes of several sizes."""

    what: str
    base: int  # the smallest size
    unit: str  # of the size
    land: str  # before the first night: a kind of curve_landing.py
    command: Command
    follows_size: bool  # the cost is expected to
    more: str | None = None  # what lands after it
    has_first_night: bool = True  # before the command


def rows_of(options: Options, workload: Workload) -> list[Row]:
    """The rows of every curve."""
    rows: list[Row] = []
    for curve in curves():
        rows += _measured(options, workload, curve)
    rows += _files_beside_one(options, workload)
    rows += _entities(options, workload)
    rows += _stores(options, workload)
    rows += _searches(options, workload)
    return rows


def curves() -> list[Curve]:
    """Commands whose CPU is measured."""

    def again(folder: Path) -> Sequence[str]:
        return night(folder / "home", _BEFORE, folder / "landing")

    def forget(*users: str) -> Command:
        return lambda folder: product(folder / "home", "forget", "--dry-run", "--landing", folder / "landing", *users)

    return [
        Curve("first night of small files", 100, "files", "small_files", again, True, has_first_night=False),
        Curve("nothing new beside small files", 100, "files", "small_files", again, False),
        Curve("one more follow", 20_000, "follows", "follows", again, False, more="one_follow"),
        Curve("one more pledge", 20_000, "pledges", "pledges", again, False, more="one_pledge"),
        Curve("first night of creators", 10_000, "creators", "creators", again, True, has_first_night=False),
        Curve("nothing new beside creators", 10_000, "creators", "creators", again, False),
        Curve("forget one person", 50_000, "sessions", "sessions", forget("nobody"), True),
    ]


# --- what it costs ---------------------------------------------------------------------------------------------------


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log(cost) over log(size), by least squares."""
    x, y = [math.log(each) for each in sizes], [math.log(each) for each in costs]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return above / sum((a - x_mean) ** 2 for a in x)


def _measured(options: Options, workload: Workload, curve: Curve) -> Iterator[Row]:
    """A row a size; the last one has the exponent."""
    folder = workload.folder / "curves"
    sizes = [curve.base * options.curve_scale * times for times in TIMES]
    if curve.follows_size:  # the same command at nearly nothing
        sizes = [NEXT_TO_NOTHING, *sizes]
    for size in sizes:
        _land(curve.land, folder / str(size) / "landing", size)
        if curve.has_first_night:
            _settled(folder / str(size), workload)
    contenders = [
        Contender(f"{size:,} {curve.unit}", _ready(folder / str(size), size, curve, workload), workload.env)
        for size in sizes
    ]
    results = list(side_by_side(contenders, options.runs).values())
    shutil.rmtree(folder)
    for runs in results:
        if runs.failure is not None:
            raise Failed(f"{curve.what}, {runs.name}: {runs.failure}")
    costs = [runs.cpu for runs in results]
    if curve.follows_size:
        start, *costs = costs
        costs = [cost - start for cost in costs]
    yield from (timed(curve.what, runs) for runs in results[:-1])
    if curve.follows_size and costs[0] < LEAST_SECONDS:
        yield timed(curve.what, results[-1], note="too little beyond the start to tell an exponent: --curve-scale")
        return
    slope = exponent(sizes[-len(costs) :], costs)
    goal = _LINEAR if curve.follows_size else _FLAT
    yield timed(curve.what, results[-1], ratio=slope, ratio_is="is the exponent of the CPU", goal=goal)


def _settled(folder: Path, workload: Workload) -> None:
    """Run the first night of a home, and once more, so that nothing is left to be done."""
    for _ in range(2):
        must(night(folder / "home", _BEFORE, folder / "landing"), env=workload.env)


def _ready(folder: Path, size: int, curve: Curve, workload: Workload) -> Ready:
    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        if curve.has_first_night:
            copy_home(folder / "home", copy / "home")
        shutil.copytree(folder / "landing", copy / "landing")
        if curve.has_first_night:  # remembers what is landed in the copy
            must(night(copy / "home", _BEFORE, copy / "landing"), env=workload.env)
        if curve.more is not None:
            _land(curve.more, copy / "landing", size)
        yield curve.command(copy)
        shutil.rmtree(copy)

    return ready


def _files_beside_one(options: Options, workload: Workload) -> Iterator[Row]:
    """The same lines in one file and in many, as first nights."""
    folder = workload.folder / "files"
    counts = [1, 1_600 * options.curve_scale]
    for count in counts:
        _land("small_files", folder / str(count), count)

    def ready(count: int) -> Ready:
        @contextmanager
        def first_night() -> Iterator[Sequence[str]]:
            shutil.rmtree(folder / "home", ignore_errors=True)
            yield night(folder / "home", _BEFORE, folder / str(count))

        return first_night

    contenders = [Contender(f"{count:,} files", ready(count), workload.env) for count in counts]
    one, many = side_by_side(contenders, options.runs).values()
    shutil.rmtree(folder)
    yield timed(f"{LINES:,} lines", one)
    yield timed(f"{LINES:,} lines", many, ratio=many.cpu / one.cpu, ratio_is="x the CPU of one", goal=Goal(at_most=1.5))


def _entities(options: Options, workload: Workload) -> Iterator[Row]:
    """Microseconds of CPU a record that reading one of each entity costs, by the difference of two sizes."""
    folder = workload.folder / "entities"
    goals = {"creators": 15, "live_streams": 15, "lls_streams": 15}
    for entity in ("creators", "live_streams", "lls_streams", "pledges", "viewing_sessions", "follows"):
        sizes = (2_000, 32_000 * options.curve_scale)
        costs = {}
        for size in sizes:
            _land(f"nested {entity}", folder / str(size), size)
            runs = [
                must([*_ingest(folder / f"home {size} {turn}", folder / str(size))], env=workload.env).cpu
                for turn in range(options.runs)
            ]
            costs[size] = median(runs)
        shutil.rmtree(folder)
        cost = (costs[sizes[1]] - costs[sizes[0]]) / (sizes[1] - sizes[0]) * 1e6
        goal = Goal(at_most=goals[entity]) if entity in goals else None
        yield Row("a record read", entity, [cost], unit="µs", goal=goal)


def _ingest(home: Path, landing: Path) -> Sequence[str]:
    return python("tests.benchmarks.ingest_once", home, landing)


def _stores(options: Options, workload: Workload) -> Iterator[Row]:
    """The disk of a store of snapshots, beside that of one: a night a day with a few new sessions."""
    folder = workload.folder / "store"
    _land("creators", folder / "landing", 10_000 * options.curve_scale)
    sizes = []
    for number in range(SNAPSHOTS):
        day: date = AS_OF + timedelta(days=number)
        _land("one_night", folder / "landing", number)
        argv = [*night(folder / "home", day, folder / "landing"), "--allow-incomplete", "--allow-future"]
        must(argv, env=workload.env)
        sizes.append(_disk(folder / "home" / "snapshots"))
    shutil.rmtree(folder)
    what = f"disk of {SNAPSHOTS} snapshots"
    ratio = sizes[-1] / sizes[0]
    yield Row(what, "mostwatched", [sizes[-1] / 1e6], "MB", ratio=ratio, ratio_is="x one", goal=Goal(at_most=2))


def _disk(folder: Path) -> int:
    """Bytes, each file once, whatever its names."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            found[status.st_ino] = status.st_size
    return sum(found.values())


def _searches(options: Options, workload: Workload) -> Iterator[Row]:
    """The first search after the start of a server among so many creators: seconds until its answer."""
    folder = workload.folder / "searches"
    sizes = [10_000 * options.curve_scale * times for times in TIMES]
    for size in sizes:
        home = folder / str(size)
        _land("creators", home / "landing", size)
        must(night(home / "home", _BEFORE, home / "landing"), env=workload.env)
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(options.runs):
        for size, found in seconds.items():
            home = folder / str(size) / "home"
            with serving(lambda port, home=home: product(home, "serve", "--port", port), "/readyz") as server:  # type: ignore[misc]
                started = time.perf_counter()
                status, _ = server.get("/?q=creator+77")
                found.append(time.perf_counter() - started)
            if status != 200:
                raise Failed(f"The page answered {status}.")
    shutil.rmtree(folder)
    for size, found in seconds.items():
        is_last = size == sizes[-1]
        ratio = exponent(sizes, [median(each) for each in seconds.values()]) if is_last else None
        yield Row("first search", f"{size:,} creators", found, ratio=ratio, ratio_is="is the exponent of the time")


def _land(kind: str, landing: Path, size: int) -> None:
    must(python("tests.benchmarks.curve_landing", kind, landing, size))
