"""The same small platform, as other programs write it: by its recipe in the docs it is the same snapshot.

What is installed writes its files itself: DuckDB, Polars, PyArrow, gzip, bson; ClickHouse and pandas where `make
exporters` has installed them; databases and other programs in test_programs.py; Spark in tests/spark. What the others
write (BigQuery, Snowflake, mongoexport, Kafka Connect's sinks) is written to the letter of their documented formats.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import subprocess
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import test_programs
from exported import RECIPES, TABLES, Rows, as_lines, by_contract, drop, published, recipe, tables


def as_csv(rows: Rows, text: Callable[[Any], str], *, upper: bool = False, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """Rows under a header, each value by `text`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([name.upper() if upper else name for name in rows[0]])
    writer.writerows([[text(value) for value in row.values()] for row in rows])
    return out.getvalue()


def in_words(instant: datetime, fraction: str = "") -> str:
    """`2026-03-09 10:30:00.5`, the fraction only where there is one, unless its form is given."""
    text = instant.strftime("%Y-%m-%d %H:%M:%S")
    if fraction:
        return text + fraction % (instant.microsecond // 1000)
    return text + (f".{instant.microsecond:06}".rstrip("0") if instant.microsecond else "")


# --- what each program writes ----------------------------------------------------------------------------------------


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


def polars_text(landing: Path, method: str, name: str, **options: Any) -> None:
    for entity, table in tables().items():
        (landing / entity).mkdir(parents=True)
        getattr(pl.DataFrame(table), method)(landing / entity / name, **options)


def pyarrow_csv(landing: Path) -> None:
    for entity, table in tables().items():
        (landing / entity).mkdir(parents=True)
        pa_csv.write_csv(table, landing / entity / "a.csv")


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


EXPORTERS = Path(__file__).parents[2] / "build" / "exporters-venv" / "bin" / "python"  # made by `make exporters`


def exported_by(kind: str, ending: str) -> Callable[[Path], None]:
    """Files that the program itself writes, in an environment of its own."""

    def write(landing: Path) -> None:
        if not EXPORTERS.exists():
            pytest.skip("the program is not installed: `make exporters` installs it")
        script = Path(__file__).parents[1] / "exporting.py"
        for entity, table in tables().items():
            source = landing.parent / f"{entity}.parquet"
            pq.write_table(table, source)
            (landing / entity).mkdir(parents=True)
            subprocess.run([EXPORTERS, script, kind, source, landing / entity / f"a.{ending}"], check=True, timeout=120)

    return write


DIALECTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "PostgreSQL": ("PostgreSQL", postgres),
    "ClickHouse CSVWithNames": ("ClickHouse", clickhouse),
    "ClickHouse itself, CSVWithNames": ("ClickHouse", exported_by("clickhouse_csv", "csv")),
    "ClickHouse itself, JSONEachRow": ("ClickHouse", exported_by("clickhouse_json", "ndjson")),
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
    "DuckDB JSON": ("DuckDB", lambda landing: duckdb_copies(landing, "UTC", "(format json)", "a.ndjson")),
    "DuckDB JSON array": (
        "DuckDB",
        lambda landing: duckdb_copies(landing, "UTC", "(format json, array true)", "a.json"),
    ),
    "Polars CSV": ("Polars", lambda landing: polars_text(landing, "write_csv", "a.csv")),
    "Polars NDJSON": ("Polars", lambda landing: polars_text(landing, "write_ndjson", "a.ndjson")),
    "Polars JSON": ("Polars", lambda landing: polars_text(landing, "write_json", "a.json")),
    "PyArrow CSV": ("Polars", pyarrow_csv),
    "Polars Parquet": ("Polars", polars_parquet),
    "pandas": ("pandas", pandas),
    "pandas itself, CSV": ("pandas", exported_by("pandas_csv", "csv")),
    "pandas itself, Parquet": ("pandas", exported_by("pandas_parquet", "parquet")),
    "pandas itself, JSON": ("pandas", exported_by("pandas_json", "ndjson")),
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
    by_programs = set(re.findall(r'recipe\("(.+?)"\)', Path(test_programs.__file__).read_text(encoding="utf-8")))
    assert sections == {name for name, _ in DIALECTS.values()} | by_programs
