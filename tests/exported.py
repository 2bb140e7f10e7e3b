"""A small platform in the tables and names of somebody else's database, and what it is once it has landed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.raw.catalog import raw_files

AS_OF = date(2026, 3, 10)
RECIPES = Path(__file__).parents[1] / "docs" / "how-to" / "land-exports.md"
Rows = list[dict[str, Any]]


def at(hour: int, minute: int = 0, ms: int = 0) -> datetime:
    return datetime(2026, 3, 9, hour, minute, 0, ms * 1000, tzinfo=UTC)


def oid(number: int) -> str:
    return f"65ec2a{number:018x}"


SESSIONS: Rows = [
    {"id": oid(1), "user_id": oid(11), "device_id": None, "channel_id": oid(21), "stream_id": oid(31),
     "started_at": at(10), "ended_at": at(10, 30, 500), "is_deleted": False, "version": 0},
    {"id": oid(2), "user_id": oid(12), "device_id": "d-2", "channel_id": oid(21), "stream_id": None,
     "started_at": at(11), "ended_at": None, "is_deleted": False, "version": 1},
    {"id": oid(3), "user_id": None, "device_id": "d-3", "channel_id": oid(22), "stream_id": None,
     "started_at": at(12, 5), "ended_at": at(12, 45), "is_deleted": False, "version": 0},
    {"id": oid(4), "user_id": None, "device_id": None, "channel_id": oid(22), "stream_id": oid(31),
     "started_at": at(13), "ended_at": at(13, 1), "is_deleted": False, "version": 0},
    {"id": oid(1), "user_id": oid(11), "device_id": None, "channel_id": oid(22), "stream_id": None,
     "started_at": at(10), "ended_at": at(10, 40), "is_deleted": False, "version": 2},
    {"id": oid(5), "user_id": oid(13), "device_id": None, "channel_id": oid(21), "stream_id": None,
     "started_at": at(14), "ended_at": at(15), "is_deleted": False, "version": 0},
    {"id": oid(5), "user_id": oid(13), "device_id": None, "channel_id": oid(21), "stream_id": None,
     "started_at": at(14), "ended_at": at(15), "is_deleted": True, "version": 1},
]  # fmt: skip
PLEDGES: Rows = [
    {"pledge_id": oid(41), "user_id": oid(11), "stream_id": oid(31), "amount": Decimal("12.50"), "currency": "EUR",
     "status": "captured", "captured_at": at(9)},
    {"pledge_id": oid(42), "user_id": oid(12), "stream_id": oid(31), "amount": Decimal("7.00"), "currency": None,
     "status": "pending", "captured_at": None},
]  # fmt: skip
TABLES = {"viewing_sessions": SESSIONS, "pledges": PLEDGES}
CREATOR = {"_id": oid(21), "username": "ada", "updatedAt": "2026-03-01T00:00:00Z", "profilePhoto": {"url": "u"}}
STREAM = {"id": oid(31), "creatorId": oid(21), "status": "ended", "fundingGoal": 100, "currency": "EUR"}


def drop(landing: Path, name: str, content: str | bytes) -> None:
    path = landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def as_lines(rows: Rows, value: Callable[[Any], Any]) -> str:
    return "".join(json.dumps({name: value(each) for name, each in row.items()}) + "\n" for row in rows)


IDS = ["id", "user_id", "device_id", "channel_id", "stream_id"]
INSTANTS = dict.fromkeys(["started_at", "ended_at"], pa.timestamp("us", "UTC"))
SCHEMAS = {
    "viewing_sessions": pa.schema(
        {**dict.fromkeys(IDS, pa.string()), **INSTANTS, "is_deleted": pa.bool_(), "version": pa.int64()}
    ),
    "pledges": pa.schema(
        {**dict.fromkeys(["pledge_id", "user_id", "stream_id"], pa.string()), "amount": pa.decimal128(18, 2),
         "currency": pa.string(), "status": pa.string(), "captured_at": pa.timestamp("us", "UTC")}
    ),
}  # fmt: skip


def tables() -> dict[str, pa.Table]:
    return {entity: pa.Table.from_pylist(rows, SCHEMAS[entity]) for entity, rows in TABLES.items()}


def by_contract(landing: Path) -> None:
    """The witness: NDJSON as the contract has it."""
    names = {
        "id": "sessionId",
        "user_id": "viewerId",
        "channel_id": "creatorId",
        "is_deleted": "deleted",
        "version": "revision",
    }

    def value(each: Any) -> Any:
        if isinstance(each, datetime):
            return each.isoformat()
        return float(each) if isinstance(each, Decimal) else each

    sessions = [{names.get(name, name): each for name, each in row.items()} for row in SESSIONS]
    drop(landing, "viewing_sessions/a.ndjson", as_lines(sessions, value))
    drop(landing, "pledges/a.ndjson", as_lines(PLEDGES, value))


def recipe(name: str) -> str:
    """The mapping that a section of the how-to gives."""
    section = RECIPES.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found, name
    return found[1]


def published(folder: Path, write: Callable[[Path], None], mapping: str | None = None) -> str:
    landing = folder / "landing"
    write(landing)
    drop(landing, "creators/a.ndjson", json.dumps(CREATOR))
    drop(landing, "live_streams/a.ndjson", json.dumps(STREAM))
    if mapping is not None:
        drop(landing, "mostwatched.toml", mapping)
    settings = Settings(home=folder / "home", windows=(1, 7, 30), max_window_days=30)
    night = nightly.run(settings, AS_OF, [landing], allow_incomplete=True)
    assert {raw.entity: raw.unknown_fields for raw in raw_files(settings) if raw.unknown_fields} == {}
    return night.snapshot_id
