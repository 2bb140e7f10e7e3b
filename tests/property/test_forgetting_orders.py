"""Forgetting people between nights, in any order, comes to what their erasures alone come to.

One home lands records night by night, forgets people in between, and may lose its lake; the other gets all records and
the erasures at once. Drawn from few keys, ages and people, so that versions of one thing are often several people's:
what one of them is counted for depends on whether the other's were ever there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from effort import effort
from hypothesis import event, given, settings
from hypothesis import strategies as st
from world import Night, World

from pipelines.jobs.erase_user import forget

NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)
FORGOTTEN = ["user-mmm", "user-nnn", "user-ooo"]  # other people's ids are less and greater
PEOPLE = st.sampled_from([*FORGOTTEN, "user-aaa", "user-zzz"])
DAYS = st.sampled_from(["2026-01-10", "2026-01-11", "2026-01-25"])
STREAM = {"id": "l1", "creatorId": "ada", "status": "scheduled", "fundingGoal": 100, "currency": "TRY"}


def record(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A landed record, without the fields that are None."""
    return st.fixed_dictionaries(fields).map(lambda drawn: {name: v for name, v in drawn.items() if v is not None})


AGES = st.sampled_from([None, "2026-01-11T00:00:00Z", "2026-01-12T00:00:00Z"])
SESSIONS = record(
    sessionId=st.sampled_from(["x", "y"]),
    creatorId=st.sampled_from(["ada", "bob", "user-mmm"]),
    viewerId=st.none() | PEOPLE,
    deviceId=st.sampled_from([None, "d1", "d2"]),
    startedAt=DAYS.map(lambda day: f"{day}T10:00:00Z"),
    endedAt=DAYS.map(lambda day: f"{day}T10:30:00Z") | st.none(),
    revision=st.integers(0, 2),
    deleted=st.sampled_from([None, None, True]),
).filter(lambda session: session["startedAt"] < session.get("endedAt", "3"))
OTHERS = {
    "pledges": record(
        pledgeId=st.sampled_from(["p1", "p2"]),
        userId=PEOPLE,
        streamId=st.just("l1"),
        amount=st.sampled_from([10, 40]),
        currency=st.sampled_from([None, "TRY", "EUR"]),
        status=st.sampled_from(["pending", "captured"]),
        updatedAt=AGES,
    ).map(lambda pledge: pledge | {"capturedAt": "2026-01-10T00:00:00Z"}),
    "follows": record(userId=PEOPLE, creatorId=st.just("ada"), deleted=st.sampled_from([None, True]), updatedAt=AGES),
    "replay_rentals": record(
        userId=PEOPLE,
        streamId=st.just("l1"),
        rentedAt=st.just("2026-01-10T00:00:00Z"),
        expiresAt=st.sampled_from(["2026-01-12T00:00:00Z", "2026-01-13T00:00:00Z"]),
        updatedAt=AGES,
    ),
}


@dataclass(frozen=True)
class History:
    """Nights, each what lands before it and who is forgotten after it."""

    nights: list[tuple[dict[str, list[dict[str, Any]]], list[str]]]
    landing_too: bool  # whether landed files are emptied of them
    loses_its_lake: bool  # before the last night


def histories(records: dict[str, st.SearchStrategy[dict[str, Any]]]) -> st.SearchStrategy[History]:
    landed = st.fixed_dictionaries({entity: st.lists(one, max_size=4) for entity, one in records.items()})
    nights = st.lists(st.tuples(landed, st.lists(st.sampled_from(FORGOTTEN), max_size=2)), min_size=2, max_size=3)
    return st.builds(History, nights, st.booleans(), st.booleans())


def run(world: World) -> Night:
    return world.run(night={"accept_rejects": True, "allow_incomplete": True})


def said(night: Night) -> dict[str, Any]:
    """What a night published and said of it."""
    return {
        "id": night.snapshot_id,
        "funnel": night.report.funnel,
        "ranking": night.ranking(),
        "funding": night.funding(),
    }


def compare(history: History) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, alone = World(Path(folder) / "home"), World(Path(folder) / "alone")
        for world in (home, alone):
            world.land("live_streams", [STREAM])
        forgotten: list[str] = []
        for number, (landed, people) in enumerate(history.nights):
            for entity, records in landed.items():
                home.land(entity, records)
                alone.land(entity, records)
            if number == len(history.nights) - 1 and history.loses_its_lake and not history.landing_too:
                shutil.rmtree(home.settings.lake, ignore_errors=True)
            run(home)
            for person in people:
                done = forget(home.settings, person, NOW, landing_too=history.landing_too)
                is_creator = any(session["creatorId"] == person for session in home.landed["viewing_sessions"])
                assert done.is_forgotten or is_creator or not history.landing_too, json.dumps(done.remaining)
                home.landed["erasures"].append({"userId": person})  # for the oracle
                forgotten.append(person)
        event(f"{len(set(forgotten))} forgotten")
        alone.land("erasures", [{"userId": person} for person in forgotten])
        assert said(run(home)) == said(run(alone))


@pytest.mark.slow
@settings(max_examples=effort(3, 8, 300))
@given(histories({"viewing_sessions": SESSIONS}))
def test_of_sessions(history: History) -> None:
    """The same ranking, snapshot id and books, whoever outdated whom."""
    compare(history)


@pytest.mark.slow
@settings(max_examples=effort(3, 8, 300))
@given(histories(OTHERS))
def test_of_pledges_follows_and_rentals(history: History) -> None:
    """The same funding and private tables; a pledge in another currency is no version of it, whosever it is."""
    compare(history)
