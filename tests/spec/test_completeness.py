"""Days that did not land are missing, not zero: in the manifest, the pointer, `run --json`, and what `top` says."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from world import World

from pipelines.core.calendar_days import Window
from pipelines.core.completeness import Completeness
from pipelines.snapshots import manifest
from pipelines.snapshots.manifest import Snapshot

AS_OF = date(2026, 3, 1)
ACCEPT = {"accept_rejects": True, "allow_incomplete": True}


def land_day(world: World, day: date, sessions: int = 40, name: str | None = None) -> None:
    """Land so many sessions of a day in its own file."""
    lines = [
        {
            "sessionId": f"{day} {number}",
            "creatorId": "c",
            "viewerId": f"v{number}",
            "startedAt": f"{day}T10:00:00Z",
            "endedAt": f"{day}T10:10:00Z",
        }
        for number in range(sessions)
    ]
    world.land("viewing_sessions", lines, name=name or f"{day}.ndjson")


def days_before(*numbers: int) -> list[date]:
    return [AS_OF - timedelta(days=number) for number in numbers]


def current(world: World) -> Snapshot:
    return manifest.open_current(world.settings.snapshots)


def said(world: World) -> Completeness:
    found = current(world).completeness
    assert found is not None
    return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Fifty days of sessions but for two, and one that is a tenth of the others."""
    world = World(tmp_path, max_window_days=90)
    for back in range(50, 0, -1):
        if back not in (5, 17):
            land_day(world, AS_OF - timedelta(days=back), 4 if back == 9 else 40)
    return world


def test_days_that_did_not_land(world: World) -> None:
    """They are named, as is the one that is probably not all there; those before the first are no holes."""
    run = world.run(AS_OF, night=ACCEPT)
    found = said(world)
    assert list(found.missing) == days_before(17, 5)
    assert list(found.incomplete) == days_before(9)
    assert found.first_day == AS_OF - timedelta(days=50)
    assert current(world).manifest["completeness"] == found.as_json() == run.report.as_json()["completeness"]
    assert json.loads(json.dumps(found.as_json())) == found.as_json()
    assert Completeness.from_json(found.as_json()) == found


RANGES = {  # days before as_of: what a reader must know of them
    (4, 0): None,
    (5, 0): "1 day did not land (2026-02-24).",
    (5, 4): "1 day did not land (2026-02-24).",
    (30, 0): "2 days did not land (2026-02-12, 2026-02-24); 1 day probably not all there (2026-02-20).",
    (50, 20): None,
    (51, 20): "the data begins on 2026-01-10.",
    (80, 60): "No sessions of 2025-12-11/2025-12-31 have landed.",
}


def test_a_range_of_days(world: World) -> None:
    """A range is complete if each of its days landed; else the sentence says what is not there."""
    world.run(AS_OF, night=ACCEPT)
    for (first, end), holds in RANGES.items():
        days = Window(AS_OF - timedelta(days=first), AS_OF - timedelta(days=end))
        sentence = said(world).sentence(days)
        assert said(world).is_complete(days) is (holds is None) is (sentence is None), days
        assert (sentence or "").endswith(holds or ""), days


def test_an_empty_file_of_a_day_says_that_it_had_none(world: World) -> None:
    """It lands later: the rows are the same and so is the snapshot, but its pointer knows better."""
    before = world.run(AS_OF, night=ACCEPT).snapshot_id
    (day,) = days_before(5)
    world.land("viewing_sessions", [], name=f"{day}.ndjson")
    assert world.run(AS_OF).snapshot_id == before
    assert list(said(world).missing) == days_before(17)
    stored = manifest.open_snapshot(world.settings.snapshots, before)
    assert stored.completeness is not None
    assert list(stored.completeness.missing) == days_before(17, 5), "what is published never changes"


@pytest.mark.slow
def test_a_day_that_lands_late_is_no_longer_missing(world: World) -> None:
    world.run(AS_OF, night=ACCEPT)
    land_day(world, *days_before(17), name="late.ndjson")
    world.run(AS_OF)
    assert list(said(world).missing) == days_before(5)


def test_sessions_that_end_a_month_ago(tmp_path: Path) -> None:
    """Every day since is missing."""
    world = World(tmp_path, max_window_days=90)
    for back in range(60, 35, -1):
        land_day(world, AS_OF - timedelta(days=back))
    world.run(AS_OF, night=ACCEPT)
    assert list(said(world).missing) == days_before(*range(35, 0, -1))


def test_sessions_that_do_not_count_have_landed(tmp_path: Path) -> None:
    """A day on which a creator watched nobody but themselves is not missing."""
    world = World(tmp_path, max_window_days=90)
    for back in range(9, 0, -1):
        land_day(world, AS_OF - timedelta(days=back))
    (day,) = days_before(10)
    own = {"sessionId": "own", "creatorId": "c", "viewerId": "c", "startedAt": f"{day}T10:00:00Z"}
    world.land("viewing_sessions", [own | {"endedAt": f"{day}T11:00:00Z"}], name="other.ndjson")
    world.run(AS_OF, night=ACCEPT)
    assert said(world) == Completeness(day)


def test_of_no_sessions_at_all(tmp_path: Path) -> None:
    world = World(tmp_path, max_window_days=90)
    world.land("creators", [{"_id": "c", "username": "c"}])
    world.run(AS_OF, night=ACCEPT)
    assert said(world) == Completeness()
    assert not said(world).is_complete(Window(AS_OF - timedelta(days=1), AS_OF))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Istanbul", "America/Santiago"])
def test_days_are_those_of_the_zone(tmp_path: Path, zone: str) -> None:
    """Compared with a plain count of the sessions by the calendar of the zone."""
    world = World(tmp_path, max_window_days=90, day_timezone=zone)
    starts = [f"{AS_OF - timedelta(days=back)}T{hour:02}:30:00+00:00"
              for back in range(25, 0, -1) for hour in (1, 5, 20, 22) if back not in (6, 7, 12)]  # fmt: skip
    lines = [{"sessionId": start, "creatorId": "c", "viewerId": "v", "startedAt": start} for start in starts]
    world.land("viewing_sessions", lines)
    world.run(AS_OF, night=ACCEPT)
    counted = {datetime.fromisoformat(start).astimezone(ZoneInfo(zone)).date() for start in starts}
    first = min(counted)
    expected = [day for day in Window(first, AS_OF) if day not in counted]
    assert (said(world).first_day, list(said(world).missing)) == (first, expected)


@pytest.mark.slow
def test_top_and_explain_say_so(world: World) -> None:
    """On stderr, so that what is read by programs stays as it is; nothing of a range that is whole."""
    world.run(AS_OF, night=ACCEPT)

    def asked(*arguments: str) -> tuple[Any, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", world.settings.home, *arguments, "--json"],
            capture_output=True,
            check=True,
            text=True,
        )
        return json.loads(done.stdout), done.stderr

    rows, said = asked("top", "--days", "30")
    assert rows
    assert "2 days did not land (2026-02-12, 2026-02-24)" in said
    assert asked("top", "--days", "4")[1] == ""
    assert "No sessions of" in asked("top", "--from", "2025-12-05", "--to", "2025-12-10")[1]
    assert "2 days did not land" in asked("explain", "c", "--days", "30")[1]
