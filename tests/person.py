"""Somebody who is to be forgotten, in every kind of record; and a search for what still holds their id.

The search looks through every file there is: its bytes, what archives unpack to, and every value that Parquet and
DuckDB files hold. It shares no code with the one that the command makes itself.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from world import World

USER = "usr-7f3a'\"ö"  # no other text holds it, and it is spelt differently in JSON, CSV and SQL
DEVICE = "dev-19c2"  # only theirs


def sessions(viewer: str, number: int, **more: Any) -> dict[str, Any]:
    start = f"2026-01-{number + 4:02}T10:00:00Z"
    end = f"2026-01-{number + 4:02}T10:05:00Z"
    return {
        "sessionId": f"s{number}",
        "creatorId": "ada",
        "viewerId": viewer,
        "startedAt": start,
        "endedAt": end,
        **more,
    }


def platform(world: World) -> None:
    """USER in every entity, format, version and state that a record can be in; others beside them."""
    world.land("viewing_sessions", [sessions(USER, 1, deviceId=DEVICE), sessions("ben", 2), sessions("cem", 3)])
    world.land(
        "viewing_sessions", [sessions(USER, 4, creatorId="bob"), sessions(USER, 4, creatorId="bob")], "days.ndjson"
    )
    # Versions: of theirs that somebody else's came after, and the other way round; of the same age, told by the viewer.
    world.land("viewing_sessions", [sessions(USER, 5, revision=0), sessions("ben", 5, revision=1)])
    world.land("viewing_sessions", [sessions("ben", 6, revision=0), sessions(USER, 6, revision=1, creatorId="bob")])
    world.land("viewing_sessions", [sessions(USER, 7), sessions("zoe", 7), sessions(USER, 8), sessions("abe", 8)])
    world.land("live_streams", "stream | creator | funding_goal | currency\ns1 | ada | 100 | TRY")
    world.land(
        "pledges",
        [
            {"pledgeId": f"p{n}", "userId": who, "streamId": "s1", "amount": 10 + n, "currency": "TRY",
             "status": "captured", "capturedAt": "2026-01-10T10:00:00Z"}
            for n, who in enumerate([USER, "ben", USER])
        ],
    )  # fmt: skip
    for who in (USER, "ben"):
        world.land("follows", [{"userId": who, "creatorId": "ada", "updatedAt": "2026-01-10T10:00:00Z"}])
        rental = {"userId": who, "streamId": "s1", "rentedAt": "2026-01-10T10:00:00Z"}
        world.land("replay_rentals", [rental | {"expiresAt": "2026-01-12T10:00:00Z"}])


def other_formats(world: World) -> None:
    """The same person in CSV, archives, Parquet and lines that are rejected; the oracle does not learn of these."""
    folder = world.settings.landing / "viewing_sessions"
    quoted = USER.replace('"', '""')
    header = "sessionId,creatorId,viewerId,startedAt\n"
    (folder / "a.csv").write_text(f'{header}c1,ada,"{quoted}",2026-01-20T10:00:00Z\nc2,ada,ben,2026-01-20T10:00:00Z\n')
    lines = [sessions(USER, 20, sessionId="g1"), sessions("ben", 20, sessionId="g2")]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(text))
    (folder / "c.ndjson.zst").write_bytes(zstandard.compress(text.replace(b'"g', b'"z')))
    rows = {"sessionId": ["q1", "q2"], "creatorId": ["ada"] * 2, "viewerId": [USER, "ben"]}
    at = pa.array([datetime(2026, 1, 21, tzinfo=UTC)] * 2, pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table(rows | {"startedAt": at}), folder / "d.parquet")
    bad = [sessions(USER, 21, startedAt="yesterday"), sessions("ben", 21, startedAt="yesterday")]
    escaped = json.dumps(bad[0]).replace("usr", "\\u0075sr").replace("s21", "s22")
    broken = f'{{"viewerId": "{USER}", "sessionId"'
    world.land_text("viewing_sessions", "".join(json.dumps(each) + "\n" for each in bad) + f"{escaped}\n{broken}\n")


def one_byte(path: Path) -> None:
    """Let one be another, in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


SPOILT = [  # what can become of a file on a disk
    pytest.param(one_byte, id="a byte"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-100]), id="its end"),
    pytest.param(Path.unlink, id="gone"),
]


def spelt(user: str) -> list[str]:
    return [user, json.dumps(user)[1:-1], json.dumps(user, ensure_ascii=False)[1:-1], user.replace('"', '""')]


def texts(path: Path) -> Iterator[str]:
    """Everything that a file says, in every way of reading it."""
    content = path.read_bytes()
    yield content.decode("utf-8", "replace")
    if path.suffix == ".gz":
        yield gzip.decompress(content).decode()
    elif path.suffix == ".zst":
        yield zstandard.decompress(content, max_output_size=1 << 24).decode()
    elif path.suffix == ".parquet":
        yield str(pq.read_table(path).to_pylist())
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as database:
            for (table,) in database.execute("select table_name from duckdb_tables()").fetchall():
                yield str(database.execute(f'from "{table}"').fetchall())


def holding(home: Path, *ids: str) -> list[str]:
    """The files under home that hold one of these, in whatever spelling."""
    wanted = {spelling for each in ids for spelling in (*spelt(each), repr(each)[1:-1])}
    files = [path for path in home.rglob("*") if path.is_file()]
    return sorted(
        str(path.relative_to(home))
        for path in files
        if any(word in text for text in (str(path), *texts(path)) for word in wanted)
    )
