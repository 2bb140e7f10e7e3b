"""Rows are known by the digest of their values, whoever wrote them and however."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.core.row_digest import RowDigest, row_digest, row_digests

MOMENT = datetime(2026, 1, 5, 10, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("count", pa.int64()),
        ("yes", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("ms", "UTC")),
        ("price", pa.decimal128(18, 2)),
    ]
)
ROW = {
    "text": "çağ\n\0",
    "count": -3,
    "yes": True,
    "day": date(1969, 7, 20),
    "at": MOMENT,
    "price": Decimal("-0.50"),
}
NOTHING = dict.fromkeys(ROW)

rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
            "count": st.none() | st.integers(-(2**63), 2**63 - 1),
            "yes": st.none() | st.booleans(),
            "day": st.none() | st.dates(),
            "at": st.none() | st.integers(-(10**12), 10**13).map(lambda ms: MOMENT + timedelta(milliseconds=ms)),
            "price": st.none() | st.decimals(-(10**15), 10**15, places=2),
        }
    ),
    max_size=20,
)


def table(*content: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(content), schema=SCHEMA)


def digest(rows: pa.Table) -> str:
    return row_digest(rows)


@given(rows, st.lists(st.integers(0, 20), max_size=4))
def test_a_digest_does_not_see_chunks_and_slices(content, cuts):
    """However rows are cut into chunks, and wherever in a larger buffer they stand, the digest is theirs."""
    whole = table(*content)
    borders = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    around = table(ROW, NOTHING, *content, ROW).slice(2, len(content))
    chunked = pa.concat_tables([around.slice(start, end - start) for start, end in pairwise(borders)] or [whole])
    by_batches = RowDigest(SCHEMA)
    for batch in chunked.to_batches(max_chunksize=3):
        by_batches.update(batch)
    assert digest(whole) == digest(around) == digest(chunked) == by_batches.hexdigest()


@given(rows, st.lists(st.integers(0, 20), max_size=4), st.sampled_from([0, 64]))
@example([ROW, NOTHING, ROW], [1], 0)  # a run that begins as another one does
def test_runs_of_rows_have_the_digests_they_have_alone(content, cuts, repeated):
    """Also where many hold the same values, short or long, and where a run holds no row."""
    content = [row | {"text": row["text"] and row["text"] * (1 + repeated)} for row in content]
    whole = table(*content, *content)
    borders = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content), 2 * len(content)]
    runs = [whole.slice(start, end - start) for start, end in pairwise(borders)]
    assert row_digests(whole, [run.num_rows for run in runs]) == [digest(run) for run in runs]


@given(rows)
def test_a_digest_does_not_see_encodings(content):
    """Dictionaries, wide strings and narrow integers are ways of storing the same values."""
    whole = table(*content)
    encoded = whole.set_column(0, "text", whole["text"].dictionary_encode())
    wide = whole.set_column(0, "text", whole["text"].cast(pa.large_string()))
    views = whole.set_column(0, "text", whole["text"].cast(pa.string_view()))
    finer = whole.set_column(4, "at", whole["at"].cast(pa.timestamp("us", "UTC")))
    assert digest(whole) == digest(encoded) == digest(wide) == digest(views) == digest(finer)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint32(), pa.uint64()])
def test_integers_count_by_their_value(kind):
    """A count is the same count in 8 bits or in 64."""
    narrow, wide = (pa.table({"count": pa.array([7, None, 0], each)}) for each in (kind, pa.int64()))
    assert digest(narrow) == digest(wide)


def test_decimals_count_by_their_value_at_a_scale():
    """A price is the same in a wider decimal."""
    narrow, wide = (
        pa.table({"price": pa.array([Decimal("9.90"), None], kind)})
        for kind in (pa.decimal128(5, 2), pa.decimal128(38, 2))
    )
    assert digest(narrow) == digest(wide)


@given(rows)
def test_a_digest_does_not_see_who_wrote_the_file(tmp_path_factory, content):
    """PyArrow, DuckDB and Polars write different bytes and the same rows; row groups do not matter either."""
    folder = tmp_path_factory.mktemp("writers")
    whole = table(*content)
    pq.write_table(whole, folder / "arrow.parquet", row_group_size=3, use_dictionary=False)
    pq.write_table(whole, folder / "plain.parquet", compression="none", data_page_size=64)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.from_arrow(whole).write_parquet(str(folder / "duckdb.parquet"))
        queried = connection.sql("select * from whole").to_arrow_table()
    pl.from_arrow(whole).write_parquet(folder / "polars.parquet")  # type: ignore[union-attr]
    found = {(table.num_rows, digest(table)) for table in map(pq.read_table, folder.iterdir())}
    assert found == {(len(content), digest(whole))}
    assert digest(queried) == digest(whole)


@given(rows, st.data())
def test_any_other_value_gives_another_digest(content, data):
    """Whatever value, null or empty text is changed, the digest changes."""
    before = [ROW, *content]
    number = data.draw(st.integers(0, len(before) - 1))
    other = data.draw(rows.filter(bool))[0]
    column = data.draw(st.sampled_from([name for name in ROW if other[name] != before[number][name]] or [None]))
    if column is None:
        return
    changed = [*before[:number], {**before[number], column: other[column]}, *before[number + 1 :]]
    assert digest(table(*before)) != digest(table(*changed))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([{"text": ""}], [{"text": None}]),
        ([{"text": "ab"}, {"text": "c"}], [{"text": "a"}, {"text": "bc"}]),
        ([{"text": "a"}, {"text": None}], [{"text": None}, {"text": "a"}]),
        ([{"text": "a"}, {"text": "b"}], [{"text": "b"}, {"text": "a"}]),
        ([{"count": 0}], [{"count": None}]),
        ([{"yes": False}], [{"yes": None}]),
        ([{"price": Decimal("0.00")}], [{"price": None}]),
        (
            [{"price": Decimal("1.00")}, {"price": Decimal("11.00")}],
            [{"price": Decimal("11.00")}, {"price": Decimal("1.00")}],
        ),
        ([{"at": MOMENT}], [{"at": MOMENT + timedelta(milliseconds=1)}]),
        ([], [{}]),
        ([{}], [{}, {}]),
    ],
)
def test_what_is_told_apart(one, other):
    """Null, nothing and zero are three things; texts do not run into each other; order counts."""
    whole = [pa.Table.from_pylist([NOTHING | row for row in content], schema=SCHEMA) for content in (one, other)]
    assert digest(whole[0]) != digest(whole[1])


def test_names_and_kinds_of_columns_count():
    """A column of another name, another kind or in another place is another table."""
    tables = [
        pa.table({"a": pa.array([1]), "b": pa.array([2])}),
        pa.table({"b": pa.array([2]), "a": pa.array([1])}),
        pa.table({"a": pa.array([1]), "c": pa.array([2])}),
        pa.table({"a": pa.array(["1"]), "b": pa.array([2])}),
        pa.table({"a": pa.array([1])}),
    ]
    assert len({digest(each) for each in tables}) == len(tables)


def test_a_column_can_be_left_out():
    """Without a column the digest is that of the table without it."""
    assert row_digest(table(ROW), leave_out=("text",)) == digest(table(ROW).drop_columns(["text"]))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.list_(pa.int64()), pa.binary()])
def test_what_is_not_exact_is_refused(kind):
    """A float has no exact canonical form, so no digest; the error names the column."""
    with pytest.raises(TypeError, match="column share has type"):
        RowDigest(pa.schema([("share", kind)]))


def test_an_instant_finer_than_a_millisecond_is_refused():
    """Instants are kept to the millisecond; a finer one would be cut silently."""
    finer = pa.table({"at": pa.array([1_500], pa.timestamp("us", "UTC"))})
    with pytest.raises(pa.ArrowInvalid):
        digest(finer)


def test_a_digest_stays_what_it_was():
    """The digest is written into every snapshot's name: this value may never change."""
    assert digest(table(ROW, NOTHING)) == DIGEST_OF_TWO_ROWS


DIGEST_OF_TWO_ROWS = "66dcb2815931c118f8c820e9b3de6fca1f97b40e1954d69474627e07bbf92c9c"
