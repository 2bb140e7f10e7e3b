"""spark-submit and a real cluster, as the README has them: a master and its workers on loopback, and the same night.

By default one way is tried, which is both at once; with HYPOTHESIS_PROFILE=full all of them, over a whole platform.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import pytest
from parity import EVERYTHING_ALLOWED, derived
from world import World

from pipelines import cli
from pipelines.landing import synthetic

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("java")]
FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"
AS_OF = date(2026, 1, 31)
PACKAGE = Path(cli.__file__).parents[2]
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # started for a minute, it had better compile fast than well
OPTIONS = {
    "spark.driver.extraJavaOptions": JAVA,
    "spark.executor.extraJavaOptions": JAVA,
    "spark.executor.memory": "600m",
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def programs() -> Path:
    """The folder of Spark's own scripts."""
    import pyspark

    return Path(pyspark.__file__).parent / "bin"


def environment() -> dict[str, str]:
    """As on a machine that runs Spark: the Python of the driver and of the executors is named, nothing else."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MOSTWATCHED_", "SPARK_"))}
    return ours | {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(PACKAGE), "SPARK_LOCAL_IP": "127.0.0.1"}


@contextmanager
def started(log: Path, until: str, role: str, *arguments: str) -> Iterator[str]:
    """One process of a cluster, once it has said what matches `until`; gives the match. Ended by its own handle."""
    rest = "-Dspark.master.rest.enabled=false"  # it would take a port of its own choice
    options = {"SPARK_DAEMON_JAVA_OPTS": f"{JAVA} {rest}", "SPARK_DAEMON_MEMORY": "256m"}
    command = [str(programs() / "spark-class"), f"org.apache.spark.deploy.{role}", *arguments]
    with log.open("w") as said:
        process = subprocess.Popen(command, env=environment() | options, stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 180
        while (found := re.search(until, log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def standalone(java, tmp_path_factory) -> Iterator[str]:
    """The address of a cluster that stands for the length of these tests: a master, and a worker or two."""
    folder = tmp_path_factory.mktemp("standalone")
    here = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    with ExitStack() as running:
        master = running.enter_context(started(folder / "master", r"spark://127\.0\.0\.1:\d+", "master.Master", *here))
        for number in range(2 if FULL else 1):
            size = ("--cores", "1" if FULL else "2", "--memory", "1g", "--work-dir", str(folder / f"work-{number}"))
            log = folder / f"worker-{number}"
            running.enter_context(started(log, "Successfully registered", "worker.Worker", *here, *size, master))
        yield master


@pytest.fixture(scope="module")
def evening(tmp_path_factory) -> World:
    """A platform whose lake DuckDB has built, and a last file of sessions that has not landed yet."""
    world = World(tmp_path_factory.mktemp("evening"))
    size = {"days": 3, "sessions_per_day": 1500} if FULL else {"days": 2, "sessions_per_day": 150}
    synthetic.generate(world.settings.landing, **size, seed=5, as_of=AS_OF)
    last = max((world.settings.landing / "viewing_sessions").iterdir())
    last.rename(world.settings.home / last.name)
    world.run(AS_OF, compare=False, night=EVERYTHING_ALLOWED)
    return world


def copied(evening: World, folder: Path) -> World:
    """The same platform in another folder, where the last file has landed."""
    world = World(folder)
    shutil.copytree(evening.settings.home, world.settings.home)
    last = next(world.settings.home.glob("*.ndjson"))
    last.rename(world.settings.landing / "viewing_sessions" / last.name)
    return world


def submitted(master: str) -> Sequence[str]:
    """The beginning of a command line of spark-submit's: the product comes after it."""
    options = [part for name, value in OPTIONS.items() for part in ("--conf", f"{name}={value}")]
    return (
        str(programs() / "spark-submit"),
        "--master",
        master,
        *options,
        str(PACKAGE / "pipelines" / "cli" / "__main__.py"),
    )


def compare(evening: World, folder: Path, *command: str, **settings: str) -> None:
    """The night by a command of Spark's, and by DuckDB: the same lake, name by name, and the same snapshot."""
    on_duckdb = copied(evening, folder / "duckdb").run(AS_OF, compare=False, night=EVERYTHING_ALLOWED)
    world = copied(evening, folder / "spark")
    night = ("run", "--direct", "--json", "--accept-rejects", "--allow-incomplete", "--as-of", str(AS_OF))
    done = subprocess.run(
        (*command, "--home", str(world.settings.home), *night, "--engine", "spark"),
        env=environment() | {"MOSTWATCHED_MAX_WINDOW_DAYS": str(world.settings.max_window_days)} | settings,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert derived(world) == derived(on_duckdb.world)
    assert told["snapshot_id"] == on_duckdb.snapshot_id
    assert told["built"] == on_duckdb.report.built != {}
    assert not (world.settings.lake / ".tmp-spill").exists()


def test_submitted_to_a_cluster(standalone, evening, tmp_path):
    """spark-submit with a master of its own, in client mode: the file is read and all is built on the cluster."""
    compare(evening, tmp_path, *submitted(standalone))


@pytest.mark.skipif(not FULL, reason="HYPOTHESIS_PROFILE=full tries every way")
def test_submitted_to_this_machine(evening, tmp_path):
    """spark-submit --master local[2]."""
    compare(evening, tmp_path, *submitted("local[2]"))


@pytest.mark.skipif(not FULL, reason="HYPOTHESIS_PROFILE=full tries every way")
def test_a_cluster_named_in_the_settings(standalone, evening, tmp_path):
    """MOSTWATCHED_SPARK_MASTER, without spark-submit; statements over more than little are written by the executors."""
    options = json.dumps(OPTIONS | {"spark.mostwatched.collectedBytes": "50000"})
    compare(
        evening,
        tmp_path,
        sys.executable,
        "-m",
        "pipelines.cli",
        MOSTWATCHED_SPARK_MASTER=standalone,
        MOSTWATCHED_SPARK_OPTIONS=options,
    )
