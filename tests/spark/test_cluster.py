"""On executors in processes of their own the rows are the same, also when one of them is killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from parity import both, same
from world import World

from pipelines.landing import synthetic

for package in ("pyspark", "sqlglot"):
    pytest.importorskip(package, reason=f"no {package}: pip install -e '.[spark]'")
from pipelines.lake.engines import spark  # noqa: E402

pytestmark = pytest.mark.timeout(600)
PLATFORM: dict[str, Any] = {"days": 2, "sessions_per_day": 2000, "seed": 11, "as_of": date(2026, 1, 31)}


def executors(context: Any) -> set[int]:
    """The processes of this cluster's executors: those that our own Java has started."""
    java = context._gateway.proc.pid
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == java and b"CoarseGrainedExecutorBackend" in command:
            found.add(int(folder.name))
    return found


class Killer(threading.Thread):
    """Kills an executor once while landed files are read, and once while executors write, with tasks at work."""

    def __init__(self, context: Any) -> None:
        super().__init__(daemon=True)
        self.context = context
        self.phase = "reading"
        self.killed: dict[str, int] = {}
        self.done = threading.Event()

    def run(self) -> None:
        status = self.context.statusTracker()
        while len(self.killed) < 2 and not self.done.wait(0.005):
            if self.phase in self.killed:  # asking all the time would take as much from the cores as Spark does
                continue
            stages = [status.getStageInfo(stage) for stage in status.getActiveStageIds()]
            if not any(stage and stage.numActiveTasks for stage in stages):
                continue
            alive = executors(self.context) - set(self.killed.values())
            if alive:
                self.killed[self.phase] = min(alive)
                os.kill(self.killed[self.phase], signal.SIGKILL)


def test_a_killed_executor_changes_nothing(cluster, tmp_path, monkeypatch):
    """Landed files are read by executors, large models written by them; two die meanwhile: all is as on DuckDB."""
    monkeypatch.setattr(spark, "COLLECTED_BYTES", 60_000)
    killer = Killer(cluster)
    before = executors(cluster)
    assert len(before) == 2

    def land(world: World) -> None:
        synthetic.generate(world.settings.landing, **PLATFORM)
        if world.settings.engine == "spark":
            killer.start()

    spread, files = spark.SparkEngine._write_parts, []

    def writing(*given: Any) -> Any:
        killer.phase = "writing"
        files.append(len(given[2]))
        return spread(*given)

    monkeypatch.setattr(spark.SparkEngine, "_write_parts", writing)
    on_duckdb, on_spark = both(tmp_path, land)
    killer.done.set()
    killer.join()
    assert set(killer.killed) == {"reading", "writing"}
    assert not set(killer.killed.values()) & executors(cluster)
    assert len(files) >= 3
    assert max(files) >= 2, "files of one statement"
    same(on_duckdb, on_spark)
    lake = on_spark.world.settings.lake
    assert [path for path in lake.rglob(".tmp-*") if path != lake / ".tmp-spill"] == []
