"""One rule for values, whatever format they land in: nothing is lost, and no two ids become one."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import rejected_records, suggest_mapping

AT = datetime(2026, 3, 9, 10, tzinfo=UTC)
REST = {"sessionId": "s", "creatorId": "c", "startedAt": "2026-03-09T10:00:00Z"}
UUID = "0190a4b2-7e11-7c33-9a5b-3f1d2c4b5a69"


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def land(home: Settings, name: str, content: bytes, entity: str = "viewing_sessions") -> None:
    path = home.landing / entity / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def found(home: Settings, column: str, entity: str = "viewing_sessions") -> Any:
    """The value of the one accepted record, or (field, reason) of the one rejected."""
    ingest(home)
    (raw,) = raw_files(home)
    if raw.accepted:
        (row,) = raw.table(next(iter(raw.files))).to_pylist()
        return row[column]
    (rejected,) = rejected_records(home)
    return rejected.field, rejected.reason


def parquet(columns: dict[str, pa.Array | list[Any]], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def in_parquet(home: Settings, field: str, array: pa.Array, column: str, **options: Any) -> Any:
    rest = {name: pa.array([value]) for name, value in REST.items() if name != field}
    land(home, "a.parquet", parquet({**rest, field: array}, **options))
    return found(home, column)


@pytest.mark.parametrize("how", ["a.ndjson", "text.ndjson", "a.csv"])
@pytest.mark.parametrize(
    ("field", "column", "landed", "value"),
    [
        ("viewerId", "viewer_id", 7, "7"),
        ("viewerId", "viewer_id", 12345678901234567890123, "12345678901234567890123"),
        ("viewerId", "viewer_id", -1, "-1"),
        ("revision", "revision", 3, 3),
        ("revision", "revision", 3.0, 3),
        ("deleted", "deleted", True, True),
        ("deleted", "deleted", 1, True),
        ("deleted", "deleted", 0, False),
    ],
)
def test_a_value_is_the_same_in_json_and_csv(home, how, field, column, landed, value):
    """As a JSON number or truth value, as a text of JSON, and as a cell."""
    text = json.dumps(landed)
    if how == "a.csv":
        land(home, how, f"{','.join(REST)},{field}\n{','.join(REST.values())},{text}\n".encode())
    else:
        land(home, how, json.dumps({**REST, field: text if how.startswith("text") else landed}).encode())
    assert found(home, column) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), 7), (pa.int8(), 7), (pa.uint64(), 2**64 - 1), (pa.decimal128(38, 0), decimal.Decimal(10**37 + 7)),
        (pa.large_string(), "7"), (pa.string_view(), "7"), (pa.binary(), b"a-7"), (pa.large_binary(), b"7"),
        (pa.dictionary(pa.int32(), pa.string()), "7"), (pa.dictionary(pa.int8(), pa.large_string()), "7"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("store_schema", [True, False])
def test_an_id_in_parquet_is_its_text(home, kind, value, store_schema):
    """Of every type that holds it without a loss."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    assert in_parquet(home, "viewerId", pa.array([value], kind), "viewer_id", store_schema=store_schema) == text


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_uuid_in_parquet_is_its_text(home, store_schema):
    """As every program shows it, which is how it lands elsewhere."""
    array = pa.array([uuid.UUID(UUID).bytes], pa.uuid())
    assert in_parquet(home, "viewerId", array, "viewer_id", store_schema=store_schema) == UUID


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([7.0]), "a number with a fraction or an exponent: export ids as text or as whole numbers"),
        (pa.array([7.5]), "a number with a fraction or an exponent: export ids as text or as whole numbers"),
        (pa.array([decimal.Decimal("7.00")]), "a number with a fraction or an exponent"),
        (pa.array([float("nan")]), "expected text, got a number that is not finite"),
        (pa.array([uuid.UUID(UUID).bytes], pa.binary(16)), "expected text, got a value of Parquet type fixed_size_bin"),
        (pa.array([uuid.UUID(UUID).bytes], pa.binary()), "expected text, got bytes that are no text"),
        (pa.array([True]), "expected text, got true or false"),
        (pa.array([dt.date(2026, 3, 9)]), "expected text, got a value of Parquet type date32"),
        (pa.array([AT], pa.timestamp("us", "UTC")), "expected text, got an instant"),
    ],
)
def test_what_is_no_id_is_rejected_with_what_it_is(home, array, reason):
    """A float has merged ids already, and bytes may be anything."""
    field, why = in_parquet(home, "viewerId", array, "viewer_id")
    assert field == "viewerId"
    assert reason in why


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (pa.array([3.0]), 3), (pa.array([decimal.Decimal(3)], pa.decimal128(38, 0)), 3),
        (pa.array([decimal.Decimal("3.00")], pa.decimal128(10, 2)), 3), (pa.array(["3"]), 3),
        (pa.array([3], pa.uint8()), 3), (pa.array([None], pa.float64()), 0),
        (pa.array([3.5]), ("revision", "expected an integer")),
        (pa.array([decimal.Decimal(2**63)], pa.decimal128(38, 0)), ("revision", "not an integer from 0 to 2^63-1")),
    ],
)  # fmt: skip
def test_a_revision_in_parquet(home, array, value):
    """DECIMAL(38,0) has no fraction, and a column with holes often becomes a float."""
    assert in_parquet(home, "revision", array, "revision") == value


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (pa.array([1], pa.uint8()), True), (pa.array(["f"]), False), (pa.array(["True"]), True),
        (pa.array([2]), ("deleted", "expected true or false")),
    ],
)  # fmt: skip
def test_a_truth_value_in_parquet(home, array, value):
    """ClickHouse writes 0 and 1."""
    assert in_parquet(home, "deleted", array, "deleted") == value


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "+03:00", "Europe/Istanbul"])
def test_an_instant_in_parquet_has_a_zone(home, unit, zone):
    """Of any unit and zone."""
    array = pa.array([AT], pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
    assert in_parquet(home, "startedAt", array, "started_at") == AT


@pytest.mark.parametrize("how", ["format parquet", "format csv, header", "format json"])
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_infinity_is_no_instant_and_may_be_null(home, tmp_path, how, kind):
    """As DuckDB writes it; the message says what to do, and that does it."""
    columns = "'s' as \"sessionId\", 'c' as \"creatorId\", '2026-03-09 10:00Z' as \"startedAt\""
    path = home.landing / "viewing_sessions" / f"a.{how.split()[1].strip(',').replace('json', 'ndjson')}"
    path.parent.mkdir(parents=True)
    with duckdb.connect() as connection:
        columns = columns.replace("10:00Z", "10:00:00Z")
        connection.execute(f"copy (select {columns}, 'infinity'::{kind} as \"endedAt\") to '{path}' ({how})")
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.rejected == 1
    (said,) = suggest_mapping([raw])
    assert "say null = ['infinity']" in said
    (home.landing / "mostwatched.toml").write_text("[viewing_sessions]\nnull = ['infinity']\n")
    assert found(home, "ended_at") is None


@pytest.mark.parametrize("options", [{}, {"use_deprecated_int96_timestamps": True}])
def test_a_local_time_in_parquet_has_its_own_remedy(home, options):
    """To add Z to a column of timestamps is nothing that anybody can do."""
    array = pa.array([AT.replace(tzinfo=None)], pa.timestamp("us"))
    field, reason = in_parquet(home, "startedAt", array, "started_at", **options)
    assert field == "startedAt"
    assert "the column has no time zone" in reason
    assert "timezone = " in reason


def test_an_int96_keeps_its_year(home):
    """As nanoseconds, the year 9999 would be another one."""
    far = datetime(9999, 12, 31)  # noqa: DTZ001
    (home.landing).mkdir(parents=True)
    (home.landing / "mostwatched.toml").write_text("[viewing_sessions]\ntimezone = 'UTC'\n")
    array = pa.array([far], pa.timestamp("us"))
    instant = in_parquet(home, "startedAt", array, "started_at", use_deprecated_int96_timestamps=True)
    assert instant == far.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ndjson", b'{"sessionId":"s","creatorId":"c","startedAt":1772960400000}'),
        ("b.ndjson", b'{"sessionId":"s","creatorId":"c","startedAt":"1772960400000"}'),
        ("a.csv", b"sessionId,creatorId,startedAt\ns,c,1772960400\n"),
        ("a.parquet", parquet({"sessionId": ["s"], "creatorId": ["c"], "startedAt": [1772960400.5]})),
    ],
)
def test_a_number_is_no_instant_and_the_remedy_is_named(home, name, content):
    """In every format."""
    land(home, name, content)
    field, reason = found(home, "started_at")
    assert field == "startedAt"
    assert 'epoch = "s" (or "ms", "us", "ns") in mostwatched.toml' in reason


