"""Spark where Java and pyspark are found; all its tests in one process, since each that starts one needs a gigabyte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.core import settings

HERE = Path(__file__).parent
# Started for a minute, Java had better compile fast than well.
QUICK = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.shuffle.partitions": "4",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("spark"))
            item.add_marker(pytest.mark.timeout(900))  # a statement takes Spark a second where two share a core


@pytest.fixture(scope="session")
def java() -> Path:
    """The Java of this machine."""
    found = settings.java()
    if found is None:
        pytest.skip("no Java was found, which Spark needs")
    return found


@pytest.fixture(scope="module")
def local(java, tmp_path_factory) -> Iterator[None]:
    """Spark inside of one process, for the tests of a module: each of their runs uses this one."""
    from pipelines.lake.engines.spark_context import connect

    folder = tmp_path_factory.mktemp("spark-local")
    spark = connect("local[2]", QUICK, "1GB", folder / "spark")
    yield
    spark.stop()


@pytest.fixture(scope="module")
def cluster(java, tmp_path_factory) -> Iterator[Any]:
    """A cluster of two executors in processes of their own, with a gigabyte each."""
    import pyspark

    from pipelines.lake.engines.spark_context import connect

    folder = tmp_path_factory.mktemp("spark-cluster")
    # Its workers write into the folder of Spark itself: give them one beside it, with the same programs.
    home = folder / "home"
    home.mkdir()
    for each in Path(pyspark.__file__).parent.iterdir():
        (home / each.name).symlink_to(each)
    before = os.environ.get("SPARK_HOME")
    os.environ["SPARK_HOME"] = str(home)
    spark = connect("local-cluster[2,1,1024]", QUICK, "1GB", folder / "spark")
    yield spark.context
    spark.stop()
    os.environ.pop("SPARK_HOME") if before is None else os.environ.update(SPARK_HOME=before)
