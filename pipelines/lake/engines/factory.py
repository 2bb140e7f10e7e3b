"""Start the engine that the settings name. Each imports its library when it is started, and not before."""

from __future__ import annotations

from pathlib import Path

from pipelines.core import settings as environment
from pipelines.core.durable_files import TEMPORARY_PREFIX
from pipelines.core.errors import MostwatchedError
from pipelines.core.settings import Settings
from pipelines.lake.engines import Engine


def start(settings: Settings, spill: Path | None = None) -> Engine:
    """The engine that the settings name. What it spills goes into `spill`: by default a folder of the lake that the
    next run would sweep. Raises MostwatchedError where something is missing that it needs.
    """
    folder = spill or settings.lake / f"{TEMPORARY_PREFIX}spill"
    if settings.engine == "spark":
        return _spark(settings, folder)
    from pipelines.lake.engines.duckdb import DuckDBEngine  # an import of 0.1 s that a night without news does not need

    return DuckDBEngine(settings.memory_limit, settings.threads, folder, settings.home)


def _spark(settings: Settings, folder: Path) -> Engine:
    if environment.java() is None and not environment.is_submitted():
        raise MostwatchedError(
            "The engine spark needs Java 17 or later, and none was found: put it on the PATH or name its folder in "
            "JAVA_HOME. Or leave it to --engine duckdb."
        )
    try:
        from pipelines.lake.engines import spark
    except ModuleNotFoundError as error:
        raise MostwatchedError(
            f"The engine spark needs the Python package {error.name}, which is not installed: "
            "pip install 'mostwatched[spark]'. Or leave it to --engine duckdb."
        ) from error
    return spark.start(settings, folder)