@pytest.mark.parametrize("cell", ["7.0", "-1.0", "1.23456789012346E+018", "1.5e+05", "-9.0E+1", '"1,23457E+18"'])
@pytest.mark.parametrize("count", [1, 300])
def test_an_id_that_a_spreadsheet_has_rewritten_is_rejected(home, cell, count):
    """Many ids have become one; in few lines, and in many, which are read as columns."""
    lines = [",".join(["sessionId", "creatorId", "startedAt"])]
    lines += [f"s{number},{cell},2026-03-09T10:00:00Z" for number in range(count)]
    land(home, "a.csv", "\n".join(lines).encode())
    ingest(home)
    assert [(each.field, "export ids as text" in each.reason) for each in rejected_records(home)] == [
        ("creatorId", True)
    ] * count


@pytest.mark.parametrize(
    "cell", ["12e4", "652e10000000000000000000", "1.0.0", "7.50", "+1", "1e5", "7,0", "1E+02", "-0.0", "0.0", "12.5E+9"]
)
def test_an_id_that_only_looks_like_a_number_is_taken(home, cell):
    """An id of hexadecimal digits may have one e in it."""
    land(home, "a.csv", f'sessionId,creatorId,startedAt\ns,"{cell}",2026-03-09T10:00:00Z\n'.encode())
    assert found(home, "creator_id") == cell


