"""Engines: what runs the SQL, and where work that is independent runs. The same models run on each of them.

Whichever engine makes a file: its rows, their order, their types and so their digest and the names of all that rests
on them are the same. A lake that one engine has built goes on with another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import pyarrow as pa

from pipelines.core import settings as environment
from pipelines.core.durable_files import TEMPORARY_PREFIX
from pipelines.core.errors import MostwatchedError
from pipelines.core.settings import Settings
from pipelines.lake.models import Model


@dataclass(frozen=True, eq=False)
class Unstored:
    """A model that is made for its readers and kept nowhere. An engine may hold its rows while the same one is read."""

    model: Model
    sources: Mapping[str, Relation]
    params: Mapping[str, object]
    columns: Sequence[str]  # those that its readers read


Relation: TypeAlias = Sequence[Path] | pa.Table | Unstored  # what a source is: Parquet files (at least one), rows, ...


Item = TypeVar("Item")
Result = TypeVar("Result")


class Digest(Protocol):
    """What is known of the rows of a file once it is written."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def hexdigest(self) -> str:
        """As `pipelines.core.row_digest.RowDigest` says it."""
        ...


class Engine(Protocol):
    """Runs a model and writes its rows as Parquet files."""

    def write(
        self,
        model: Model,
        sources: Mapping[str, Relation],
        params: Mapping[str, object],
        targets: Mapping[date | None, Path],
    ) -> Mapping[date | None, Digest]:
        """Run `model` over `sources` and write its rows, sorted by the model's keys; returns the digest of each file.

        `targets` is {None: path} for all rows in one file, or a path for each day, which is the first column; rows of
        other days are dropped, and a day without rows gets a file without rows. Files are plain: not fsynced or
        renamed.
        """
        ...

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """What `function` returns for each item, in their order; the calls are spread over what the engine runs on.

        A call may be made again after it was broken off, so it must be safe to repeat. Function and items are
        pickled, and see the files that this process sees.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds: memory, spill files."""
        ...


def start(settings: Settings, spill: Path | None = None) -> Engine:
    """The engine that the settings name. What it spills goes into `spill`: by default a folder of the lake that the
    next run would sweep. Raises MostwatchedError where something is missing that it needs.
    """
    folder = spill or settings.lake / f"{TEMPORARY_PREFIX}spill"
    if settings.engine == "spark":
        return _spark(settings, folder)
    from pipelines.lake.engines.duckdb import DuckDBEngine  # an import of 0.1 s that a night without news does not need

    return DuckDBEngine(settings.memory_limit, settings.threads, folder)


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
