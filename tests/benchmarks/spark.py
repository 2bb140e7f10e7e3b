"""Spark beside DuckDB: the same night on the same home, on the same cores, at several sizes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipelines.core import settings
from tests.benchmarks.contenders import Contender, Runs, side_by_side
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed
from tests.benchmarks.report import Row, Section, timed
from tests.benchmarks.workload import AS_OF, Workload, night, prepare


def measure(options: Options, workload: Workload) -> Section:
    """The night of several sizes on both engines."""
    title = "Spark beside DuckDB"
    says = (
        "The same night from the same home, on the same cores; both publish the same snapshot. CPU and memory are "
        "those of all processes: Java's, and Python's on both sides of it."
    )
    if not can_run():
        return Section("spark", title, "Not measured: Java, pyspark and sqlglot are needed.", [])
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for sessions in options.spark_sizes or (workload.sessions // 10, workload.sessions):
        is_prepared = sessions == workload.sessions
        sized = workload if is_prepared else prepare(options, workload.folder.parent, sessions)
        results = side_by_side(
            [night_on(sized, "duckdb"), night_on(sized, "spark", options.spark_memory)], options.runs
        )
        on_duckdb, on_spark = results.values()
        if failed := on_duckdb.failure or on_spark.failure:
            raise Failed(f"The night failed: {failed}")
        ids = {json.loads(each.last.stdout.splitlines()[-1])["snapshot_id"] for each in results.values()}
        if len(ids) != 1:
            raise Failed(f"The engines published different snapshots: {sorted(ids)}")
        what = f"night of {sessions:,}"
        ratio = on_spark.cpu / on_duckdb.cpu
        rows += [timed(what, on_duckdb), timed(what, on_spark, ratio=ratio, ratio_is="x DuckDB's CPU")]
        facts[str(sessions)] = {name: _cost(runs) for name, runs in results.items()}
        if not is_prepared:
            sized.discard(options)
    return Section("spark", title, says, rows, facts)


def can_run() -> bool:
    """Whether all is here that Spark needs."""
    return settings.java() is not None and all(importlib.util.find_spec(name) for name in ("pyspark", "sqlglot"))


def night_on(
    workload: Workload, engine: str, memory: str | None = None, spark_options: Mapping[str, str] | None = None
) -> Contender:
    """The nightly job on an engine, in a fresh copy of the home as it was the evening before."""

    @contextmanager
    def ready() -> Iterator[Sequence[str]]:
        with workload.copy(workload.base) as home:
            yield [*night(home, AS_OF, workload.night), "--engine", engine]

    env = {**workload.env, "MOSTWATCHED_SPARK_OPTIONS": json.dumps(spark_options) if spark_options else ""}
    if memory is not None:
        env["MOSTWATCHED_MEMORY_LIMIT"] = memory
    return Contender(engine, ready, env, with_children=True)


def run_night(workload: Workload, memory: str, spark_options: Mapping[str, str]) -> None:
    """Run the night once on Spark. Raises Failed where that fails."""
    done = side_by_side([night_on(workload, "spark", memory, spark_options)], 1)["spark"]
    if done.failure is not None:
        raise Failed(f"The night failed: {done.failure}")


def _cost(runs: Runs) -> dict[str, float]:
    return {"seconds": runs.wall, "cpu_seconds": runs.cpu, "peak_bytes": runs.peak_bytes}
