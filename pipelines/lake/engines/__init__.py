"""Engines run the SQL of the models, and map independent tasks over their workers. Each engine runs the same models.

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

from pipelines.lake.models import Model


@dataclass(frozen=True, eq=False)
class EphemeralModel:
    """A model that is not stored, and made for its readers. An engine may hold its rows while the same one is read."""

    model: Model
    sources: Mapping[str, Relation]
    params: Mapping[str, object]
    columns: Sequence[str]  # those that its readers read


Relation: TypeAlias = (
    Sequence[Path] | pa.Table | EphemeralModel
)  # what a source is: Parquet files (at least one), rows, ...


Item = TypeVar("Item")
Result = TypeVar("Result")


class Digest(Protocol):
    """The digest and the number of rows of a written file."""

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

    def map_tasks(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return `function(item)` for each item, in their order; the engine runs the calls on its workers.

        A call may be made again after it was broken off, so it must be safe to repeat. Function and items are
        pickled, and see the files that this process sees.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds: memory, spill files."""
        ...
