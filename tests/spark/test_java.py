"""What the driver's Java holds of a night, and what is said when it ends in the middle of one."""

from __future__ import annotations

import os
import signal
from typing import Any

import pyarrow as pa
import pytest
from world import World

from pipelines.errors import MostwatchedError

for package in ("pyspark", "sqlglot"):
    pytest.importorskip(package, reason=f"no {package}: pip install -e '.[spark]'")
from pipelines.engines import spark, spark_context  # noqa: E402

QUICK = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("java")]
ROWS = 200_000
SESSIONS = "creator | viewer | started_at | minutes\nada | grace | 2026-01-05 10:00 | 5"


def held(context: Any) -> int:
    """Bytes of Java's heap that are in use after what nobody needs is gone."""
    context._jvm.System.gc()
    runtime = context._jvm.Runtime.getRuntime()
    return int(runtime.totalMemory() - runtime.freeMemory())


# Before all tests that use the Spark of this module: this one needs one of its own.
def test_java_ends_in_the_middle_of_a_night(tmp_path, monkeypatch):
    """It is said in a sentence, nothing is published, and what the same process asks next starts another Java."""
    write = spark.SparkEngine.write

    def killing(engine: spark.SparkEngine, model: Any, *given: Any) -> Any:
        if model.name == "session_repeats":
            os.kill(engine._context._gateway.proc.pid, signal.SIGKILL)
        return write(engine, model, *given)

    world = World(tmp_path, engine="spark")
    world.sessions(SESSIONS)
    with monkeypatch.context() as patch:
        patch.setattr(spark.SparkEngine, "write", killing)
        with pytest.raises(MostwatchedError, match=r"could not build session_repeats: the Java .* has ended"):
            world.run(compare=False)
    assert not (world.settings.home / "current.json").exists()
    another = spark_context.connect("local[1]", QUICK, "1GB", tmp_path / "spark")
    assert not another.is_gone()
    another.stop()


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
    assert after[1] - after[0] < 3 * table.nbytes


def test_a_statement_leaves_no_names_behind(local, tmp_path):
    """What a name stands for would stay in the driver with it."""
    sessions = []
    told = spark.SparkEngine._session

    def seen(engine: spark.SparkEngine) -> Any:
        sessions.append(told(engine))
        return sessions[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark.SparkEngine, "_session", seen)
        World(tmp_path, engine="spark", from_nothing=True).run(compare=False)
    assert len(sessions) > 10
    assert [table.name for session in sessions for table in session.catalog.listTables()] == []
