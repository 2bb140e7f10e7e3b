"""Which of two versions is the newer stands in three statements, and must be the same in all of them.

The models say which version of a session or a pledge counts. `forget` keeps note of those in which somebody else's is
the newest (`redaction.outdone`); were its order another one, forgetting somebody would change what others are counted
for. Compared is what the statements find, not how they are written: on all pairs of versions that differ in up to two
fields and in whose they are, so that no two fields can change places, and none its direction or where its nulls go.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import models, redaction
from pipelines.contracts import RAW_SCHEMAS
from pipelines.engines import duckdb as engine

USER = "m"  # others' ids are lower and higher
OTHERS = ("a", "z", "Z", "\u00e9")
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
INSTANTS = [NOON, NOON + timedelta(milliseconds=1)]
TEXTS = ["a", "B", "\u00e9"]
FIELDS: dict[str, dict[str, list[Any]]] = {
    "viewing_sessions": {
        "revision": [0, 1],
        "deleted": [False, True],
        "ended_at": [None, *INSTANTS],
        "creator_id": TEXTS,
        "started_at": INSTANTS,
        "device_id": [None, *TEXTS],
        "stream_id": [None, *TEXTS],
    },
    "pledges": {
        "updated_at": [None, *INSTANTS],
        "stream_id": TEXTS,
        "amount": [Decimal(9), Decimal(10)],
        "currency": [None, *TEXTS],
        "status": ["captured", "refunded"],
        "captured_at": [None, *INSTANTS],
        "refunded_at": [None, *INSTANTS],
        "refunded_amount": [None, Decimal(9), Decimal(10)],
    },
}
WHOSE = {"viewing_sessions": "viewer_id", "pledges": "user_id"}
KEY = {"viewing_sessions": "session_id", "pledges": "pledge_id"}

Row = dict[str, Any]


def pairs(entity: str) -> Iterator[tuple[Row, Row]]:
    """Two versions, the first of them USER's."""
    fields = FIELDS[entity]
    others = [*OTHERS, None] if entity == "viewing_sessions" else OTHERS
    same = {name: values[0] for name, values in fields.items()}
    for first, second in itertools.combinations(fields, 2):
        values = itertools.product(
            itertools.product(fields[first], repeat=2), itertools.product(fields[second], repeat=2)
        )
        for (one, other), (more, less) in values:
            for whose in others:
                yield (
                    same | {first: one, second: more, WHOSE[entity]: USER},
                    same | {first: other, second: less, WHOSE[entity]: whose},
                )


def landed(entity: str) -> pa.Table:
    """Every pair as the versions of a session, or a pledge, of its own."""
    rows = [
        version | {KEY[entity]: f"{number}", "source": "s", "line": line}
        for number, pair in enumerate(pairs(entity))
        for line, version in enumerate(pair)
    ]
    return pa.Table.from_pylist(rows, RAW_SCHEMAS[entity])


def asked(model: str, sources: dict[str, pa.Table], **params: Any) -> list[Row]:
    with closing(engine.connect("500MB", 1)) as connection:
        for name, rows in sources.items():
            engine.register(connection, name, rows)
        found: list[Row] = engine.query(connection, models.model(model).statement, params).to_pylist()
        return found


def outdone(entity: str, rows: pa.Table, folder: Path) -> set[str]:
    """The keys of which somebody else's version is the newest, as `forget` finds them."""
    path = folder / "all.parquet"
    pq.write_table(rows, path)
    raw: Any = SimpleNamespace(entity=entity, files={"all": None}, path=lambda _: path)
    with closing(engine.connect("500MB", 1)) as connection:
        return {key[-1] for key in redaction.outdone(connection, [raw], USER)[entity]}


def not_theirs(rows: Iterable[Row], entity: str) -> set[str]:
    return {row[KEY[entity]] for row in rows if row[WHOSE[entity]] != USER}


@pytest.fixture(scope="module")
def sessions() -> pa.Table:
    return landed("viewing_sessions")


def versions(rows: pa.Table, days: list[date]) -> pa.Table:
    """As the models read them: on their days, with how often each landed."""
    more = {"day": pa.array(days, pa.date32()), "landed_records": pa.array([1] * len(rows), pa.int64())}
    for name, column in more.items():
        rows = rows.append_column(name, column)
    return rows


def test_of_sessions(sessions: pa.Table, tmp_path: Path) -> None:
    """On one day (resolved_sessions), over two (session_moves), and for `forget`."""
    first, second = date(2026, 1, 10), date(2026, 1, 11)
    none = pa.schema([("day", pa.date32()), ("source", pa.string()), ("session_id", pa.string())]).empty_table()
    on_one_day = versions(sessions, [first] * len(sessions))
    resolved = asked("resolved_sessions", {"repeated_session_versions": on_one_day, "session_moves": none})
    assert len(resolved) == len(sessions) // 2
    lost = not_theirs(resolved, "viewing_sessions")
    assert 0 < len(lost) < len(resolved)

    over_two = versions(sessions, [first, second] * (len(sessions) // 2))  # theirs on the first
    moved = asked("session_moves", {"repeated_session_versions": over_two})
    assert {row["session_id"] for row in moved if row["newest_day"] == second} == lost
    assert {row["session_id"] for row in moved if row["newest_day"] == first} == {
        row["session_id"] for row in resolved
    } - lost
    assert outdone("viewing_sessions", sessions, tmp_path) == lost


def test_of_pledges(tmp_path: Path) -> None:
    """As collected funding is worked out (pledges), and for `forget`."""
    rows = landed("pledges")
    streams = pa.schema([("stream_id", pa.string()), ("currency", pa.string())]).empty_table()
    sources = {
        "raw_pledges": rows,
        "raw_erasures": RAW_SCHEMAS["erasures"].empty_table(),
        "live_streams": streams,
    }
    newest = asked("pledges", sources, as_of_instant=NOON)
    lost = not_theirs(newest, "pledges")
    assert 0 < len(lost) < len(newest) == len(rows) // 2
    assert outdone("pledges", rows, tmp_path) == lost
