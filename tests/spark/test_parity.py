"""The same records give the same rows, model by model, and the same snapshot id on DuckDB and on Spark."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from noise import land_noise
from parity import EVERYTHING_ALLOWED, both, derived, same
from property.test_three_ways import ZONES, History, histories_in
from world import World

from pipelines.jobs import nightly
from pipelines.lake import derive, models, plan_states
from pipelines.landing import synthetic

for package in ("pyspark", "sqlglot"):
    pytest.importorskip(package, reason=f"no {package}: pip install -e '.[spark]'")
from pipelines.lake.engines import spark, spark_context  # noqa: E402

pytestmark = pytest.mark.usefixtures("local")
ROWS = 200_000
FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"


def test_a_night_over_nothing(tmp_path):
    """Every model without rows is the same file; these stand in for nothing in the lakes of all other tests here."""
    on_duckdb, on_spark = both(tmp_path, lambda world: None, from_nothing=True, min_cell=1)
    same(on_duckdb, on_spark)
    made = {name.split("/")[0] for name, (rows, *_) in derived(on_spark.world).items() if not rows}
    assert {name for name in models.LINE if models.model(name).is_stored} - made == set()


def test_a_night_in_which_everything_happens(tmp_path, monkeypatch):
    """Corrections, moves, erasures, bans, open sessions, pledges, conflicts: every model of sql/ has the same rows.

    No statement leaves a name behind: what a name stands for would stay in the driver with it.
    """
    sessions = []
    session_of = spark.SparkEngine._session
    monkeypatch.setattr(
        spark.SparkEngine, "_session", lambda engine: sessions.append(session_of(engine)) or sessions[-1]
    )

    def land(world: World) -> None:
        land_noise(world, seed=1, days=6)
        land_noise(world, seed=2, sessions=1, days=6)
        old = {"sessionId": "old", "creatorId": "ada", "viewerId": "gone", "endedAt": None}
        world.land("viewing_sessions", [old | {"startedAt": f"{year}-03-01T00:00:00Z"} for year in (2022, 2025)])

    monkeypatch.setattr(plan_states, "BASE_ROWS", 15)  # the base has a part of the records, and some have landed since
    on_duckdb, on_spark = both(tmp_path, land, min_cell=1)
    same(on_duckdb, on_spark)
    built = {name.split("/")[0] for name, (rows, *_) in derived(on_spark.world).items() if rows}
    assert {name for name in models.LINE if models.model(name).is_stored} - built == set()
    assert len(sessions) > 10
    assert [table.name for session in sessions for table in session.catalog.listTables()] == []


def test_a_lake_goes_on_with_the_other_engine(tmp_path):
    """What one engine has built is what the other finds: it builds nothing again."""
    world = World(tmp_path)
    land_noise(world, seed=2, sessions=60, days=5)
    before = world.run(compare=False, night=EVERYTHING_ALLOWED)
    again = world.run(compare=False, night=EVERYTHING_ALLOWED, engine="spark")
    assert (again.snapshot_id, again.report.built) == (before.snapshot_id, {})
    world.sessions("creator | viewer | started_at | minutes\nada | late | 2026-01-05 10:00 | 5")
    on_spark = world.run(compare=False, night=EVERYTHING_ALLOWED, engine="spark")
    assert on_spark.report.built
    nothing_to_do = world.run(compare=False, night=EVERYTHING_ALLOWED)
    assert (nothing_to_do.snapshot_id, nothing_to_do.report.built) == (on_spark.snapshot_id, {})


@pytest.mark.parametrize("rows", [1, 10**9])
def test_lost_files_come_back_in_any_grouping(tmp_path, monkeypatch, rows):
    """Whatever was lost of a lake, and however many days share a statement: the files that DuckDB built one by one."""
    world = World(tmp_path)
    world.settings = dataclasses.replace(world.settings, max_window_days=8, windows=(1, 8), revision_days=9)
    land_noise(world, seed=3, sessions=60, days=20)
    with monkeypatch.context() as patch:
        patch.setattr(derive, "BATCH_ROWS", 1)
        world.run(compare=False, night=EVERYTHING_ALLOWED)
    alone, draw = derived(world), random.Random(rows)
    for name in sorted(name for name in alone if draw.random() < 0.4):
        for path in ((world.settings.lake / name), (world.settings.lake / name).with_suffix(".parquet")):
            path.unlink()
    monkeypatch.setattr(derive, "BATCH_ROWS", rows)
    built = world.run(compare=False, night=EVERYTHING_ALLOWED, engine="spark").report.built
    assert sum(built.values()) > 20
    found = derived(world)
    assert found == {name: alone[name] for name in found}


def test_a_generated_platform_written_by_executors(tmp_path, monkeypatch):
    """What is too much to be collected is written by executors, in the same files."""
    monkeypatch.setattr(spark, "COLLECTED_BYTES", 100_000)
    spread = []
    original = spark.SparkEngine._write_parts
    monkeypatch.setattr(
        spark.SparkEngine, "_write_parts", lambda *given: spread.append(len(given[2])) or original(*given)
    )
    platform: dict[str, Any] = {"days": 2, "sessions_per_day": 2500, "seed": 7, "as_of": date(2026, 1, 31)}
    on_duckdb, on_spark = both(tmp_path, lambda world: synthetic.generate(world.settings.landing, **platform))
    same(on_duckdb, on_spark)
    assert len(spread) >= 3
    assert max(spread) >= 2  # files of one statement


def renamed(history: History, number: int) -> dict[str, list[dict[str, Any]]]:
    """The records of a history about others: every id of it has a number before it."""
    ids = ("Id", "_id", "id")
    return {
        entity: [
            {name: f"{number}-{value}" if name.endswith(ids) else value for name, value in record.items()}
            for record in records
        ]
        for entity, records in history.landed.items()
    }


@st.composite
def platforms(draw: st.DrawFn) -> tuple[date, dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """(as_of, settings, landed): several histories side by side on one platform, to be asked at once."""
    zone = draw(st.sampled_from(list(ZONES)))
    drawn = draw(st.lists(histories_in(zone), min_size=10, max_size=10))
    landed: dict[str, list[dict[str, Any]]] = {}
    for number, history in enumerate(drawn):
        for entity, records in renamed(history, number).items():
            landed.setdefault(entity, []).extend(records)
    return drawn[0].as_of, drawn[0].settings, landed


@settings(max_examples=settings().max_examples if FULL else 2)  # of ten histories each
@given(platform=platforms())
def test_random_histories(platform):
    """Whatever lands: the same rows of every model, and the same snapshot."""
    as_of, chosen, landed = platform
    note(str(landed))

    def land(world: World) -> None:
        world.settings = dataclasses.replace(world.settings, **chosen)
        for entity, records in landed.items():
            world.land(entity, records)

    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        same(*both(Path(folder), land, as_of=as_of))


def test_the_flights(test_data, tmp_path):
    """Two months of real sessions: the same rows, model by model, and the same snapshot."""
    landing = tmp_path / "landing"
    for landed in ("creators", "viewing_sessions/2013-01.ndjson.gz", "viewing_sessions/2013-02.ndjson.gz"):
        (landing / landed).parent.mkdir(parents=True, exist_ok=True)
        source = test_data / "flights" / "landing" / landed  # copied: links are not followed
        (shutil.copytree if source.is_dir() else shutil.copy)(source, landing / landed)
    nights = []
    for engine in ("duckdb", "spark"):
        world = World(tmp_path / engine, from_nothing=True, engine=engine)
        nights.append((world, nightly.run(world.settings, date(2013, 3, 1), [landing]).snapshot_id))
    (left, on_duckdb), (right, on_spark) = nights
    assert derived(left) == derived(right)
    assert on_duckdb == on_spark


def test_days_before_the_calendar_was_changed(tmp_path):
    """Java's old calendar counts other days before 1582; a session of 1500 lands on the same day."""

    def land(world: World) -> None:
        world.sessions(
            "creator | viewer | started_at       | minutes\n"
            "ada     | v1     | 1500-02-28 23:50 | 20\n"
            "ada     | v2     | 1500-03-01 10:00 | 5"
        )
        world.land("creators", "creator | updated_at\nada | 1500-03-01 10:00")

    on_duckdb, on_spark = both(tmp_path, land, as_of=date(1500, 3, 2))
    same(on_duckdb, on_spark)
    assert on_spark.viewers() == [("ada", 2)]
    assert on_spark.snapshot.as_of - timedelta(days=1) == date(1500, 3, 1)


