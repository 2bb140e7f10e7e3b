"""A night with latecomers: one session in a thousand belongs to each of the seven days before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tests.benchmarks.contenders import Contender, side_by_side
from tests.benchmarks.night import compare, peer, product_night, window
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, must
from tests.benchmarks.report import Goal, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, convert, copy_home, night

_DAYS_LATE = range(1, 8)
_SHARE = 1000  # one in so many
_SESSION = b'"sessionId":"5e55104'  # an id's first digits but the last of them, which tells a generated session
_NEW_DIGIT = b"9"


def measure(options: Options, workload: Workload) -> Section:
    """The night with and without them."""
    landing = workload.folder / "late"
    each = _land(workload, landing)

    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        with workload.copy(workload.base) as home:
            yield night(home, AS_OF, landing)

    name = "mostwatched, with late sessions"
    results = side_by_side([product_night(workload), Contender(name, ready, workload.env)], options.runs)
    for runs in results.values():
        if runs.failure is not None:
            raise Failed(f"The night failed: {runs.failure}")
    _check(options, workload, landing)
    shutil.rmtree(landing)
    without, with_late = results.values()
    return Section(
        "late",
        "Late sessions",
        f"The night, and the same with {each:,} new sessions of each of the seven days before in its file, so that "
        "eight days change. The answer agrees with a peer's.",
        [
            timed("night", without),
            timed(
                "night",
                with_late,
                ratio=with_late.wall / without.wall,
                ratio_is="x the time without",
                goal=Goal(at_most=3),
            ),
        ],
    )


def _land(workload: Workload, landing: Path) -> int:
    """Write the night's file with sessions of earlier days at its end. Returns how many for each of the days."""
    target = landing / workload.night_file.relative_to(workload.night)
    shutil.rmtree(landing, ignore_errors=True)
    target.parent.mkdir(parents=True)
    shutil.copyfile(workload.night_file, target)
    each = max(1, workload.sessions // _SHARE)
    step = workload.sessions // (each * len(_DAYS_LATE))
    with workload.night_file.open("rb") as night_lines, target.open("ab") as file:
        for number, line in enumerate(night_lines):
            place, rest = divmod(number, step)
            if rest == 0 and place < each * len(_DAYS_LATE):
                file.write(_moved(line, _DAYS_LATE[place % len(_DAYS_LATE)]))
    return each


def _moved(line: bytes, days: int) -> bytes:
    """The same view by another session, so many days earlier. A session may end on the day after it began."""
    head, session, tail = line.partition(_SESSION)
    for day in (AS_OF - timedelta(days=1), AS_OF):  # in this order, and earlier days are never met again
        tail = tail.replace(f'"{day}T'.encode(), f'"{day - timedelta(days=days)}T'.encode())
    return head + session + _NEW_DIGIT + tail[1:]


def _check(options: Options, workload: Workload, landing: Path) -> None:
    """Raise DifferentAnswers unless the night with late sessions answers as a peer does."""
    home, parquet = workload.folder / "after-late", workload.folder / "parquet-late"
    for folder in (home, parquet):
        shutil.rmtree(folder, ignore_errors=True)
    copy_home(workload.base, home)
    must(night(home, AS_OF, landing), env=workload.env)
    parquet.mkdir()
    unchanged = AS_OF - timedelta(days=max(_DAYS_LATE) + 1)
    for path in workload.parquet.glob("*.parquet"):
        if path.stem < str(unchanged):
            os.link(path, parquet / path.name)
    convert(workload, home, parquet)
    late_peer = peer(options, workload, "duckdb", [window()], parquet)
    compare("night with late sessions", workload.top(home), list(side_by_side([late_peer], 1).values()))
    for folder in (home, parquet):
        shutil.rmtree(folder)
