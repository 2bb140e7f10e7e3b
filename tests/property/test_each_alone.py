"""What a file of the lake holds depends on its own step alone: not on what else was missing when it was built.

A path in the lake is the key of its inputs. The same path with two digests is a wrong number that later nights keep.
"""

from __future__ import annotations

import json
import random
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from effort import FULL, effort
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World

from pipelines.core.settings import Policy, Settings
from pipelines.jobs import nightly
from pipelines.lake import derive as lake_module
from pipelines.lake import plan
from pipelines.raw.catalog import raw_files
from pipelines.snapshots import manifest

AS_OF = date(2026, 6, 1)
WINDOW = 10
POLICY: dict[str, Any] = {"windows": (1, 7), "max_window_days": WINDOW}
DAYS = 2 * WINDOW + 31  # more than twice the longest window, and a month
VISITS = 400  # of ten viewers to two creators: most pairs meet again after a few days, some after weeks
CORRECTED = 60  # sessions that land again, half of them on another day


def session(number: int, viewer: str, creator: str, day: date, revision: int) -> dict[str, object]:
    start = datetime.fromisoformat(f"{day}T23:30:00")  # every other one goes on into the next day
    return {
        "sessionId": f"s{number}",
        "creatorId": creator,
        "viewerId": viewer,
        "startedAt": f"{start.isoformat()}Z",
        "endedAt": f"{(start + timedelta(minutes=20 + 20 * (number % 2))).isoformat()}Z",
        "revision": revision,
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, str]]:
    """A home with a long history, of which every file was built by itself; (its settings, path -> digest)."""
    draw = random.Random(1)
    world = World(tmp_path_factory.mktemp("alone"), **POLICY)
    records = []
    for number in range(VISITS):
        day = AS_OF - timedelta(days=draw.randint(1, DAYS))
        viewer, creator = f"v{draw.randint(1, 10)}", draw.choice(("c1", "c2"))
        records.append(session(number, viewer, creator, day, 0))
        if number < CORRECTED:
            records.append(session(number, viewer, creator, day - timedelta(days=draw.choice((0, 1, 9, 45))), 1))
    world.land("erasures", [{"userId": "v10"}])
    world.land("viewing_sessions", records)
    world.land("viewing_sessions", records[1 : 2 * CORRECTED])  # again, each on its own day
    world.run(AS_OF)  # everything is compared with the oracle
    for folder in world.settings.lake.iterdir():
        if folder.is_dir() and folder.name != "raw":
            shutil.rmtree(folder)
    return world.settings, derive(world.settings, batch_rows=1)


def derive(settings: Settings, *, batch_rows: int) -> dict[str, str]:
    """Build what is missing. Returns every file that the snapshot rests on, by its path: the digest of its rows."""
    (snapshot,) = manifest.listed(settings.snapshots)
    with pytest.MonkeyPatch.context() as patch, nightly.open_lake(settings) as lake:
        patch.setattr(lake_module, "BATCH_ROWS", batch_rows)
        plan.build(
            lake, plan.arranged(raw_files(settings)), Policy.from_json(snapshot.manifest["policy"]), snapshot.as_of
        )
        files = sorted(map(Path, lake.touched))
    names = [str(path.relative_to(settings.lake)) for path in files]
    sidecars = [json.loads(path.with_suffix(".json").read_bytes()) for path in files]
    return {name: facts["digest"] for name, facts in zip(names, sidecars, strict=True)}


@pytest.mark.slow
@settings(max_examples=effort(3, 6, 300))
@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from((0.02, 0.1, 0.3, 0.9) if FULL else (0.02, 0.1)),
    rows=st.sampled_from((1, 5, 20, 100, 10**9)),
)
def test_any_files_in_any_grouping_are_what_each_is_alone(
    built: tuple[Settings, dict[str, str]], seed: int, share: float, rows: int
) -> None:
    """Files that are lost, whichever they are, come back with the rows that they had, however many days a statement
    is for."""
    home, alone = built
    draw = random.Random(seed)
    for name in [name for name in sorted(alone) if draw.random() < share]:
        (home.lake / name).unlink(missing_ok=True)
        (home.lake / name).with_suffix(".json").unlink(missing_ok=True)
    found = derive(home, batch_rows=rows)
    assert found == {name: alone[name] for name in found}
    # What stands in for nothing is only made, and named, where something that reads it is built; and days before the
    # months that windows reach are only looked at where the sums of their month are built.
    near = (AS_OF - timedelta(days=2 * WINDOW + 1)).replace(day=1)
    days = [name.partition("/day=")[2][:10] for name in alone.keys() - found.keys()]
    assert all(not day or day < str(near) for day in days)


@settings(max_examples=effort(1, 2, 100))
@given(seed=st.integers(0, 2**32))
def test_days_that_land_in_any_order_give_the_id_of_one_run(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Nights over the last days, with files that land from months before, end in the id of one run over everything."""
    draw, night_of = random.Random(seed), {"allow_incomplete": True}
    several, at_once = (World(tmp_path_factory.mktemp(name), **POLICY) for name in ("several", "at-once"))
    days = sorted({AS_OF - timedelta(days=draw.randint(1, DAYS)) for _ in range(40)})
    numbers = iter(range(10**6))
    landed = {
        day: [session(next(numbers), f"v{draw.randint(1, 6)}", draw.choice(("c1", "c2")), day, 0) for _ in range(3)]
        for day in days
    }
    late = set(draw.sample(days[:-4], 8))
    first = [day for day in days[:-3] if day not in late]
    nights = [first, *([day] for day in days[-3:])]
    for day in late:
        nights[draw.randint(1, 3)].append(day)
    for number, night in enumerate(nights):
        several.land("viewing_sessions", [record for day in night for record in landed[day]])
        last = several.run(AS_OF - timedelta(days=len(nights) - 1 - number), night=night_of)
    at_once.land("viewing_sessions", [record for day in days for record in landed[day]])
    assert last.snapshot_id == at_once.run(AS_OF, night=night_of).snapshot_id
