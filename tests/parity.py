"""The same night on two engines, and what it means that it is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from world import Night, World

EVERYTHING_ALLOWED = {"accept_rejects": True, "allow_incomplete": True}


def derived(world: World) -> dict[str, tuple[int, str, Any]]:
    """What a lake holds, by the names of its files: rows, their digest, and the types that they are stored in."""
    found = {}
    for sidecar in world.settings.lake.rglob("*.json"):
        name = sidecar.relative_to(world.settings.lake)
        facts = json.loads(sidecar.read_bytes())
        if name.parts[0] != "raw" and "digest" in facts:
            schema = pq.read_schema(sidecar.with_suffix(".parquet"))
            found[str(name)] = (facts["rows"], facts["digest"], [(field.name, str(field.type)) for field in schema])
    return found


def both(
    folder: Path, land: Callable[[World], Any], *, from_nothing: bool = False, **options: Any
) -> tuple[Night, Night]:
    """The night over the same records on DuckDB and on Spark, each with a home of its own.

    Unless it begins `from_nothing`, both lakes begin with the same files that stand in for nothing, see stand_ins.py.
    """
    nights = []
    for engine in ("duckdb", "spark"):
        world = World(folder / engine, from_nothing=from_nothing, engine=engine)
        land(world)
        nights.append(world.run(compare=False, night=EVERYTHING_ALLOWED, **options))
    return nights[0], nights[1]


def same(on_duckdb: Night, on_spark: Night) -> None:
    """The same files of every model, by name, rows, order, types and digest; and so the same snapshot."""
    left, right = derived(on_duckdb.world), derived(on_spark.world)
    different = {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}
    assert not different, {name: (left.get(name), right.get(name)) for name in sorted(different)[:3]}
    assert on_spark.snapshot_id == on_duckdb.snapshot_id
    told = [night.report.as_json() for night in (on_duckdb, on_spark)]
    assert [one.pop("report") is None for one in told] == [False, False]  # each in its own home
    assert told[0] == told[1]
