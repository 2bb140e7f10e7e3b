"""One rule of types for all formats: what a value is does not rest on the file that it lands in."""

from __future__ import annotations

import csv
import decimal
import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_acceptance import all_of

from pipelines.landing.batches import Batch, Rows
from pipelines.landing.csv_text import read_csv
from pipelines.landing.files import open_landed
from pipelines.landing.lines import blocks_of_lines
from pipelines.landing.ndjson import read_piece
from pipelines.landing.parquet import read_parquet
from pipelines.landing.schema import landed_fields

SESSION = {"sessionId": "s", "creatorId": "c", "startedAt": "2026-03-09T10:00:00Z"}
PLEDGE = {"pledgeId": "p", "userId": "u", "streamId": "t", "amount": "1", "status": "pending"}
FIELDS = {
    "viewerId": "viewing_sessions", "revision": "viewing_sessions", "deleted": "viewing_sessions",
    "startedAt": "viewing_sessions", "source": "viewing_sessions", "amount": "pledges", "status": "pledges",
}  # fmt: skip
ZONES = ["UTC", "Etc/UTC", "utc", "Z", "+05:45", "Europe/Istanbul"]


def rest_of(field: str) -> dict[str, str]:
    rest = SESSION if FIELDS[field] == "viewing_sessions" else PLEDGE
    return {name: value for name, value in rest.items() if name != field}


def verdicts(field: str, batches: list[Batch]) -> list[Any]:
    """Of each record the value, or that it was rejected for the field."""
    column = next(each.column for each in landed_fields(FIELDS[field]) if each.name == field)
    found = {row["line"]: row[column] for batch in batches for row in batch.accepted.to_pylist()}
    found |= {each.line: ("rejected", each.field) for batch in batches for each in batch.rejected}
    assert all(batch.unreadable is None for batch in batches)
    return [found[line] for line in sorted(found)]


def in_json(field: str, values: list[str], *, bare: bool) -> list[Any]:
    rows = Rows(FIELDS[field])
    start = json.dumps(rest_of(field))[:-1]
    text = "".join(f'{start}, "{field}": {value if bare else json.dumps(value)}}}\n' for value in values)
    for piece in blocks_of_lines([text.encode()]):
        read_piece(piece, rows)
    return verdicts(field, [rows.batch()])


def in_csv(field: str, values: list[str]) -> list[Any]:
    out = io.StringIO()
    rest = rest_of(field)
    csv.writer(out).writerows([[*rest, field], *([*rest.values(), value] for value in values)])
    return verdicts(field, list(read_csv(FIELDS[field], blocks_of_lines([out.getvalue().encode()], quotes=True))))


def in_parquet(folder: Any, field: str, array: pa.Array, *, fast: bool = True) -> list[Any]:
    path = folder.mktemp("types") / "a.parquet"
    rest = {name: [value] * len(array) for name, value in rest_of(field).items()}
    pq.write_table(pa.table({**rest, field: array}), path)
    with open_landed(path) as source:
        read = list(read_parquet(FIELDS[field], source, fast=fast))
    with open_landed(path) as source:
        assert all_of(iter(read)) == all_of(read_parquet(FIELDS[field], source, fast=not fast))
    return verdicts(field, read)


# --- texts -----------------------------------------------------------------------------------------------------------

TEXTS = [
    "7", "007", "-1", "1e5", "3.0", "3.5", "03", "+3", " 3", "1", "0", "t", "f", "T", "true", "TRUE", "yes", "no", "on",
    "12.50", "12.505", "1e2", "-1", ".5", "1,5", "NaN", "NULL", "NA", "\\N", "é", "pending", "captured", "EUR",
    "2026-03-09T10:00:00Z", "2026-03-09 10:00:00+00", "2026-03-09t10:00:00z", "2026-03-09T10:00:00.123456789+0300",
    "2026-03-09 10:00:00 UTC", "2026-03-09T10:00:00", "2026-03-09", "2026-03-09T24:00:00Z", "2016-12-31T23:59:60Z",
    "1773050400", "infinity", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999Z", "9223372036854775808",
]  # fmt: skip
TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
              pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_a_text_is_the_same_in_every_format(tmp_path_factory: Any, field: str, kind: pa.DataType) -> None:
    """As a text of JSON, a cell, and every type of text of Parquet. A cell may also be the number that it shows."""
    as_text = in_json(field, TEXTS, bare=False)
    array = pa.array(TEXTS) if "binary" not in str(kind) else pa.array([text.encode() for text in TEXTS])
    assert in_parquet(tmp_path_factory, field, array.cast(kind)) == as_text
    numbers = {text: verdict for text in TEXTS if is_number(text) for verdict in in_json(field, [text], bare=True)}
    for text, cell, verdict in zip(TEXTS, in_csv(field, TEXTS), as_text, strict=True):
        assert cell == verdict or cell == numbers.get(text), text


