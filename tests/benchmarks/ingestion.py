"""Reading what landed, with full validation, against DuckDB copying the same lines to Parquet with none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.contenders import Contender, Runs, command, side_by_side
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, must, python
from tests.benchmarks.report import Goal, Row, Section, timed
from tests.benchmarks.workload import Workload

_CLEAN, _DIRTY = Goal(at_least=0.8), Goal(at_least=0.6)
_FLAT = Goal(at_most=1.2)  # a peak that does not grow with the file, on a noisy allocator
_TIMES = 4
_SMALL_FILE_BYTES = 100_000_000  # from which on every buffer is full, and memory must not grow any more

# case: (file under the folder, goal). What lands in each is written by spoil.py.
_CASES = {
    "clean, plain": ("clean/viewing_sessions/night.ndjson", _CLEAN),
    "clean, gzip": ("clean-gzip/viewing_sessions/night.ndjson.gz", None),
    "1 % bad lines, plain": ("bad/viewing_sessions/night.ndjson", _DIRTY),
    "1 % bad lines, gzip": ("bad-gzip/viewing_sessions/night.ndjson.gz", _DIRTY),
}


def measure(options: Options, workload: Workload) -> Section:
    """Every case side by side; then a larger file, for its memory."""
    folder = workload.folder / "ingest"
    shutil.rmtree(folder, ignore_errors=True)
    small = -(-_SMALL_FILE_BYTES // workload.night_file.stat().st_size)
    must(python("tests.benchmarks.spoil", workload.night_file, folder, small, small * _TIMES))
    rows: list[Row] = []
    for case, (name, goal) in _CASES.items():
        contenders = [_product(workload, folder / name), _duckdb(options, folder, folder / name, "bad" in name)]
        ours, theirs = side_by_side(contenders, options.runs).values()
        _require_counts(case, workload.sessions, "bad" in name, ours)
        rows += _rows(case, ours, theirs, goal)
    rows += _memory(workload, folder, small)
    shutil.rmtree(folder)
    return Section(
        "ingest",
        "Ingest",
        f"{workload.sessions:,} lines of NDJSON to Parquet. The product checks every field of every line, keeps each "
        "rejected line with its reason, digests the rows and writes durably; DuckDB's bare COPY does none of that "
        "(with bad lines: read_json(…, ignore_errors=true)). The ratio is DuckDB's time by the product's: a speed.",
        rows,
    )


def _memory(workload: Workload, folder: Path, small: int) -> list[Row]:
    """The peaks of one file and of another, several times as large."""
    rows: list[Row] = []
    peak: int | None = None
    for times in (small, small * _TIMES):
        sessions = workload.sessions * times
        what = f"memory: {sessions:,} lines in one file"
        contender = _product(workload, folder / f"{times}x" / "viewing_sessions" / "night.ndjson")
        (runs,) = side_by_side([contender], 1).values()
        _require_counts(what, sessions, False, runs)
        ratio = None if peak is None else runs.peak_bytes / peak
        goal = None if peak is None else _FLAT
        rows.append(timed(what, runs, ratio=ratio, ratio_is="x the peak of the smaller file", goal=goal))
        peak = runs.peak_bytes
    return rows


def _rows(case: str, ours: Runs, theirs: Runs, goal: Goal | None) -> list[Row]:
    """What both took for one case."""
    if theirs.failure is not None:
        return [timed(case, ours), timed(case, theirs)]
    inside = min(_inside(theirs)) / min(_inside(ours))
    return [
        timed(
            case,
            ours,
            ratio=theirs.wall / ours.wall,
            ratio_is="x the speed of duckdb",
            goal=goal,
            note=f"without the start of the process: {inside:.2f} x",
        ),
        timed(case, theirs),
    ]


def _inside(runs: Runs) -> list[float]:
    return [float(json.loads(run.stdout)["seconds"]) for run in runs.runs]


def _require_counts(case: str, sessions: int, is_bad: bool, ours: Runs) -> None:
    """The product must have accepted and rejected exactly what was put there."""
    if ours.failure is not None:
        raise Failed(f"{case}: {ours.failure}")
    counts = json.loads(ours.last.stdout)
    bad = sessions // 100 if is_bad else 0
    if (counts["accepted"], counts["rejected"]) != (sessions - bad, bad):
        raise Failed(f"{case}: {sessions - bad:,} lines are good and {bad:,} bad, but the product says {counts}.")


def _product(workload: Workload, file: Path) -> Contender:
    """Ingest alone, into a home with nothing in it."""
    landing = file.parents[1]

    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        home = workload.folder / "ingest-home"
        shutil.rmtree(home, ignore_errors=True)
        yield python("tests.benchmarks.ingest_once", home, landing)
        shutil.rmtree(home)

    return Contender("mostwatched", ready, workload.env)


def _duckdb(options: Options, folder: Path, file: Path, is_bad: bool) -> Contender:
    """DuckDB's own reader and writer."""
    arguments = (file, folder / "bare.parquet", *(["--ignore-errors"] if is_bad else []))
    argv = python("tests.benchmarks.bare_copy", *arguments, interpreter=options.peer_python)
    return Contender("duckdb COPY", command(argv))
