"""Three independent ways to the same numbers, on random histories; any way of arriving to the same snapshot.

1. the system: the nightly job, its cube, its published tables;
2. plain SQL over the landed files: `count(distinct …)`, no cube, none of the system's queries;
3. the oracle: pure Python, no SQL.

And `mostwatched audit`, which counts again from raw, finds nothing that differs.

Histories are drawn from few creators, viewers, sessions and instants, so that collisions are common. Every
example runs the real pipeline; `make test-long` draws more of them, and HYPOTHESIS_PROFILE=full many more.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import plain_sql
import pytest
from effort import effort
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from world import World

from pipelines.lake import plan_sessions, plan_states
from pipelines.snapshots.audit import audit

DAY = timedelta(days=1)
# A zone, and the as_of that puts its change of the clocks inside the window.
ZONES = {
    "UTC": date(2026, 4, 6),
    "Europe/Istanbul": date(2026, 4, 6),
    "America/New_York": date(2026, 4, 6),
    "Australia/Lord_Howe": date(2026, 4, 7),
    "Pacific/Apia": date(2012, 1, 4),
    "America/St_Johns": date(2010, 11, 8),  # the 6th came back after the first minute of the 7th
}
STATUSES = ["scheduled", "active", "ended", "cancelled"]  # the last one is no stage
EVERYTHING_ALLOWED = {"accept_rejects": True, "allow_incomplete": True}


@dataclass(frozen=True)
class History:
    """What landed, and how it is to be judged."""

    as_of: date
    settings: dict[str, Any]
    landed: dict[str, list[dict[str, Any]]] = field(repr=False)

    def records(self) -> list[tuple[str, dict[str, Any]]]:
        return [(entity, record) for entity, records in self.landed.items() for record in records]


def text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def histories() -> st.SearchStrategy[History]:
    return st.sampled_from(list(ZONES)).flatmap(histories_in)


def histories_in(zone: str) -> st.SearchStrategy[History]:
    as_of = ZONES[zone]

    def record(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
        fields = {name: st.none() | values for name, values in optional.items()}
        return st.fixed_dictionaries(required | fields).map(
            lambda drawn: {name: value for name, value in drawn.items() if value is not None}
        )

    days = st.sampled_from([-1, -2, -3, -1, -2, -4, -7, -8, -29, -30, -31, -32, -38, -39, -70, 0, 1, 35])
    since_midnight = st.sampled_from([0, 3_600_000, 12 * 3_600_000, 23 * 3_600_000, 86_399_999, 1])
    instants = st.builds(
        lambda day, passed: (
            datetime.combine(as_of + day * DAY, time.min, ZoneInfo(zone)).astimezone(UTC)
            + timedelta(milliseconds=passed)
        ),
        days,
        since_midnight,
    )
    lengths = st.sampled_from([0, 1, 999, 60_000, 59_999, 3_600_000, 86_400_000, 86_400_001, 180_000_000])
    people = st.sampled_from(["ann", "ben", "ada", "bob"])
    creators = st.sampled_from(["ada", "bob", "eve"])
    amounts = st.sampled_from([0, 0.01, 10, 33.33, 100])

    def closed(session: dict[str, Any]) -> dict[str, Any]:
        start, length = session["startedAt"], session.pop("length", None)
        end = {} if length is None else {"endedAt": text(start + timedelta(milliseconds=length))}
        return session | {"startedAt": text(start)} | end

    sessions = record(
        {
            "sessionId": st.sampled_from(["s1", "s2", "s3", "s4", "s5", "s6"]),
            "creatorId": creators,
            "startedAt": instants,
        },
        length=lengths,
        viewerId=people,
        deviceId=st.sampled_from(["d1", "ann"]),
        source=st.sampled_from(["", "app"]),
        revision=st.integers(0, 2),
        deleted=st.sampled_from([False, False, True]),
    ).map(closed)
    when = instants.map(text)
    profiles = record(
        {"_id": creators, "username": st.sampled_from(["a", "b"])},
        status=st.sampled_from(["active", "banned", "deleted"]),
        updatedAt=when,
    )
    streams = record(
        {"id": st.sampled_from(["x", "y"]), "creatorId": creators, "status": st.sampled_from(STATUSES)},
        fundingGoal=st.sampled_from([0, 3, 100]),
        currency=st.sampled_from(["TRY", "EUR"]),
        updatedAt=when,
    )
    pledges = record(
        {
            "pledgeId": st.sampled_from(["p1", "p2", "p3"]),
            "userId": people,
            "streamId": st.sampled_from(["x", "y"]),
            "status": st.sampled_from(["captured", "refunded", "captured", "pending", "failed"]),
        },
        amount=amounts,
        currency=st.sampled_from(["TRY", "EUR"]),
        capturedAt=when,
        refundedAt=when,
        refundedAmount=amounts,
        updatedAt=when,
    ).map(valid_pledge)
    follows = record({"userId": people, "creatorId": creators}, followedAt=when, deleted=st.booleans(), updatedAt=when)
    erasures = record({"userId": people}, erasedAt=when)
    policy = {
        "day_timezone": st.just(zone),
        "min_watched_seconds": st.sampled_from([0, 0, 1, 60]),
        "leave_out_own_views": st.booleans(),
        "max_session_hours": st.sampled_from([24, 24, 72]),
        "revision_days": st.sampled_from([0, 1, 7, 35, 36]),
    }
    landed = {
        "viewing_sessions": st.lists(sessions, min_size=1, max_size=30),
        "creators": st.lists(profiles, max_size=3),
        "live_streams": st.lists(streams, max_size=3),
        "pledges": st.lists(pledges, max_size=5),
        "follows": st.lists(follows, max_size=4),
        "erasures": st.lists(erasures, max_size=1),
    }
    return st.builds(History, st.just(as_of), st.fixed_dictionaries(policy), st.fixed_dictionaries(landed))


def valid_pledge(pledge: dict[str, Any]) -> dict[str, Any]:
    """Make right what would be rejected: captured needs capturedAt, a refund is at most the amount."""
    amount = pledge.setdefault("amount", 50)
    if pledge["status"] == "captured":
        pledge.setdefault("capturedAt", "2011-12-20T00:00:00Z")
    if "refundedAmount" in pledge:
        pledge["refundedAmount"] = min(pledge["refundedAmount"], amount)
    return pledge


@contextmanager
def platform(history: History) -> Iterator[World]:
    """An empty platform with the history's policy, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="three-ways-") as folder:
        yield World(Path(folder), **history.settings)


