"""Engines: what runs the SQL. The seam is one method, so that the same models run on another engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa

from pipelines.models import Model
from pipelines.store import RowDigest


@dataclass(frozen=True, eq=False)
class Unstored:
    """A model that is made for its readers and kept nowhere. An engine may hold its rows while the same one is read."""

    model: Model
    sources: Mapping[str, Relation]
    params: Mapping[str, object]
    columns: Sequence[str]  # those that its readers read


Relation: TypeAlias = Sequence[Path] | pa.Table | Unstored  # what a source is: Parquet files (at least one), rows, ...


class Engine(Protocol):
    """Runs a model and writes its rows as Parquet files."""

    def write(
        self,
        model: Model,
        sources: Mapping[str, Relation],
        params: Mapping[str, object],
        targets: Mapping[date | None, Path],
    ) -> dict[date | None, RowDigest]:
        """Run `model` over `sources` and write its rows, sorted by the model's keys; returns the digest of each file.

        `targets` is {None: path} for all rows in one file, or a path for each day, which is the first column; rows of
        other days are dropped, and a day without rows gets a file without rows. Files are plain: not fsynced or
        renamed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds: memory, spill files."""
        ...