# --- what the driver holds -------------------------------------------------------------------------------------------


def held(context: Any) -> int:
    """Bytes of Java's heap that are in use after what nobody needs is gone."""
    context._jvm.System.gc()
    runtime = context._jvm.Runtime.getRuntime()
    return int(runtime.totalMemory() - runtime.freeMemory())


def test_what_is_handed_over_is_held_as_it_is(local, tmp_path):
    """Rows for a statement over little take what Arrow takes, and not objects many times as large."""
    engine = spark.SparkEngine(spark_context.connect("", {}, "1GB", tmp_path), tmp_path / "parts")
    session, context = engine._session(), engine._context
    for option, value in spark._FOR_LITTLE.items():
        session.conf.set(option, value)
    after = []
    for rows in (1, ROWS):  # the first loads the classes
        texts = pa.array([f"viewer-{number:017d}" for number in range(rows)])
        table = pa.table({"number": pa.array(range(rows), pa.int64()), "viewer_id": texts})
        engine._handed_over(session, table).createOrReplaceTempView("handed")
        read = session.sql("select sum(number) from handed where viewer_id > ''").collect()
        assert read[0][0] == sum(range(rows))
        after.append(held(context))
    assert after[1] - after[0] < 5 * table.nbytes  # 2 as it is, 9 as objects
