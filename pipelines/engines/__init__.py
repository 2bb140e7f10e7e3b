"""Engines: what runs the SQL. The seam is one method, so that the same models run on another engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa

from pipelines.models import Model
from pipelines.store import RowDigest

Relation: TypeAlias = Sequence[Path] | pa.Table  # what a source is: Parquet files (at least one) or rows


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

        `targets` is {None: path} for all rows in one file, or a path for each day; rows of other days are dropped, and
        a day without rows gets a file without rows. Files are plain: not fsynced, not renamed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds: memory, spill files."""
        ...
