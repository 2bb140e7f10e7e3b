"""Follows, pledges and rentals are folded: whichever files are the base, and over however many nights it came to be.

Every night of every history is compared with the oracle, which counts all records again.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from derived import NamedByRows
from effort import effort
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from world import Night, World

from pipelines.lake import plan_states
from pipelines.lake.engines import duckdb, writing

AS_OF = date(2026, 1, 31)
EVERYTHING_ALLOWED = {"accept_rejects": True, "allow_incomplete": True}
VERSIONS = ("follow_versions", "pledge_versions", "replay_rental_versions")
STREAMS = ("x", "y", "z")
USERS = ("ann", "ben", "eve")


def record(draw: random.Random, entity: str) -> dict[str, Any]:
    """A record of few keys, instants and contents: most have versions, many are repeated or in conflict."""

    def at() -> str | None:
        moment = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(days=draw.choice([-9, -2, -2, -1, 0, 1]))
        return draw.choice([None, moment.isoformat().replace("+00:00", "Z")])

    user, stream = draw.choice(USERS), draw.choice(STREAMS)
    made: Mapping[str, Mapping[str, Any]] = {
        "erasures": {"userId": user},
        "live_streams": {
            "id": stream,
            "creatorId": "ada",
            "status": draw.choice(["scheduled", "ended"]),
            "currency": draw.choice([None, "TRY", "EUR"]),
            "fundingGoal": 30,
            "updatedAt": at(),
        },
        "follows": {
            "userId": user,
            "creatorId": draw.choice(["ada", "bob"]),
            "deleted": draw.random() < 0.3,
            "followedAt": at(),
            "updatedAt": at(),
        },
        "replay_rentals": {
            "userId": user,
            "streamId": stream,
            "rentedAt": "2026-01-01T00:00:00Z",
            "expiresAt": at() or "2026-03-01T00:00:00Z",
            "price": draw.choice([None, 5]),
            "updatedAt": at(),
        },
        "pledges": {
            "pledgeId": draw.choice(["p1", "p2", "p3"]),
            "userId": user,
            "streamId": stream,
            "amount": 10,
            "status": draw.choice(["pending", "captured", "captured", "refunded", "failed"]),
            "currency": draw.choice([None, "TRY", "EUR"]),
            "capturedAt": at() or "2026-01-02T00:00:00Z",
            "refundedAt": at(),
            "refundedAmount": draw.choice([None, 10, 5]),
            "updatedAt": at(),
        },
    }
    return {name: value for name, value in made[entity].items() if value is not None}


def landings(draw: random.Random, nights: int) -> list[list[tuple[str, list[dict[str, Any]]]]]:
    """What lands before each night: files of new records, and full exports of all that landed before."""
    before: dict[str, list[dict[str, Any]]] = {}
    dealt = []
    for _ in range(nights):
        files = []
        for _ in range(draw.randint(0, 4)):
            entity = draw.choice(["follows", "follows", "pledges", "pledges", "replay_rentals", "live_streams"])
            records = [record(draw, entity) for _ in range(draw.randint(1, 4))]
            if draw.random() < 0.3:
                records += draw.sample(before.get(entity, []), len(before.get(entity, [])))
            before.setdefault(entity, []).extend(records)
            files.append((entity, records))
        if draw.random() < 0.2:
            files.append(("erasures", [record(draw, "erasures")]))
        dealt.append(files)
    return dealt


def rentals_are_right(night: Night) -> None:
    """What `World.compare` does not look at."""
    right = night.world.oracle(night.snapshot.as_of).rentals
    rows = night.rows("private/replay_rentals.parquet")
    found = {(row["user_id"], row["stream_id"]): row["expires_at"] for row in rows}
    assert found == {
        (rental["userId"], rental["streamId"]): datetime.fromtimestamp(rental["expiresAt"] / 1000, UTC)
        for rental in right
    }


@pytest.mark.slow
@settings(max_examples=effort(3, 6, 500))
@given(
    draw=st.randoms(use_true_random=False),
    base_rows=st.sampled_from([1, 2, 3, 5, 8]),
    slice_rows=st.sampled_from([1, 2, 1 << 20]),
    nights=st.lists(st.integers(-2, 2), min_size=2, max_size=4),
)
def test_every_night_over_any_base_is_what_all_records_say(draw, base_rows, slice_rows, nights):
    """With versions known later, erasures, other currencies, exports again and nights out of order; and no name stands
    for other rows where all of it is worked out at once, nor where tables are worked out slice by slice."""
    dealt = landings(draw, len(nights))
    note(dealt)
    names = NamedByRows()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(plan_states, "BASE_ROWS", base_rows):
        world, at_once = World(Path(folder) / "nights"), World(Path(folder) / "at_once")
        for each in (world, at_once):
            each.land("viewing_sessions", "creator | viewer | started_at | minutes\nada | ann | 2026-01-05 10:00 | 5")
        for as_of, files in zip(nights, dealt, strict=True):
            for entity, records in files:
                for each in (world, at_once):
                    each.land(entity, records)
            with (
                mock.patch.object(duckdb, "SLICE_ROWS", slice_rows),
                mock.patch.object(writing, "ROW_GROUP_ROWS", slice_rows),
            ):
                night = world.run(AS_OF + timedelta(days=as_of), night=EVERYTHING_ALLOWED)
            rentals_are_right(night)
            names.look_at(world.settings.lake)
        last = at_once.run(AS_OF + timedelta(days=nights[-1]), night=EVERYTHING_ALLOWED)
        assert last.snapshot_id == night.snapshot_id
        assert names.look_at(at_once.settings.lake)
        event(f"{sum(name.startswith(VERSIONS) for name in names.digests)} files of versions")
