"""Days of the cube that are missing together need not follow each other: a day between them still counts.

`tests/cases/batch_with_a_hole`: v watches c1 on 22 May and on 31 May, and something far back changes when 31 May lands.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from world import World

from pipelines.jobs.erase_user import forget

CASE = Path(__file__).parent.parent / "cases" / "batch_with_a_hole"
BEFORE, AS_OF = date(2026, 5, 31), date(2026, 6, 1)
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
pytestmark = pytest.mark.xdist_group("holes")  # the first night is made once, whichever worker has it
THIRTY = [("c1", 30)]  # v once, and one viewer on each of the other days; c2 was watched before the window


def land(world: World, night: str) -> None:
    """Land the sessions of a night of the case."""
    (path,) = (CASE / night).glob("viewing_sessions/*")
    world.land("viewing_sessions", [json.loads(line) for line in path.read_text().splitlines()])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A home after the first night, to be copied."""
    world = World(tmp_path_factory.mktemp("made"))
    land(world, "night_1")
    world.run(BEFORE, max_window_days=90)
    return world


@pytest.fixture
def first_night(world: World, made: World) -> World:
    world.begin_as(made)
    return world


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of one run over both nights."""
    world = World(tmp_path_factory.mktemp("at-once"))
    land(world, "night_1")
    land(world, "night_2")
    return world.run(AS_OF, max_window_days=90).snapshot_id


@pytest.mark.slow
def test_a_late_file_beside_a_new_day(first_night: World, at_once: str):
    """Two nights end in the id of one run over everything."""
    land(first_night, "night_2")
    night = first_night.run(AS_OF, max_window_days=90)
    assert (night.viewers(), night.snapshot_id) == (THIRTY, at_once)


def test_files_that_the_lake_lost(first_night: World, at_once: str):
    """Two lost days of the cube come back as they were, with and without the days between them."""
    land(first_night, "night_2")
    first_night.run(AS_OF, max_window_days=90)
    for day in ("2026-05-10", "2026-05-31"):
        for path in first_night.settings.lake.glob(f"creator_reach/day={day}/*"):
            path.unlink()
    assert first_night.run(AS_OF, max_window_days=90).snapshot_id == at_once
    for path in first_night.settings.lake.glob("creator_reach/day=*/*"):
        path.unlink()
    assert first_night.run(AS_OF, max_window_days=90).snapshot_id == at_once


@pytest.mark.slow
@pytest.mark.parametrize("way", ["erasure", "forget"])
def test_somebody_of_long_ago_goes_beside_a_new_day(first_night: World, way: str):
    """Whoever was erased or forgotten far back, v is one viewer."""
    first_night.land("viewing_sessions", [{"sessionId": "v2", "creatorId": "c1", "viewerId": "v", **_ON_31_MAY}])
    if way == "erasure":
        first_night.land("erasures", [{"userId": "fill120"}])
    else:
        settings = first_night.settings
        first_night.run(AS_OF, max_window_days=90)
        forget(settings, "fill120", NOW, landing_too=True)
        first_night.landed["erasures"].append({"userId": "fill120"})  # for the oracle
        for path in settings.lake.glob("creator_reach/day=2026-05-31/*"):
            path.unlink()
    assert first_night.run(AS_OF, max_window_days=90).viewers() == THIRTY


_ON_31_MAY = {"startedAt": "2026-05-31T10:00:00Z", "endedAt": "2026-05-31T10:30:00Z"}
