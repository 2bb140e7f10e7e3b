"""What is said when the driver's Java ends in the middle of a night."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from listening import arguments
from world import World

from pipelines.core.errors import MostwatchedError

for package in ("pyspark", "sqlglot"):
    pytest.importorskip(package, reason=f"no {package}: pip install -e '.[spark]'")
from pipelines.lake.engines import spark, spark_context  # noqa: E402

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("java")]
SESSIONS = "creator | viewer | started_at | minutes\nada | grace | 2026-01-05 10:00 | 5"


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
    another = spark_context.connect("local[1]", {}, "1GB", tmp_path / "spark")
    assert not another.is_gone()
    another.stop()


def test_secrets_are_in_no_argument(tmp_path):
    """Every user of the machine can read the arguments of Java; the options that they hold are there all the same."""
    secrets = {"spark.hadoop.fs.s3a.secret.key": "open-sesame", "spark.hadoop.fs.s3a.access.key": "ali-baba"}
    running = spark_context.connect("local[1]", {**secrets, "spark.app.color": "red"}, "1GB", tmp_path / "spark")
    try:
        words = " ".join(word for line in arguments(os.getpid()).values() for word in line)
        assert "spark.app.color=red" in words
        assert "open-sesame" not in words
        assert "ali-baba" not in words
        assert {name: running.context.getConf().get(name) for name in secrets} == secrets
        assert running.context._jsc.hadoopConfiguration().get("fs.s3a.secret.key") == "open-sesame"
    finally:
        running.stop()
