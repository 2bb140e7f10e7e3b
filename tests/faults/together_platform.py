"""A platform on which everything that is published differs from night to night: whatever is mixed can be told apart."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from random import Random

from oracle import Record
from world import World

FIRST_DAY = date(2026, 1, 20)
CREATORS = [f"c{number:02}" for number in range(40)]
USERS = [f"u{number:02}" for number in range(30)]
STREAMS = [f"s{number}" for number in range(8)]
CALLERS = USERS[:3]  # of the API, with a token
LONG_AGO = 1_700_000_000  # seconds since 1970: landed files this old are not read twice


def as_of(night: int) -> date:
    """The as_of of a night, which counts the day before it."""
    return FIRST_DAY + timedelta(days=night + 1)


def land_night(world: World, night: int, seed: str, *, late: bool = False) -> None:
    """Land the day before `as_of(night)`; or, late, more of that day, and newer versions of everything.

    Names, titles and instants carry the night, so that no two snapshots have a row of these in common.
    """
    draw = Random(f"{seed} night {night} {late}")
    label = f"night {night}{' late' if late else ''}"
    noon = datetime.combine(as_of(night) - timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=12)
    updated = _text(noon + timedelta(hours=6 * late))
    landed: dict[str, list[Record]] = {
        "viewing_sessions": [_session(draw, f"{label} {number}", noon) for number in range(20 if late else 80)],
        "creators": [_creator(creator, label, updated) for creator in CREATORS],
        "live_streams": [_stream(stream, label, updated) for stream in STREAMS],
        "pledges": [_pledge(draw, f"{label} {number}", user, updated) for number, user in enumerate(USERS)],
        "follows": [
            {"userId": user, "creatorId": creator, "updatedAt": updated, "deleted": draw.random() < 0.5}
            for user in CALLERS
            for creator in CREATORS[::3]
        ],
        "lls_streams": [_lls_stream(number, label, updated) for number in range(6)],
    }
    for entity, records in landed.items():
        os.utime(world.land(entity, records), (LONG_AGO, LONG_AGO))


def _session(draw: Random, session_id: str, noon: datetime) -> Record:
    started = noon + timedelta(minutes=draw.randrange(-300, 300))
    return {
        "sessionId": session_id,
        "creatorId": CREATORS[min(int(draw.expovariate(0.08)), len(CREATORS) - 1)],
        "viewerId": draw.choice(USERS),
        "startedAt": _text(started),
        "endedAt": _text(started + timedelta(minutes=draw.randrange(1, 90))),
    }


def _creator(creator_id: str, label: str, updated: str) -> Record:
    photo = {"_id": f"photo of {creator_id}", "url": f"https://cdn.example/{creator_id}/{label}.webp", "type": "image"}
    return {
        "_id": creator_id,
        "username": f"{creator_id} {label}",
        "name": f"Çağla, {label}",
        "status": "active",
        "profilePhoto": photo,
        "updatedAt": updated,
    }


def _stream(stream_id: str, label: str, updated: str) -> Record:
    return {
        "id": stream_id,
        "creatorId": CREATORS[int(stream_id[1:])],
        "status": "scheduled",
        "title": f"{stream_id} {label}",
        "fundingGoal": 1000,
        "currency": "TRY",
        "plannedStartDate": updated,
        "updatedAt": updated,
    }


def _pledge(draw: Random, pledge_id: str, user: str, captured: str) -> Record:
    return {
        "pledgeId": pledge_id,
        "userId": user,
        "streamId": draw.choice(STREAMS),
        "amount": draw.choice([5, 10.5, 20]),
        "currency": "TRY",
        "status": "captured",
        "capturedAt": captured,
        "updatedAt": captured,
    }


def _lls_stream(number: int, label: str, updated: str) -> Record:
    return {
        "id": f"l{number}",
        "domain": f"d{number % 2}.example",
        "app": "live",
        "stream": label,
        "created": f"2026-01-01T00:00:0{number}Z",
        "updated": updated,
        "status": "banned" if number == 5 else "active",
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
