"""Which engine runs the SQL, and what is said where one cannot be had. That it is the same is tests/spark's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core import settings
from pipelines.core.errors import MostwatchedError, UsageError
from pipelines.core.settings import Settings
from pipelines.lake import engines, models
from pipelines.lake.engines import factory


def on_spark(folder: Path) -> Settings:
    return Settings(home=folder, engine="spark")


def test_without_java_it_is_said_what_to_do(tmp_path, monkeypatch):
    """No Java: what is needed, where it is looked for, and the way without."""
    monkeypatch.setattr(settings, "java", lambda: None)
    with pytest.raises(MostwatchedError, match=r"needs Java 17 or later.*JAVA_HOME.*--engine duckdb"):
        factory.start(on_spark(tmp_path))


@pytest.mark.parametrize("package", ["pyspark", "sqlglot"])
def test_without_a_package_it_is_said_what_to_install(tmp_path, monkeypatch, package):
    """No pyspark, or no sqlglot: its name, and how to install it."""
    monkeypatch.setattr(settings, "java", lambda: Path("java"))
    for name in [name for name in sys.modules if name.startswith("pipelines.lake.engines.spark")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(engines, "spark", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MostwatchedError, match=rf"package (pyspark|{package}).*pip install 'mostwatched\[spark\]'"):
        factory.start(on_spark(tmp_path))


def test_java_is_that_of_java_home_else_of_the_path(tmp_path):
    """JAVA_HOME comes first, even where it names a folder without one: that is a mistake worth hearing of."""
    for folder in (tmp_path / "home" / "bin", tmp_path / "path"):
        folder.mkdir(parents=True)
        (folder / "java").touch(mode=0o755)
    path = str(tmp_path / "path")
    assert settings.java({"PATH": path}) == tmp_path / "path" / "java"
    assert settings.java({"PATH": path, "JAVA_HOME": str(tmp_path / "home")}) == tmp_path / "home" / "bin" / "java"
    assert settings.java({"PATH": path, "JAVA_HOME": str(tmp_path)}) is None


def test_options_are_json_or_a_list():
    """Both ways to write Spark's options give the same; what is none is refused with its name."""
    variable = settings.variable("spark_options")
    as_list = settings.load(environ={variable: "spark.b=2, spark.a = x=y"}).spark_options
    as_json = settings.load(environ={variable: '{"spark.a": "x=y", "spark.b": 2}'}).spark_options
    assert as_list == as_json == (("spark.a", "x=y"), ("spark.b", "2"))
    for wrong in ("executor.memory=4g", "spark.a", '{"a": 1}', "{"):
        with pytest.raises(UsageError, match="MOSTWATCHED_SPARK_OPTIONS"):
            settings.load(environ={variable: wrong})


def test_a_run_on_duckdb_imports_nothing_of_sparks():
    """Whoever does not use Spark does not wait for it."""
    code = "import sys, pipelines.cli, pipelines.jobs.nightly, pipelines.lake.engines.duckdb; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pyspark", "py4j", "sqlglot"} & set(done.stdout.split())


# --- the translation: rows are compared in tests/spark, for which Java is needed -----------------------------------


def test_the_command_line_imports_what_is_used_only():
    """Who asks for help, or misspells a command, does not wait for what a night needs."""
    code = "import sys, pipelines.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "numpy", "duckdb", "polars", "prefect", "obstore", "boto3", "starlette"} & set(loaded)


@pytest.mark.parametrize("name", [*models.LINE, *(check.name for name in models.LINE for check in models.checks(name))])
def test_models_use_what_has_been_compared(name):
    """A new function may mean something else to Spark: compare, then add it to VERIFIED_FUNCTIONS."""
    spark_sql = pytest.importorskip("pipelines.lake.engines.spark_sql", reason="no sqlglot", exc_type=ImportError)
    assert spark_sql.unverified_functions(models.model(name).statement) == set()
