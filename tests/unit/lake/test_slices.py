"""Tables of users are worked out slice by slice, so that their memory does not grow: the rows are those of one go."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.core.row_digest import row_digest
from pipelines.lake import models
from pipelines.lake.engines import duckdb
from pipelines.lake.engines.duckdb import DuckDBEngine

SLICED = [name for name in models.LINE if models.model(name).is_sliced]
# of all lengths, in the order of their bytes and not of any alphabet's, with what SQL must not be told
USERS = ["", "'", "a", "a'b", "aa", "ab\0c", "b" * 300, "é", "ẞ", "\ue000", "\U00010000", "u1", "u10", "u2"]
TYPES = {"updated_at": pa.timestamp("ms", "UTC"), "followed_at": pa.timestamp("ms", "UTC"), "price": pa.int64()}
TYPES |= {"rented_at": pa.timestamp("ms", "UTC"), "expires_at": pa.timestamp("ms", "UTC")}
TYPES |= {"deleted": pa.bool_(), "is_in_base": pa.bool_(), "is_erased": pa.bool_()}


def rows(draw: random.Random, name: str, count: int) -> pa.Table:
    """Rows of a source, sorted by user as all that is derived is."""
    schema = pa.schema([(column, TYPES.get(column, pa.string())) for column in models.model(name).columns])
    made: dict[tuple[object, ...], dict[str, object]] = {}  # one a key
    while len(made) < count:
        row = {}
        for column in schema.names:
            kind = schema.field(column).type
            row[column] = draw.choice(USERS) if column == "user_id" else draw.choice(["x", "y"])
            if not pa.types.is_string(kind):
                row[column] = draw.random() < 0.3 if pa.types.is_boolean(kind) else draw.randrange(3)
        made[tuple(row[key] for key in models.model(name).keys)] = row
    return pa.Table.from_pylist(sorted(made.values(), key=lambda row: str(row["user_id"]).encode()), schema)


@pytest.fixture
def engine(tmp_path):
    made = DuckDBEngine("500MB", 2, tmp_path / "spill")
    yield made
    made.close()


def written(engine: DuckDBEngine, name: str, sources: dict[str, Path], path: Path) -> pa.Table:
    params = {"as_of_instant": pa.scalar(2, pa.timestamp("ms", "UTC")).as_py()}
    digests = engine.write(models.model(name), {each: [file] for each, file in sources.items()}, params, {None: path})
    table = pq.read_table(path)
    assert digests[None].hexdigest() == row_digest(table)
    return table


def laid(folder: Path, name: str, table: pa.Table, rows_a_group: int) -> Path:
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, row_group_size=rows_a_group)
    return path


def test_what_is_sliced_is_sliced_by_users():
    """Each source has the column, and the rows of the result begin with it."""
    assert {"follows", "base_follows", "replay_rentals", "base_replay_rentals"} == set(SLICED)
    for name in SLICED:
        assert models.model(name).keys[0] == "user_id"
        assert all("user_id" in models.model(source).columns for source in models.model(name).sources)


@pytest.mark.parametrize("name", SLICED)
@pytest.mark.parametrize("seed", range(4))
def test_slices_come_to_the_rows_of_one_go(engine, tmp_path, monkeypatch, name, seed):
    """Row for row and in order, whatever the ids are and wherever the bounds lie."""
    draw = random.Random(f"{name} {seed}")
    sources = models.model(name).sources
    files = {each: laid(tmp_path, each, rows(draw, each, 24 // (1 + at)), 3) for at, each in enumerate(sources)}
    whole = written(engine, name, files, tmp_path / "whole")
    monkeypatch.setattr(duckdb, "SLICE_ROWS", draw.choice([1, 5]))
    slices = duckdb._slices(models.model(name), {each: [file] for each, file in files.items()})
    assert len(slices) > 1
    assert written(engine, name, files, tmp_path / "sliced").equals(whole)
    assert whole.num_rows > 0


@pytest.mark.parametrize("name", SLICED)
def test_an_order_that_is_none_changes_no_row(engine, tmp_path, monkeypatch, name):
    """Also of sources that are not sorted, or empty, or hold one user alone."""
    draw = random.Random(name)
    monkeypatch.setattr(duckdb, "SLICE_ROWS", 1)
    sources = models.model(name).sources
    tables = {each: rows(draw, each, 20) for each in sources}
    shuffled = {each: table.take(pa.array(draw.sample(range(20), 20))) for each, table in tables.items()}
    one_user = {each: table.filter(pc.equal(table["user_id"], "u1")) for each, table in tables.items()}
    none = {each: table.slice(0, 0) for each, table in tables.items()}
    for case in (tables, shuffled, one_user, none):
        files = {each: laid(tmp_path, each, table, 2) for each, table in case.items()}
        sliced = written(engine, name, files, tmp_path / "sliced")
        with monkeypatch.context() as patch:
            patch.setattr(duckdb, "SLICE_ROWS", 1 << 20)
            assert written(engine, name, files, tmp_path / "whole").equals(sliced)


def test_a_slice_reads_its_own_row_groups(tmp_path, monkeypatch):
    """The bounds part the largest source into so many rows, and no further."""
    table = pa.table({"user_id": [f"u{number:05}" for number in range(1_000)]})
    path = laid(tmp_path, "follow_versions", table, 100)
    monkeypatch.setattr(duckdb, "SLICE_ROWS", 250)
    slices = duckdb._slices(models.model("base_follows"), {"follow_versions": [path]})
    assert [list(each.bounds.values()) for each in slices] == [
        ["u00300"],
        ["u00300", "u00600"],
        ["u00600", "u00900"],
        ["u00900"],
    ]
    monkeypatch.setattr(duckdb, "SLICE_ROWS", 1_000)
    assert len(duckdb._slices(models.model("base_follows"), {"follow_versions": [path]})) == 1