def is_number(text: str) -> bool:
    try:
        return isinstance(json.loads(text), int | float)
    except ValueError:
        return False


# --- numbers ---------------------------------------------------------------------------------------------------------

NUMBERS = [0, 1, 2, 7, 100, 127]
NUMBER_TYPES = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
                pa.decimal128(38, 0), pa.decimal256(76, 0)]  # fmt: skip
FRACTION_TYPES = [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(10, 2), pa.decimal256(40, 4)]


def numbers_in(kind: pa.DataType) -> pa.Array:
    if pa.types.is_float16(kind):
        return pa.array([np.float16(each) for each in NUMBERS], kind)
    return pa.array([decimal.Decimal(each) if pa.types.is_decimal(kind) else each for each in NUMBERS], kind)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", NUMBER_TYPES, ids=str)
def test_a_whole_number_is_the_same_in_every_format(tmp_path_factory: Any, field: str, kind: pa.DataType) -> None:
    """In JSON, as a cell, and in every type of whole numbers of Parquet."""
    as_number = in_json(field, [str(each) for each in NUMBERS], bare=True)
    assert in_csv(field, [str(each) for each in NUMBERS]) == as_number
    assert in_parquet(tmp_path_factory, field, numbers_in(kind)) == as_number


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", FRACTION_TYPES, ids=str)
def test_a_number_that_may_have_a_fraction_is_the_same_in_every_format(
    tmp_path_factory: Any, field: str, kind: pa.DataType
) -> None:
    """No id, and an integer where it is whole; as a cell of an id too, but for 0.0, which may be one."""
    as_number = in_json(field, [f"{each}.0" for each in NUMBERS], bare=True)
    assert in_parquet(tmp_path_factory, field, numbers_in(kind)) == as_number
    if field != "source":  # a text, and no id
        cells = in_csv(field, [f"{each}.0" for each in NUMBERS])
        assert [cell for cell in cells if cell != "0.0"] == as_number[cells.count("0.0") :]


@pytest.mark.parametrize("exponent", ["1e2", "1E+2", "1.5e+01", "1e+05"])
def test_an_amount_with_an_exponent_is_the_same_in_json_and_csv(exponent: str) -> None:
    """As R writes 100000."""
    assert in_csv("amount", [exponent]) == in_json("amount", [exponent], bare=True) == [decimal.Decimal(exponent)]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ZONES)
