"""A platform of random records in which ids, instants and versions collide often. See world.py for the platform."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from oracle import Record
from world import World

FIRST = datetime(2025, 12, 20, tzinfo=UTC)
END = datetime(2026, 2, 2, tzinfo=UTC)  # after world.AS_OF
DAYS = 44
CREATORS = ("ada", "bob", "eve", "mal", "çağ")
USERS = ("v1", "v2", "v3", "v4", "v5", "gone", "ada")
STREAMS = ("s1", "s2", "s3")

# Versions that only their content puts in order: chance makes those of the other entities.
_CONFLICTING: dict[str, list[Record]] = {
    "live_streams": [
        {"id": "s1", "creatorId": "ada", "status": "ended", "title": title, "updatedAt": "2026-01-01T00:00:00Z"}
        for title in ("a", "b")
    ],
    "follows": [
        {"userId": "v1", "creatorId": "ada", "followedAt": at, "updatedAt": "2026-01-01T00:00:00Z"}
        for at in ("2025-12-20T00:00:00Z", "2025-12-21T00:00:00Z")
    ],
    "lls_streams": [
        {
            "id": "l1",
            "domain": domain,
            "app": "live",
            "stream": "one",
            "created": "2026-01-01T00:00:00Z",
            "status": "active",
        }
        for domain in ("d.example", "e.example")
    ],
}


def land_noise(world: World, seed: int, sessions: int = 300, days: int = DAYS) -> None:
    """Land `sessions` session records over the last `days` days and some of every other entity, a file an entity."""
    draw = Random(seed)
    land_sessions(world, draw, sessions, days)
    world.land("creators", [_creator(draw) for _ in range(14)])
    world.land("live_streams", [_live_stream(draw) for _ in range(8)] + _CONFLICTING["live_streams"])
    world.land("pledges", [_pledge(draw) for _ in range(60)])
    world.land("follows", [_follow(draw) for _ in range(20)] + _CONFLICTING["follows"])
    world.land("replay_rentals", [_rental(draw) for _ in range(12)])
    world.land("lls_streams", [_lls_stream(draw) for _ in range(8)] + _CONFLICTING["lls_streams"])
    world.land("erasures", [{"userId": "gone"}])


def land_sessions(world: World, draw: Random, count: int, days: int = DAYS) -> None:
    """Land one file of random sessions, a tenth of them twice."""
    drawn = [session(draw, count, days) for _ in range(count)]
    world.land("viewing_sessions", drawn + draw.sample(drawn, count // 10))


def session(draw: Random, ids: int, days: int = DAYS) -> Record:
    """A random session, often a version or a copy of another one."""
    started = END - timedelta(minutes=draw.randrange(1, days * 24 * 60))
    length = draw.choice([0, 1, 600, 3600, 20_000, 80_000, 100_000])
    return {
        "sessionId": f"s{draw.randrange(ids)}",
        "source": draw.choice(["", "", "app"]),
        "revision": draw.randrange(3),
        "creatorId": draw.choice(CREATORS),
        "viewerId": draw.choice([*USERS, None]),
        "deviceId": draw.choice(["d1", "d2", None]),
        "startedAt": _text(started),
        "endedAt": draw.choice([_text(started + timedelta(seconds=length)), None]),
        "deleted": draw.random() < 0.05,
    }


def _creator(draw: Random) -> Record:
    return {
        "_id": draw.choice(CREATORS[:-1]),
        "username": draw.choice(["a", "b"]),
        "status": draw.choice(["active", "banned", None]),
        "updatedAt": _some_instant(draw),
    }


def _live_stream(draw: Random) -> Record:
    return {
        "id": draw.choice(STREAMS),
        "creatorId": draw.choice(CREATORS),
        "status": draw.choice(["scheduled", "ended"]),
        "fundingGoal": draw.choice([None, 0, 100, 33.33]),
        "currency": "TRY",
        "updatedAt": _some_instant(draw),
    }


def _pledge(draw: Random) -> Record:
    status = draw.choice(["pending", "captured", "captured", "refunded"])
    return {
        "pledgeId": f"p{draw.randrange(40)}",
        "userId": draw.choice(USERS),
        "streamId": draw.choice([*STREAMS, *STREAMS, "unknown"]),
        "amount": draw.choice([5, 10.5, 20]),
        "currency": draw.choice([None, "TRY", "TRY", "TRY", "USD"]),
        "status": status,
        "capturedAt": None if status == "pending" else _some_instant(draw),
        "refundedAt": _some_instant(draw) if status == "refunded" else None,
        "refundedAmount": draw.choice([None, 5]) if status == "refunded" else None,
        "updatedAt": _some_instant(draw),
    }


def _follow(draw: Random) -> Record:
    return {
        "userId": draw.choice(USERS),
        "creatorId": draw.choice(CREATORS),
        "deleted": draw.random() < 0.2,
        "updatedAt": _some_instant(draw),
    }


def _rental(draw: Random) -> Record:
    rented = FIRST + timedelta(days=draw.randrange(3))
    return {
        "userId": draw.choice(USERS),
        "streamId": draw.choice(STREAMS),
        "rentedAt": _text(rented),
        "expiresAt": _text(rented + timedelta(days=draw.randrange(1, 3))),
        "price": draw.choice([None, 5]),
    }


def _lls_stream(draw: Random) -> Record:
    return {
        "id": f"l{draw.randrange(4)}",
        "domain": "d.example",
        "app": "live",
        "stream": "one",
        "created": _some_instant(draw),
        "status": draw.choice(["active", "banned"]),
    }


def _some_instant(draw: Random) -> str:
    return _text(FIRST + timedelta(days=draw.randrange(20), hours=draw.randrange(2)))


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
