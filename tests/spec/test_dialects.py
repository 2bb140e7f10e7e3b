"""The same small platform, as other programs write it: by its recipe in the docs it is the same snapshot.

What is installed here wrote its files itself: DuckDB, Polars, PyArrow, gzip, bson. What the others write is written to
the letter of their documented formats.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.raw.index import raw_files

AS_OF = date(2026, 3, 10)
RECIPES = Path(__file__).parents[2] / "docs" / "how-to" / "land-exports.md"
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


def as_csv(rows: Rows, text: Callable[[Any], str], *, upper: bool = False, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """Rows under a header, each value by `text`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([name.upper() if upper else name for name in rows[0]])
    writer.writerows([[text(value) for value in row.values()] for row in rows])
    return out.getvalue()


def as_lines(rows: Rows, value: Callable[[Any], Any]) -> str:
    return "".join(json.dumps({name: value(each) for name, each in row.items()}) + "\n" for row in rows)


def in_words(instant: datetime, fraction: str = "") -> str:
    """`2026-03-09 10:30:00.5`, the fraction only where there is one, unless its form is given."""
    text = instant.strftime("%Y-%m-%d %H:%M:%S")
    if fraction:
        return text + fraction % (instant.microsecond // 1000)
    return text + (f".{instant.microsecond:06}".rstrip("0") if instant.microsecond else "")


# --- what each program writes ----------------------------------------------------------------------------------------


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


def postgres(landing: Path) -> None:
    def text(value: Any) -> str:
        if isinstance(value, datetime):
            return in_words(value) + "+00"
        if isinstance(value, bool):
            return "t" if value else "f"
        return "" if value is None else str(value)

    for entity, rows in TABLES.items():
        drop(landing, f"{entity}/a.csv", as_csv(rows, text))


def clickhouse(landing: Path) -> None:
    def text(value: Any) -> str:
        if value is None:
            return r"\N"
        if isinstance(value, datetime):
            return f'"{in_words(value, ".%03d")}"'
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    for entity, rows in TABLES.items():
        lines = [",".join(f'"{name}"' for name in rows[0]), *(",".join(map(text, row.values())) for row in rows)]
        drop(landing, f"{entity}/a.csv", "\n".join(lines) + "\n")


def bigquery(landing: Path) -> None:
    def text(value: Any) -> str:
        if isinstance(value, datetime):
            return in_words(value) + " UTC"
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    for entity, rows in TABLES.items():
        drop(landing, f"{entity}/000000000000.csv", as_csv(rows, text))


def bigquery_json(landing: Path) -> None:
    def value(each: Any) -> Any:
        if isinstance(each, datetime):
            return in_words(each) + " UTC"
        return str(each) if isinstance(each, int | Decimal) and not isinstance(each, bool) else each

    for entity, rows in TABLES.items():  # what is null is left out
        there = [{name: each for name, each in row.items() if each is not None} for row in rows]
        drop(landing, f"{entity}/000000000000.ndjson", as_lines(there, value))


def snowflake(landing: Path) -> None:
    def text(value: Any) -> str:
        if isinstance(value, datetime):
            return in_words(value, ".%03d") + " +0000"
        return r"\N" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    for entity, rows in TABLES.items():
        drop(landing, f"{entity}/data_0_0_0.csv.gz", gzip.compress(as_csv(rows, text, upper=True).encode()))


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


def duckdb_copies(landing: Path, zone: str, how: str, name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = '{zone}'")
        for entity, table in tables().items():
            connection.register("exported", table)
            path = landing / entity / name
            path.parent.mkdir(parents=True)
            by = how if entity == "viewing_sessions" or "partition" not in how else "(format parquet)"
            target = path.parent / "parts" if "partition" in by else path
            connection.execute(f"copy exported to '{target}' {by}")


def polars_csv(landing: Path) -> None:
    for entity, table in tables().items():
        (landing / entity).mkdir(parents=True)
        pl.DataFrame(table).write_csv(landing / entity / "a.csv")


def polars_parquet(landing: Path) -> None:
    for entity, table in tables().items():
        (landing / entity).mkdir(parents=True)
        frame = pl.DataFrame(table)
        if entity == "viewing_sessions":
            frame = frame.with_columns(pl.col("channel_id").cast(pl.Categorical))
        frame.write_parquet(landing / entity / "a.parquet")


def pandas(landing: Path) -> None:
    def text(value: Any) -> str:
        if isinstance(value, datetime):
            return str(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value}.0"  # of a column with holes
        return "" if value is None else str(value)

    for entity, rows in TABLES.items():
        drop(landing, f"{entity}/a.csv", as_csv(rows, text))


def mongo_rows() -> dict[str, Rows]:
    """As documents, with the collection's own `_id`."""
    own = {"id": "_id", "pledge_id": "_id"}
    return {
        entity: [{own.get(name, name): each for name, each in row.items()} for row in rows]
        for entity, rows in TABLES.items()
    }


def is_oid(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{24}", value) is not None


def mongoexport_csv(landing: Path) -> None:
    def text(value: Any) -> str:
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
        if is_oid(value):
            return f"ObjectId({value})"
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    for entity, rows in mongo_rows().items():
        drop(landing, f"{entity}/a.csv", as_csv(rows, text))


def mongo_value(value: Any, *, canonical: bool) -> Any:
    """Extended JSON, version 2."""
    if isinstance(value, datetime):
        ms = str(int(value.timestamp() * 1000))
        return (
            {"$date": {"$numberLong": ms}}
            if canonical
            else {"$date": value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"}
        )
    if isinstance(value, Decimal):
        return {"$numberDecimal": str(value)}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"$numberInt": str(value)} if canonical else value
    return {"$oid": value} if is_oid(value) else value


def mongoexport(landing: Path, *, canonical: bool) -> None:
    for entity, rows in mongo_rows().items():
        drop(landing, f"{entity}/a.ndjson", as_lines(rows, lambda value: mongo_value(value, canonical=canonical)))


def mongoexport_array(landing: Path) -> None:
    for entity, rows in mongo_rows().items():
        documents = [{name: mongo_value(value, canonical=False) for name, value in row.items()} for row in rows]
        drop(landing, f"{entity}/a.json", "[" + ",\n".join(map(json.dumps, documents)) + "]\n")


def firehose(landing: Path) -> None:
    """As the producer's serialiser writes them, one after the other."""

    def value(each: Any) -> Any:
        if isinstance(each, datetime):
            return each.isoformat()
        return str(each) if isinstance(each, Decimal) else each

    for entity, rows in TABLES.items():
        name = f"{entity}/2026/03/09/10/stream-1-2026-03-09-10-00-00-0b1c"
        drop(landing, name, as_lines(rows[:2], value).replace("\n", ""))
        drop(landing, f"{name}.gz", gzip.compress(as_lines(rows[2:], value).replace("\n", "").encode()))


def bson_json_util(landing: Path, *, canonical: bool) -> None:
    """The driver's own Extended JSON."""
    json_util = pytest.importorskip("bson.json_util")
    from bson import Decimal128, Int64, ObjectId

    def value(each: Any) -> Any:
        if is_oid(each):
            return ObjectId(each)
        if isinstance(each, Decimal):
            return Decimal128(each)
        return Int64(each) if isinstance(each, int) and not isinstance(each, bool) else each

    options = json_util.CANONICAL_JSON_OPTIONS if canonical else json_util.RELAXED_JSON_OPTIONS
    for entity, rows in mongo_rows().items():
        documents = [{name: value(each) for name, each in row.items()} for row in rows]
        lines = "".join(json_util.dumps(document, json_options=options) + "\n" for document in documents)
        drop(landing, f"{entity}/a.ndjson", lines)


def kafka_connect(landing: Path) -> None:
    def value(each: Any) -> Any:
        if isinstance(each, datetime):
            return int(each.timestamp() * 1000)
        return float(each) if isinstance(each, Decimal) else each

    for entity, rows in TABLES.items():
        for number, row in enumerate(rows):
            name = f"{entity}/topics/t/year=2026/month=03/partition={number % 2}/t+{number % 2}+{number:010}.json"
            drop(landing, name, as_lines([row], value))


def spark(landing: Path, *, int96: bool) -> None:
    """Part files below the values of a column, which is not in them."""
    for entity, table in tables().items():
        folders = {"": table}
        if entity == "viewing_sessions":
            folders = {}
            for value in (True, False):
                part = table.filter(pc.equal(table["is_deleted"], value)).drop(["is_deleted"])
                folders[f"is_deleted={str(value).lower()}/"] = part
        for folder, part in folders.items():
            out = io.BytesIO()
            pq.write_table(part, out, compression="snappy", use_deprecated_int96_timestamps=int96, flavor="spark")
            drop(landing, f"{entity}/{folder}part-00000-0b1c.c000.snappy.parquet", out.getvalue())
            drop(landing, f"{entity}/{folder}.part-00000-0b1c.c000.snappy.parquet.crc", b"crc\0")
        drop(landing, f"{entity}/_SUCCESS", b"")


DIALECTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "PostgreSQL": ("PostgreSQL", postgres),
    "ClickHouse CSVWithNames": ("ClickHouse", clickhouse),
    "BigQuery CSV": ("BigQuery", bigquery),
    "BigQuery JSON": ("BigQuery", bigquery_json),
    "Snowflake": ("Snowflake", snowflake),
    "DuckDB CSV in UTC": ("DuckDB", lambda landing: duckdb_copies(landing, "UTC", "(header)", "a.csv")),
    "DuckDB CSV in Istanbul": (
        "DuckDB",
        lambda landing: duckdb_copies(landing, "Europe/Istanbul", "(header)", "a.csv"),
    ),
    "DuckDB CSV in Kathmandu": (
        "DuckDB",
        lambda landing: duckdb_copies(landing, "Asia/Kathmandu", "(header)", "a.csv"),
    ),
    "DuckDB Parquet": ("DuckDB", lambda landing: duckdb_copies(landing, "UTC", "(format parquet)", "a.parquet")),
    "DuckDB partitions": (
        "DuckDB",
        lambda landing: duckdb_copies(landing, "UTC", "(format parquet, partition_by (is_deleted))", "a.parquet"),
    ),
    "Polars CSV": ("Polars", polars_csv),
    "Polars Parquet": ("Polars", polars_parquet),
    "pandas": ("pandas", pandas),
    "mongoexport CSV": ("mongoexport", mongoexport_csv),
    "mongoexport relaxed": ("mongoexport", lambda landing: mongoexport(landing, canonical=False)),
    "mongoexport canonical": ("mongoexport", lambda landing: mongoexport(landing, canonical=True)),
    "mongoexport --jsonArray": ("mongoexport", mongoexport_array),
    "Firehose": ("Firehose", firehose),
    "bson relaxed": ("mongoexport", lambda landing: bson_json_util(landing, canonical=False)),
    "bson canonical": ("mongoexport", lambda landing: bson_json_util(landing, canonical=True)),
    "Kafka Connect": ("Kafka Connect", kafka_connect),
    "Spark": ("Spark", lambda landing: spark(landing, int96=False)),
    "Spark INT96": ("Spark", lambda landing: spark(landing, int96=True)),
}


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


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return published(tmp_path_factory.mktemp("contract"), by_contract)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_platform_is_the_same_in_every_dialect(tmp_path: Path, expected: str, dialect: str) -> None:
    """One snapshot id, by the mapping that the docs give."""
    name, write = DIALECTS[dialect]
    assert published(tmp_path, write, recipe(name)) == expected


def test_every_recipe_is_landed() -> None:
    """What the how-to says of a program, a test has done."""
    sections = set(re.findall(r"^## (.+)$", RECIPES.read_text(encoding="utf-8"), re.MULTILINE))
    assert sections == {name for name, _ in DIALECTS.values()}