def test_nested_entities_land_as_nested_parquet(home):
    """Structs, lists, maps and instants inside of them, as Spark writes them."""
    photo = {"_id": 5, "url": "u", "type": "image", "variants": {"40": "a"}, "createdAt": AT}
    kind = pa.struct(
        {
            "_id": pa.int64(), "url": pa.large_string(), "type": pa.string(), "createdAt": pa.timestamp("us", "UTC"),
            "variants": pa.map_(pa.string(), pa.string()),
        }
    )  # fmt: skip
    table = {"_id": pa.array([1]), "username": pa.array(["a"]), "profilePhoto": pa.array([photo], kind)}
    land(home, "a.parquet", parquet(table), "creators")
    ingest(home)
    (raw,) = raw_files(home)
    (row,) = raw.table("all").to_pylist()
    assert (row["creator_id"], row["profile_photo_id"], row["profile_photo_url"]) == ("1", "5", "u")
    assert (row["profile_photo_variants"], row["profile_photo_created_at"]) == ('{"40":"a"}', AT)


def test_a_zstd_dictionary_is_named(home):
    """That it is damaged would be a false reason."""
    samples = [json.dumps({**REST, "sessionId": str(number)}).encode() for number in range(2000)]
    dictionary = zstandard.train_dictionary(4096, samples)
    land(home, "a.ndjson.zst", zstandard.ZstdCompressor(dict_data=dictionary).compress(samples[0]))
    ingest(home)
    (rejected,) = rejected_records(home)
    assert "zstd dictionary" in rejected.reason
