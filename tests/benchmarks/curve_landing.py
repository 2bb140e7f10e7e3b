"""Land what the curves grow by: `python -m tests.benchmarks.curve_landing KIND LANDING SIZE`.

A process of its own, so that whoever starts contenders imports nothing large.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl

from tests.benchmarks.curves import LINES
from tests.benchmarks.workload import AS_OF

DAYS = 10  # on which the sessions of a home lie


def _sessions(count: int, creators: int, people: int) -> pl.DataFrame:
    """So many sessions of ten minutes on DAYS days."""
    number = pl.int_range(count)
    days = pl.lit(AS_OF - timedelta(days=DAYS + 1)).cast(pl.Datetime("ms", "UTC")) + pl.duration(days=number % DAYS)
    started = days + pl.duration(seconds=number % 80_000)
    return pl.select(
        sessionId=pl.format("s{}", number),
        creatorId=pl.format("c{}", number * 7919 % creators),
        viewerId=pl.format("v{}", number * 104_729 % people),
        startedAt=started,
        endedAt=started + pl.duration(minutes=10),
    )


def _write(landing: Path, entity: str, name: str, table: pl.DataFrame) -> None:
    path = landing / entity / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).write_ndjson(path)


def small_files(landing: Path, files: int) -> None:
    """LINES sessions in so many files of the same size."""
    table = _sessions(LINES, 200, 2_000)
    for number in range(files):
        start = number * LINES // files
        part = table.slice(start, (number + 1) * LINES // files - start)
        _write(landing, "viewing_sessions", f"{number:06}.ndjson", part)


def sessions(landing: Path, count: int) -> None:
    """Sessions alone."""
    _write(landing, "viewing_sessions", "all.parquet", _sessions(count, 200, count // 10))


def creators(landing: Path, count: int) -> None:
    """Creators, each with two sessions."""
    number = pl.int_range(count)
    table = pl.select(_id=pl.format("c{}", number), username=pl.format("Creator {}", number))
    _write(landing, "creators", "all.parquet", table)
    _write(landing, "viewing_sessions", "all.parquet", _sessions(2 * count, count, count // 2))


def follows(landing: Path, count: int, first: int = 0) -> None:
    """So many people who follow one creator each."""
    number = pl.int_range(first, first + count)
    at = pl.lit(AS_OF - timedelta(days=20)).cast(pl.Datetime("ms", "UTC"))
    table = pl.select(userId=pl.format("u{}", number), creatorId=pl.format("c{}", number % 200), followedAt=at)
    _write(landing, "follows", f"from {first}.parquet", table)
    if not first:
        sessions(landing, 1_000)


def one_follow(landing: Path, count: int) -> None:
    follows(landing, 1, count)


def pledges(landing: Path, count: int, first: int = 0) -> None:
    """So many pledges, ten a stream."""
    number = pl.int_range(first, first + count)
    at = pl.lit(AS_OF - timedelta(days=20)).cast(pl.Datetime("ms", "UTC"))
    table = pl.select(
        pledgeId=pl.format("p{}", number),
        userId=pl.format("u{}", number % 5_000),
        streamId=pl.format("l{}", number // 10),
        amount=pl.lit("5.00"),
        currency=pl.lit("TRY"),
        status=pl.lit("captured"),
        capturedAt=at,
        updatedAt=at,
    )
    _write(landing, "pledges", f"from {first}.parquet", table)
    if not first:
        sessions(landing, 1_000)


def one_pledge(landing: Path, count: int) -> None:
    pledges(landing, 1, count)


def _nested(landing: Path, entity: str, count: int) -> None:
    """Records of an entity as NDJSON, with the fields that platforms fill."""
    at = f"{AS_OF - timedelta(days=10)}T10:00:00Z"
    person = {"_id": "p", "username": "ada", "profilePhoto": {"_id": "f", "url": "https://x/y", "type": "image"}}
    records = {
        "creators": lambda n: {"_id": f"c{n}", "username": f"Creator {n}", "name": "Ada", "surname": "L",
                               "profilePhoto": {"_id": f"f{n}", "url": "https://x/y", "type": "image", "variants": {},
                                                "createdAt": at, "updatedAt": at},
                               "expertise": "art", "status": "active", "updatedAt": at},
        "live_streams": lambda n: {"id": f"l{n}", "creatorId": f"c{n % 200}", "status": "scheduled", "title": "t",
                                   "liveStreamType": "single", "broadcasters": [person], "guests": [], "price": 9.99,
                                   "plannedStartDate": at, "createdAt": at, "updatedAt": at, "fundingGoal": 500,
                                   "currency": "TRY", "miniCrowdFundings": []},
        "lls_streams": lambda n: {"id": f"x{n}", "domain": "d", "app": "a", "stream": f"s{n}", "created": at,
                                  "status": "active"},
        "pledges": lambda n: {"pledgeId": f"p{n}", "userId": f"u{n}", "streamId": f"l{n % 99}", "amount": 5.25,
                              "currency": "TRY", "status": "captured", "capturedAt": at, "updatedAt": at},
        "viewing_sessions": lambda n: {"sessionId": f"s{n}", "creatorId": f"c{n % 200}", "viewerId": f"v{n % 999}",
                                       "startedAt": at, "endedAt": at},
        "follows": lambda n: {"userId": f"u{n}", "creatorId": f"c{n % 200}", "followedAt": at},
    }  # fmt: skip
    path = landing / entity / "all.ndjson"
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        file.writelines(json.dumps(records[entity](number)) + "\n" for number in range(count))


def one_night(landing: Path, number: int) -> None:
    """A few sessions on the day of the night of that number."""
    started = pl.lit(AS_OF + timedelta(days=number - 1)).cast(pl.Datetime("ms", "UTC"))
    table = pl.select(
        sessionId=pl.format("n{}-{}", pl.lit(number), pl.int_range(10)),
        creatorId=pl.format("c{}", pl.int_range(10) % 5),
        viewerId=pl.format("v{}", pl.int_range(10) % 5),
        startedAt=started,
        endedAt=started + pl.duration(minutes=10),
    )
    _write(landing, "viewing_sessions", f"night {number}.parquet", table)


KINDS: dict[str, Callable[[Path, int], None]] = {
    each.__name__: each
    for each in (small_files, sessions, creators, follows, one_follow, pledges, one_pledge, one_night)
} | {
    f"nested {entity}": lambda landing, count, entity=entity: _nested(landing, entity, count)  # type: ignore[misc]
    for entity in ("creators", "live_streams", "lls_streams", "pledges", "viewing_sessions", "follows")
}


if __name__ == "__main__":
    KINDS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
