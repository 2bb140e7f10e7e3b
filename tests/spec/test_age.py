"""A night in an old home costs what it costs in a young one: files opened and built are counted, not seconds.

Windows are short and days cheap; the older home is more than four times as old, far beyond what a night rests on.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from world import AS_OF, World

from pipelines.core import calendar_days
from pipelines.jobs import explain, nightly, prune, status
from pipelines.lake.engines.duckdb import DuckDBEngine

SETTINGS = {"max_window_days": 8, "windows": (1, 8), "revision_days": 2}
AGES = (100, 460)
FOR_AN_OLD_MONTH = 6  # files that are asked for of each: sidecar, rows, the index of the one landed file
pytestmark = pytest.mark.xdist_group("age")  # the homes are made once, whichever worker has them


class Counted:
    """What was opened in a home, and built, and how many files the engine was given."""

    def __init__(self) -> None:
        self.opened = self.given = 0
        self.report: Any = None


_counting: list[tuple[str, Counted]] = []


def _on_open(event: str, arguments: Sequence[Any]) -> None:
    if event == "open" and _counting and isinstance(arguments[0], str | bytes):
        folder, counted = _counting[-1]
        counted.opened += os.fsdecode(arguments[0]).startswith(folder)


sys.addaudithook(_on_open)  # for as long as the process lives


@contextmanager
def counting(world: World) -> Iterator[Counted]:
    """Count every file of the home that Python opens inside, and every file that is handed to DuckDB."""
    counted = Counted()
    write = DuckDBEngine.write

    def counted_write(self: DuckDBEngine, model: Any, sources: Any, *rest: Any) -> Any:
        counted.given += sum(len(relation) for relation in sources.values() if isinstance(relation, list))
        return write(self, model, sources, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDBEngine, "write", counted_write)
        _counting.append((f"{world.settings.home}/lake", counted))
        try:
            yield counted
        finally:
            _counting.pop()


def land(world: World, ago: int, number: int = 0) -> None:
    """Land a file of one session."""
    at = f"{AS_OF - timedelta(days=ago)}T10:00:00Z"
    world.land(
        "viewing_sessions", [{"sessionId": f"{ago}-{number}", "creatorId": "c", "viewerId": "v", "startedAt": at}]
    )


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    """Homes of both ages, each with a file a day, as old as their files say."""
    made = []
    for age in AGES:
        world = World(tmp_path_factory.mktemp(f"age-{age}"))
        world.settings = dataclasses.replace(world.settings, **SETTINGS)
        for ago in range(2, age):
            land(world, ago)
        world.run(AS_OF - timedelta(days=1), compare=False)
        made.append(world)
    return made


def night(world: World) -> Any:
    return world.run(AS_OF, compare=False).report


def test_a_night_costs_the_same(homes: list[World]):
    """Without news, on a new day, with a late session on the oldest day: the same files are opened and built."""
    counts: dict[str, list[Counted]] = {}
    for world, age in zip(homes, AGES, strict=True):
        before = world.current()
        land(world, 1)

        def step(what: str, do: Callable[[], Any], world: World = world) -> None:
            with counting(world) as counted:
                counted.report = do()
            counts.setdefault(what, []).append(counted)

        def late(world: World = world, age: int = age) -> Any:
            land(world, age - 1, number=1)
            return night(world)

        step("a new day", lambda world=world: night(world))
        step("nothing new", lambda world=world: night(world))
        step("a late session on the oldest day", late)
        step("status", lambda world=world: status.status(world.settings, AS_OF, None, calendar_days.EPOCH))
        prune.prune(world.settings)  # removes what was worked out of old days on the way to the sums of their months
        step("prune", lambda world=world: prune.prune(world.settings))
        snapshot = world.run(AS_OF, compare=False).snapshot
        step(
            "explain",
            lambda world=world, snapshot=snapshot: explain.explain(
                world.settings, snapshot, "c", calendar_days.rolling(AS_OF, 8)
            ),
        )
        assert before != world.current()
    months = (AGES[1] - AGES[0]) // 28
    for what, (young, old) in counts.items():
        print(what, young.opened, old.opened, young.given, old.given)
        assert old.opened <= young.opened + months * FOR_AN_OLD_MONTH, what
        assert old.given <= young.given + months, what
    for what in ("a new day", "nothing new", "a late session on the oldest day"):
        young, old = (sum(counted.report.built.values()) for counted in counts[what])
        assert old <= young + 1, what  # the sum of a year
    assert counts["nothing new"][1].report.built == {}


def test_a_backfill_asks_for_an_old_month_once(homes: list[World]):
    """Ten as_ofs over an older home open the files of its old months once, not ten times."""
    opened = []
    for world in homes:

        def backfill(world: World = world) -> None:
            for _ in nightly.backfill(world.settings, AS_OF - timedelta(days=9), AS_OF, allow_incomplete=True):
                pass

        backfill()
        with counting(world) as counted:
            backfill()
        opened.append(counted.opened)
    young, old = opened
    assert old <= young + 4  # the sums of years; ten times one where each as_of looks for itself


def test_memory_of_the_oldest_is_in_the_books(homes: list[World]):
    """Every record that ever landed is accounted for, however old the home is."""
    for world, age in zip(homes, AGES, strict=True):
        funnel = night(world).funnel
        assert funnel["accepted"] == sum(funnel.values()) - funnel["accepted"] - funnel["conflicts"]
        assert funnel["ranked"] == 8
        assert funnel["outside_window"] == funnel["accepted"] - 8 >= age - 9


# The ends of a month of this year, and of a closed year, each with the last day that is within reach of it.
EDGES = [
    ("2025-03-31", "2025-04-02"),
    ("2025-03-01", "2025-02-27"),
    ("2024-12-31", "2025-01-02"),
    ("2024-01-01", "2023-12-30"),
]


@pytest.fixture
def old_days(world: World) -> World:
    """A world in whose home one session lies at each end of old months, and has been summed up."""
    world.settings = dataclasses.replace(world.settings, **SETTINGS)
    for number, (day, _) in enumerate(EDGES):
        world.sessions(
            f"session | creator | viewer | started_at | seconds\ns{number} | ada | v{number} | {day} 12:00 | 60"
        )
    world.sessions("creator | viewer | started_at | seconds\nada | v9 | 2025-09-29 12:00 | 60")
    world.run("2025-10-01")
    return world


@pytest.mark.parametrize("number", range(len(EDGES)))
def test_the_sum_of_a_month_knows_of_what_lands_within_reach_of_it(old_days: World, number: int):
    """A session that moves out of an old month, to the last day that is within reach of it, leaves its sum."""
    world, (_, moved) = old_days, EDGES[number]
    world.sessions(
        f"session | creator | viewer | started_at | seconds\ns{number} | ada | v{number} | {moved} 12:00 | 90"
    )
    assert world.run("2025-10-01").funnel()["superseded"] == 1


@pytest.mark.parametrize("number", range(len(EDGES)))
def test_the_sum_of_a_month_knows_who_was_erased(old_days: World, number: int):
    """Who is erased since leaves the sums of old months and years."""
    old_days.land("erasures", f"user\nv{number}")
    assert old_days.run("2025-10-01").funnel()["erased"] == 1


def test_an_index_that_changed_is_read_again(homes: list[World]):
    """What is remembered of an index serves for as long as it is the same file, and not longer."""
    world = homes[0]
    path = min(Path(world.settings.lake).glob("raw/*/*/index.json"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"newest"', b'"oldest"', 1))
    assert any(
        "damaged" in problem for problem in status.status(world.settings, AS_OF, None, calendar_days.EPOCH)["problems"]
    )
    path.write_bytes(content)
    assert not status.status(world.settings, AS_OF, None, calendar_days.EPOCH)["problems"]