def test_an_instant_is_the_same_in_every_format(tmp_path_factory: Any, unit: str, zone: str) -> None:
    """Of every unit and zone."""
    instants = [datetime(2026, 3, 9, 10, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]
    array = pa.array(instants, pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
    assert in_parquet(tmp_path_factory, "startedAt", array) == instants
    assert in_json("startedAt", [each.isoformat() for each in instants], bare=False) == instants


GUEST = pa.struct({"id": pa.string(), "at": pa.timestamp("us", "UTC"), "tags": pa.list_view(pa.int8())})
LISTS = [pa.list_(GUEST), pa.large_list(GUEST), pa.list_view(GUEST), pa.large_list_view(GUEST), pa.list_(GUEST, 2)]


@pytest.mark.parametrize("kind", LISTS, ids=[str(each).partition("<")[0] for each in LISTS])
@pytest.mark.parametrize("stored", [True, False])
def test_a_list_is_the_same_in_every_format(tmp_path_factory: Any, kind: pa.DataType, stored: bool) -> None:
    """Of every kind of list that Arrow stores in Parquet, whether it says which or not."""
    at = datetime(2026, 3, 9, 10, tzinfo=UTC)
    guests = [[{"id": "a", "at": at, "tags": [1]}, {"id": "é", "at": None, "tags": [2, 3]}], None,
              [{"id": "c", "at": at, "tags": []}, {"id": "d", "at": at, "tags": None}]]  # fmt: skip
    table = pa.table(
        {"id": ["1", "2", "3"], "creatorId": ["c"] * 3, "status": ["active"] * 3, "guests": pa.array(guests, kind)}
    )
    path = tmp_path_factory.mktemp("lists") / "a.parquet"
    pq.write_table(table, path, store_schema=stored)
    with open_landed(path) as source:
        (batch,) = read_parquet("live_streams", source)
    shown = json.dumps(guests, default=lambda _: "2026-03-09T10:00:00.000Z", ensure_ascii=False, separators=(",", ":"))
    found = [None if each is None else json.loads(each) for each in batch.accepted.column("guests").to_pylist()]
    assert found == json.loads(shown)


def test_a_text_of_any_type_is_read_in_a_list(tmp_path_factory: Any) -> None:
    """Arrow cannot filter views within lists, and has no need to."""
    path = tmp_path_factory.mktemp("views") / "a.parquet"
    rest = {"id": ["1"], "creatorId": ["c"], "status": ["active"]}
    pq.write_table(pa.table({**rest, "guests": pa.array([["a", "b"]], pa.list_(pa.string_view()))}), path)
    with open_landed(path) as source:
        (batch,) = read_parquet("live_streams", source)
    assert batch.accepted.column("guests").to_pylist() == ['["a","b"]']


# --- anything --------------------------------------------------------------------------------------------------------

EXTREMES = [
    0,
    1,
    -1,
    2**63 - 1,
    1 - 2**63,
    -(2**63),
    2**62,
    10**15,
    -(10**15),
    253_402_300_800_000,
    -62_135_596_800_001,
]
KINDS_OF_64_BITS = [
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, *ZONES[:1])),
    pa.int64(), pa.uint64(), pa.float64(), pa.date64(), pa.time64("us"), pa.time64("ns"), pa.duration("us"),
]  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
def test_a_timestamp_that_is_no_instant_costs_its_row(tmp_path_factory: Any, inside: bool) -> None:
    """As DuckDB writes infinity; also within a list, beside one that is good."""
    kind = pa.timestamp("us", "UTC")
    counts = pa.array([2**63 - 1, 1 - 2**63, 0], pa.int64()).view(kind)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), counts)
    rest = {"id": ["1", "2", "3"], "creatorId": ["c"] * 3, "status": ["active"] * 3}
    path = tmp_path_factory.mktemp("infinite") / "a.parquet"
    pq.write_table(pa.table({**rest, **({"guests": lists} if inside else {"startedAt": counts})}), path)
    with open_landed(path) as source:
        (batch,) = read_parquet("live_streams", source)
    assert batch.unreadable is None
    assert batch.accepted.column("stream_id").to_pylist() == ["3"]
    assert [(each.line, "outside the years 1 to 9999" in each.reason) for each in batch.rejected] == [
        (1, True),
        (2, True),
    ]


@pytest.mark.parametrize("field", FIELDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_bits_of_a_column_are_each_row_is_accepted_or_rejected(
    tmp_path_factory: Any, field: str, data: st.DataObject
) -> None:
    """As columns and row by row alike: no value ends the reading, and none is read as what it is not."""
    kind = data.draw(st.sampled_from(KINDS_OF_64_BITS))
    bits = st.one_of(st.sampled_from(EXTREMES), st.integers(-(2**63), 2**63 - 1), st.none())
    array = pa.array(data.draw(st.lists(bits, min_size=1, max_size=4)), pa.int64()).view(kind)
    if str(kind).startswith("timestamp[s") and any(
        abs(each or 0) > 2**53 for each in array.view(pa.int64()).to_pylist()
    ):
        return  # seconds are written as milliseconds, which those are too many for
    found = in_parquet(tmp_path_factory, field, array)
    assert len(found) == len(array)
    for count, verdict in zip(array.view(pa.int64()).to_pylist(), found, strict=True):
        if isinstance(verdict, datetime):
            per_second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[kind.unit]
            assert (verdict - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() == pytest.approx(
                count / per_second, abs=0.002
            )
