"""Spark beside DuckDB: the same night on the same home, and what of it lies and moves on a cluster, a session.

The bytes of the lake are the same whichever engine writes them; what Spark shuffles is told by its own event log.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines import settings
from tests.benchmarks.contenders import Contender, side_by_side
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed
from tests.benchmarks.report import Row, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, night, prepare

_LOGGED = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.eventLog.rolling.enabled": "false",
    "spark.mostwatched.collectedBytes": "0",
}
MODELS = ("session_keys", "session_outcomes", "viewer_days", "creator_reach")  # those that grow with the sessions


def measure(options: Options, workload: Workload) -> Section:
    """The night of several sizes on both engines; bytes a session, at the largest and at smaller ones."""
    title, says = "Spark beside DuckDB", "The same night from the same home. Both publish the same snapshot."
    if settings.java() is None or not all(importlib.util.find_spec(name) for name in ("pyspark", "sqlglot")):
        return Section("spark", title, "Not measured: Java, pyspark and sqlglot are needed.", [])
    rows: list[Row] = []
    facts: dict[str, object] = {}
    sizes = options.spark_sizes or (workload.sessions // 10, workload.sessions)
    for sessions in sizes:
        is_prepared = sessions == workload.sessions
        sized = workload if is_prepared else prepare(options, workload.folder.parent, sessions)
        what = f"night of {sessions:,}"
        log = sized.folder / "events"
        results = side_by_side([_night(sized, "duckdb"), _night(sized, "spark")], options.runs)
        on_duckdb, on_spark = results.values()
        if failed := on_duckdb.failure or on_spark.failure:
            raise Failed(f"The night failed: {failed}")
        ids = {json.loads(each.last.stdout.splitlines()[-1])["snapshot_id"] for each in results.values()}
        if len(ids) != 1:
            raise Failed(f"The engines published different snapshots: {sorted(ids)}")
        rows += [
            timed(what, on_duckdb),
            timed(
                what, on_spark, ratio=on_spark.wall / on_duckdb.wall, ratio_is="x DuckDB's", note="CPU without Java's"
            ),
        ]
        side_by_side([_night(sized, "spark", log)], 1)
        lying, moving = stored(sized), shuffled(log)
        facts[str(sessions)] = {
            "seconds": {name: runs.wall for name, runs in results.items()},
            "bytes_a_session": {name: size / sessions for name, size in lying.items()},
            "shuffled_a_session": {name: size / sessions for name, size in moving.items()},
        }
        rows += [
            Row(f"{what}, {name} on disk", "lake", (size / sessions,), unit="B a session")
            for name, size in lying.items()
        ]
        rows += [
            Row(f"{what}, {name} shuffled", "spark", (size / sessions,), unit="B a session")
            for name, size in sorted(moving.items())
            if size / sessions >= 0.1
        ]
        if not is_prepared:
            sized.discard(options)
    return Section("spark", title, says, rows, facts)


def _night(workload: Workload, engine: str, log: Path | None = None) -> Contender:
    """The nightly job on an engine, in a fresh copy of the home as it was the evening before.

    With a folder for Spark's `log` everything is written by executors, however little it is: as at a size that must be.
    """

    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        if log is not None:
            shutil.rmtree(log, ignore_errors=True)
            log.mkdir()
        with workload.copy(workload.base) as home:
            yield [*night(home, AS_OF, workload.night), "--engine", engine]

    options = {} if log is None else {**_LOGGED, "spark.eventLog.dir": log.as_uri()}
    env = {**workload.env, "MOSTWATCHED_SPARK_OPTIONS": json.dumps(options) if options else ""}
    return Contender(engine, ready, env)


def stored(workload: Workload) -> dict[str, int]:
    """Bytes of the night's own day in the lake after it: raw, and the models that grow with the sessions."""
    day = workload.night_file.stem
    lake = workload.after / "lake"
    raw = sum(path.stat().st_size for path in (lake / "raw" / "viewing_sessions").rglob(f"{day}.parquet"))
    landed = workload.night_file.stat().st_size
    of_models = {
        model: sum(path.stat().st_size for path in (lake / model / f"day={day}").glob("*.parquet")) for model in MODELS
    }
    return {"landed": landed, "raw": raw, **of_models}


def shuffled(log: Path) -> dict[str, int]:
    """Bytes that a run wrote for its shuffles, by the model that Spark was at work on."""
    found: Counter[str] = Counter()
    model_of: dict[int, str] = {}
    for path in log.iterdir():
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerStageSubmitted":
                properties = event.get("Properties") or {}
                model_of[event["Stage Info"]["Stage ID"]] = properties.get("spark.job.description", "")
            elif event["Event"] == "SparkListenerTaskEnd" and (metrics := event.get("Task Metrics")):
                written = metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
                found[model_of.get(event["Stage ID"], "")] += written
    return {name: size for name, size in found.items() if size and name}