def ranges_before(as_of: date, max_days: int) -> st.SearchStrategy[tuple[date, date]]:
    """A range of at most `max_days` days within the `max_days` + 1 days before `as_of`."""
    return st.tuples(st.integers(1, max_days + 1), st.integers(1, max_days)).map(
        lambda drawn: (as_of - drawn[0] * DAY, as_of - max(0, drawn[0] - drawn[1]) * DAY)
    )


@settings(max_examples=effort(4, 12, 1000))
@given(history=histories(), draw=st.data())
def test_the_cube_plain_sql_and_the_oracle_agree(history, draw):
    """For any history, policy and range of days, the cube's sums are the distinct counts."""
    spans = [
        *(ranges_before(history.as_of, 30) for _ in range(4)),
        *(ranges_before(history.as_of, 5) for _ in range(4)),
    ]
    ranges = [draw.draw(span) for span in spans]
    with platform(history) as world:
        for entity, records in history.landed.items():
            world.land(entity, records)
        note(json.dumps(history.landed))
        night = world.run(history.as_of, night=EVERYTHING_ALLOWED)  # compares every table with the oracle
        assert audit(world.settings, night.snapshot, 3).differences == []
        judge = world.oracle(history.as_of)
        counted = plain_sql.counted(world.settings.landing, history.as_of, ranges, vars(judge.policy), judge.erased)
        for span, from_sql in zip(ranges, counted, strict=True):
            from_oracle = judge.ranking(*span)
            assert night.top(*span) == from_oracle, span
            measured = [
                (row.creator_id, row.viewers, row.anonymous_viewers, row.sessions, row.watched_seconds)
                for row in from_oracle
            ]
            assert from_sql == measured, span
            event(f"{len(measured)} creators in a range")


@pytest.mark.slow
@settings(max_examples=effort(3, 6, 500))  # each runs two to four nights
@given(
    history=histories(),
    dice=st.randoms(use_true_random=False),
    nights=st.lists(st.integers(-3, 2), max_size=2),
)
def test_any_way_of_arriving_ends_in_the_same_snapshot(history, dice: random.Random, nights):
    """In any order, in any files, repeated, at once or over several nights: the same snapshot id."""
    with platform(history) as world:
        for entity, records in history.landed.items():
            world.land(entity, records)
        note(json.dumps(history.landed))
        at_once = world.run(history.as_of, compare=False, night=EVERYTHING_ALLOWED).snapshot_id

    deliveries = deal(history.records(), dice, len(nights) + 1)
    note(json.dumps(deliveries))
    # What lands for a day in several files is worked out in several parts, some of them by themselves.
    with (
        platform(history) as world,
        mock.patch.object(plan_sessions, "PART_ROWS", dice.choice([1, 2, 3, 100_000])),
        mock.patch.object(plan_states, "BASE_ROWS", dice.choice([1, 2, 3, 100_000])),
    ):
        for night, delivery in zip([*nights, 0], deliveries, strict=True):
            for entity, records in delivery:
                world.land(entity, records)
            done = world.run(history.as_of + night * DAY, compare=False, night=EVERYTHING_ALLOWED)
    assert done.snapshot_id == at_once


Delivery = list[tuple[str, list[dict[str, Any]]]]


def deal(records: list[tuple[str, dict[str, Any]]], dice: random.Random, nights: int) -> list[Delivery]:
    """The records, each once or more often, in up to three files an entity and night, in any order."""
    dealt: list[dict[tuple[str, int], list[dict[str, Any]]]] = [{} for _ in range(nights)]
    for entity, record in records:
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            files = dice.choice(dealt)
            files.setdefault((entity, dice.randrange(3)), []).append(record)
    deliveries = []
    for files in dealt:
        delivery = [(entity, dice.sample(records, len(records))) for (entity, _), records in files.items()]
        dice.shuffle(delivery)
        deliveries.append(delivery)
    return deliveries
