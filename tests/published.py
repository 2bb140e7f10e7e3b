"""Writes small, real snapshot folders: Parquet tables, manifest.json, current.json.

Row by row and by hand, with nothing of the pipeline but the snapshot's own name, so that these tests judge the API and
not the night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core import durable_files
from pipelines.core.completeness import Completeness
from pipelines.core.row_digest import row_digest
from pipelines.core.settings import Policy
from pipelines.snapshots import manifest as snapshots

Row = Mapping[str, Any]

ALL_LANDED = Completeness(date(2026, 1, 1))

_TS = pa.timestamp("ms", tz="UTC")
_MONEY = pa.decimal128(18, 2)

_TYPES: dict[str, dict[str, pa.DataType]] = {
    "creator_rankings.parquet": {
        "window_days": pa.int16(),
        "position": pa.int32(),
        "rank": pa.int32(),
        "creator_id": pa.string(),
        "viewers": pa.int64(),
        "anonymous_viewers": pa.int64(),
        "sessions": pa.int64(),
        "watched_seconds": pa.int64(),
        "previous_rank": pa.int32(),
    },
    "creators.parquet": dict.fromkeys(
        [
            "creator_id",
            "username",
            "name",
            "surname",
            "availability_status",
            "profile_photo_id",
            "profile_photo_url",
            "profile_photo_type",
            "profile_photo_variants",
        ],
        pa.string(),
    )
    | {"profile_photo_created_at": _TS, "profile_photo_updated_at": _TS}
    | {"expertise": pa.string(), "status": pa.string(), "updated_at": _TS},
    "live_streams.parquet": dict.fromkeys(
        [
            "stream_id",
            "creator_id",
            "status",
            "title",
            "live_stream_type",
            "channel_name",
            "broadcasters",
            "guests",
            "thumbnail_url",
        ],
        pa.string(),
    )
    | {"recording": pa.bool_(), "recording_url": pa.string(), "access_type": pa.string(), "price": _MONEY}
    | {"interest": pa.string(), "duration_goal": _MONEY, "motivation": pa.string()}
    | {"is_active_replay_on_creator_profile": pa.bool_(), "replay_credit_price": _MONEY}
    | dict.fromkeys(
        ["started_at", "planned_start_date", "ended_at", "planned_end_date", "created_at", "updated_at"], _TS
    )
    | {"funding_goal": _MONEY, "currency": pa.string(), "mini_crowd_fundings": pa.string()},
    "live_stream_funding.parquet": {
        "stream_id": pa.string(),
        "creator_id": pa.string(),
        "funding_goal": _MONEY,
        "collected_funding": _MONEY,
        "currency": pa.string(),
        "funding_percentage": pa.int64(),
        "backers": pa.int64(),
    },
    "lls_streams.parquet": {
        "stream_id": pa.string(),
        "domain": pa.string(),
        "app": pa.string(),
        "stream": pa.string(),
        "created_at": _TS,
        "updated_at": _TS,
        "latest_streaming_at": _TS,
        "status": pa.string(),
    },
    "private/follows.parquet": {"user_id": pa.string(), "creator_id": pa.string()},
    "private/funded_streams.parquet": {"user_id": pa.string(), "stream_id": pa.string()},
    "private/replay_rentals.parquet": {
        "user_id": pa.string(),
        "stream_id": pa.string(),
        "rented_at": _TS,
        "expires_at": _TS,
        "price": _MONEY,
    },
}


_REACH = {
    "day": pa.date32(),
    "creator_id": pa.string(),
    "is_signed_in": pa.bool_(),
    "gap_days": pa.int16(),
    "viewers": pa.int64(),
    "sessions_started": pa.int64(),
    "sessions_carried_in": pa.int64(),
    "watched_milliseconds": pa.int64(),
}


def ts(text: str) -> datetime:
    """2026-01-15T10:30:00.000Z as a value."""
    return datetime.fromisoformat(text).astimezone(UTC)


def ranked(*creator_ids: str, window_days: int = 30) -> list[Row]:
    """Rows of creator_rankings in that order."""
    return [
        {"window_days": window_days, "position": at, "rank": at, "creator_id": creator_id, "viewers": 1000 - at}
        for at, creator_id in enumerate(creator_ids, 1)
    ]


def publish(
    home: Path,
    tables: Mapping[str, Iterable[Row]] | None = None,
    *,
    as_of: str = "2026-11-21",
    windows: tuple[int, ...] = (1, 7, 30),
    newest_session_at: str | None = "2026-11-20T23:59:58.000Z",
    completeness: Completeness | None = ALL_LANDED,
    published_at: datetime | None = None,
    move_pointer: bool = True,
) -> str:
    """Write one snapshot with the given rows (a table not named is empty) and move current.json; return its id.

    `tables` is by short name: "creators", "private/follows". Absent columns are null. With "creator_reach" the snapshot
    holds a file for every day of the cube; without, it holds none.
    """
    given = {f"{name}.parquet": list(rows) for name, rows in (tables or {}).items() if name != "creator_reach"}
    types_of = dict(_TYPES)
    if tables is not None and "creator_reach" in tables:
        end = date.fromisoformat(as_of)
        for day in (end - timedelta(days=back) for back in range(91, 0, -1)):
            given[f"creator_reach/{day}.parquet"] = [row for row in tables["creator_reach"] if row["day"] == day]
            types_of[f"creator_reach/{day}.parquet"] = _REACH
    assert given.keys() <= types_of.keys(), given.keys() - types_of.keys()
    folder = home / "snapshots"
    building = folder / ".tmp-building"
    for part in ("private", "creator_reach"):
        (building / part).mkdir(parents=True)
    files = {}
    for name, types in types_of.items():
        rows = given.get(name, [])
        assert all(row.keys() <= types.keys() for row in rows), (name, rows)
        table = pa.table({column: pa.array([row.get(column) for row in rows], kind) for column, kind in types.items()})
        pq.write_table(table, building / name)
        content = (building / name).read_bytes()
        files[name] = {
            "rows": len(rows),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "rows_sha256": row_digest(table),
        }
    policy = Policy(windows=windows).as_json()
    digests = {name: str(facts["rows_sha256"]) for name, facts in files.items()}
    snapshot_id = snapshots.snapshot_id_of(date.fromisoformat(as_of), policy, digests)
    manifest = {
        "schema_version": 1,
        "snapshot_id": snapshot_id,
        "as_of": as_of,
        "windows": list(windows),
        "policy": policy,
        "files": files,
        "landed": [],
        "freshness": {"newest_session_at": newest_session_at},
        **({"completeness": completeness.as_json()} if completeness else {}),
    }
    content = durable_files.json_bytes(durable_files.with_checksum(manifest))
    (building / "manifest.json").write_bytes(content)
    if (folder / snapshot_id).exists():
        for path in sorted(building.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        building.rmdir()
    else:
        building.rename(folder / snapshot_id)
    if move_pointer:
        point(home, snapshot_id, published_at or datetime.now(UTC))
    return snapshot_id


def point(home: Path, snapshot_id: str, published_at: datetime) -> None:
    """Move current.json, the way the night does: a new file, renamed."""
    folder = home / "snapshots"
    manifest = (folder / snapshot_id / "manifest.json").read_bytes()
    pointer = {
        "snapshot_id": snapshot_id,
        "published_at": published_at.isoformat().replace("+00:00", "Z"),
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "pinned": False,
        "landed": [],
    }
    (folder / ".tmp-current").write_bytes(durable_files.json_bytes(durable_files.with_checksum(pointer)))
    (folder / ".tmp-current").replace(folder / "current.json")


# --- the platform of the documents' examples ---

CREATOR_ID = "64d15f9e2e6c8f4d5a123456"

CREATOR: Row = {
    "creator_id": CREATOR_ID,
    "username": "johndoe",
    "name": "John",
    "surname": "Doe",
    "availability_status": "available",
    "profile_photo_id": "507f1f77bcf86cd799439012",
    "profile_photo_url": "https://example.com/uploads/images/profile.jpg",
    "profile_photo_type": "image",
    "profile_photo_variants": (
        '{"40":"https://cdn.example.com/profiles/user/40.webp","76":"https://cdn.example.com/profiles/user/76.webp"}'
    ),
    "profile_photo_created_at": ts("2024-01-15T10:30:00.000Z"),
    "profile_photo_updated_at": ts("2024-01-15T12:30:00.000Z"),
    "expertise": "Photography",
}

_JANUARY = ts("2026-01-15T10:30:00.000Z")

STREAM: Row = {
    "stream_id": CREATOR_ID,  # the example gives the stream and its creator one id
    "creator_id": CREATOR_ID,
    "status": "scheduled",
    "title": "Yeni ürün tanıtımı",
    "live_stream_type": "solo",
    "channel_name": "yeni-urun-tanitimi-1a2b",
    "broadcasters": "[]",
    "guests": None,
    "thumbnail_url": "https://cdn.example.com/stream/thumbnail.png",
    "recording": False,
    "recording_url": "https://cdn.example.com/stream/archive.mp4",
    "access_type": "free",
    "price": Decimal("9.99"),
    "interest": "music",
    "duration_goal": Decimal("60.00"),
    "motivation": "Bu yayında müzik hakkında konuşacağım ve sizlerle deneyimlerimi paylaşacağım.",
    "is_active_replay_on_creator_profile": None,
    "replay_credit_price": None,
    "started_at": _JANUARY,
    "planned_start_date": _JANUARY,
    "ended_at": _JANUARY,
    "planned_end_date": _JANUARY,
    "created_at": _JANUARY,
    "updated_at": _JANUARY,
    "funding_goal": Decimal("1000.00"),
    "currency": "USD",
    "mini_crowd_fundings": None,
}

FUNDING: Row = {
    "stream_id": CREATOR_ID,
    "creator_id": CREATOR_ID,
    "funding_goal": Decimal("1000.00"),
    "collected_funding": Decimal("500.00"),
    "currency": "USD",
    "funding_percentage": 50,
    "backers": 2,
}

LLS_ACTIVE: Row = {
    "stream_id": "d290f1ee-6c54-4b01-90e6-d701748f0851",
    "domain": "live.example.com",
    "app": "live",
    "stream": "stream101",
    "created_at": ts("2025-07-11T14:20:00Z"),
    "updated_at": None,
    "latest_streaming_at": ts("2025-07-11T14:20:00Z"),
    "status": "active",
}

LLS_BANNED: Row = {
    "stream_id": "f8b5c1a0-3d2e-5f4a-9b8c-1a2b3c4d5e6f",
    "domain": "live.example.com",
    "app": "vod",
    "stream": "movie-night",
    "created_at": ts("2025-07-11T14:25:00Z"),
    "updated_at": ts("2025-07-11T14:28:00.999Z"),  # cut, not rounded
    "latest_streaming_at": ts("2025-07-11T14:28:00Z"),
    "status": "banned",
}

FOLLOWER = "507f191e810c19729de860ea"  # follows the example's creator
STRANGER = "507f191e810c19729de860eb"  # follows nobody, has funded nothing


def reached(day: str, creator_id: str, viewers: int, gap: int | None = None, **more: Any) -> Row:
    """A row of the cube: so many signed-in viewers, each with one session of a minute."""
    return {
        "day": date.fromisoformat(day),
        "creator_id": creator_id,
        "is_signed_in": True,
        "gap_days": gap,
        "viewers": viewers,
        "sessions_started": viewers,
        "sessions_carried_in": 0,
        "watched_milliseconds": 60_000 * viewers,
    } | more


EXAMPLE: dict[str, list[Row]] = {
    "creator_rankings": ranked(CREATOR_ID),
    "creator_reach": [reached("2026-11-19", CREATOR_ID, 3), reached("2026-11-20", CREATOR_ID, 2, gap=1)],
    "creators": [CREATOR],
    "live_streams": [STREAM],
    "live_stream_funding": [FUNDING],
    "lls_streams": [LLS_ACTIVE, LLS_BANNED],
    "private/follows": [{"user_id": FOLLOWER, "creator_id": CREATOR_ID}],
    "private/funded_streams": [{"user_id": CREATOR_ID, "stream_id": CREATOR_ID}],
    "private/replay_rentals": [
        {"user_id": CREATOR_ID, "stream_id": CREATOR_ID, "rented_at": _JANUARY, "expires_at": _JANUARY}
        | {"price": Decimal("50.00")}
    ],
}


def many(count: int, label: str = "") -> dict[str, list[Row]]:
    """A ranking of `count` creators c0001 … whose usernames carry the label; only every second one has a profile."""
    names = [f"c{at:04}" for at in range(1, count + 1)]
    profiles: list[Row] = [{"creator_id": name, "username": f"{name}{label}"} for name in names[::2]]
    return {"creator_rankings": ranked(*names), "creators": profiles}
