"""The same records give the same rows, model by model, and the same snapshot id on DuckDB and on Spark."""

from __future__ import annotations

import pytest
from noise import land_noise
from parity import both, derived, same

from pipelines import models

pytestmark = pytest.mark.usefixtures("local")


def test_a_night_in_which_everything_happens(tmp_path):
    """Corrections, moves, erasures, bans, open sessions, pledges, conflicts: every model of sql/ has the same rows."""
    on_duckdb, on_spark = both(tmp_path, lambda world: land_noise(world, seed=1))
    same(on_duckdb, on_spark)
    built = {name.split("/")[0] for name, (rows, *_) in derived(on_spark.world).items() if rows}
    assert {name for name in models.LINE if models.model(name).is_stored} - built == set()
