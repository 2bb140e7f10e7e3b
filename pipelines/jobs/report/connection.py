"""The in-memory database for the queries of a report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.core import durable_files
from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine


@contextmanager
def report_connection(settings: Settings) -> Iterator[engine.Connection]:
    """Open a database in memory that spills into the lake; nothing of that stays."""
    spill = settings.lake / f"{durable_files.TEMPORARY_PREFIX}report-spill"
    connection = engine.connect(settings.memory_limit, settings.threads, spill)
    try:
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)
