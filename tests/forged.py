"""Puts another table into a published snapshot, or into the lake, and signs for it: only who counts again finds out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core import durable_files
from pipelines.core.row_digest import row_digest
from pipelines.snapshots import manifest
from pipelines.snapshots.manifest import MANIFEST, Snapshot


def replace(snapshot: Snapshot, name: str, table: pa.Table) -> None:
    """Put a table in place of a published one; the manifest says of it what it says of every other."""
    path = snapshot.path / name
    path.unlink()
    pq.write_table(table, path)
    manifest = json.loads((snapshot.path / MANIFEST).read_bytes())
    del manifest["seal"]
    facts = {"rows": table.num_rows, "bytes": path.stat().st_size, "sha256": durable_files.sha256_of(path)}
    manifest["files"][name] |= facts
    (snapshot.path / MANIFEST).write_bytes(durable_files.json_bytes(durable_files.with_checksum(manifest)))


def changed(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    """The same table with another value in one place."""
    values = table[column].to_pylist()
    values[row] = value
    return with_values(table, column, values)


def with_values(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    """The same table with other values in a column."""
    field = table.schema.field(column)
    return table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))


def replace_in_lake(path: Path, table: pa.Table) -> None:
    """Put a table in place of a derived file of the lake: its sidecar says of it what it says of every other."""
    path.unlink()
    pq.write_table(table, path)
    sidecar = path.with_suffix(".json")
    facts = durable_files.verify_checksum(sidecar.read_bytes())
    facts |= {"rows": table.num_rows, "sha256": durable_files.sha256_of(path), "digest": row_digest(table)}
    sidecar.write_bytes(durable_files.json_bytes(durable_files.with_checksum(facts)))


def point_to(snapshot: Snapshot) -> None:
    """Let readers take the manifest, as it is now, for the one that was published."""
    now = manifest.open_snapshot(snapshot.path.parent, snapshot.id)
    manifest.point_to(snapshot.path.parent, now, pinned=False)
