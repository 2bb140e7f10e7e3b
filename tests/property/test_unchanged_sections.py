"""What is taken over from an earlier night of the same as_of is what this night would have worked out.

Of a report its sections, of a snapshot its warehouse. Any history of small changes, each after a night, may repeat rows
that were published before, also after a night in between had others.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import duckdb
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from world import AS_OF, Night, World

from pipelines.jobs import report

SECTIONS = ("change", "late", "anomalies", "rejected", "checks")
CHANGES = ("nothing", "follow", "session", "retraction", "profile", "rejected line", "another as_of")
OVERRIDE = {"accept_rejects": True, "allow_incomplete": True}


def change(world: World, what: str, number: int) -> None:
    """Land one file, or none."""
    session = {"sessionId": "late", "creatorId": "late", "viewerId": "v", "startedAt": "2026-01-25T10:00:00Z"}
    landed: dict[str, tuple[str, dict[str, Any]]] = {
        "follow": ("follows", {"userId": f"u{number}", "creatorId": "busy", "followedAt": "2026-01-02T00:00:00Z"}),
        "session": ("viewing_sessions", session | {"revision": 2 * number}),
        "retraction": ("viewing_sessions", session | {"revision": 2 * number + 1, "deleted": True}),
        "profile": (
            "creators",
            {"_id": "busy", "username": f"busy{number % 2}", "updatedAt": f"2026-01-0{number + 1}T00:00:00Z"},
        ),
        "rejected line": ("follows", {"userId": number}),
    }
    if what in landed:
        entity, record = landed[what]
        world.land_text(entity, json.dumps(record) + "\n")


def sections(world: World) -> dict[str, Any]:
    facts = report.read(world.settings, AS_OF)
    assert facts["problems"] == []
    return {name: facts[name] for name in SECTIONS}


def require_same_rows(night: Night) -> None:
    """The warehouse holds the rows of the Parquet files beside it, and the snapshot is whole."""
    folder = night.snapshot.path
    assert night.snapshot.damage() == []
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        for table in ("creator_rankings", "creators", "creator_reach"):
            files = f"read_parquet('{folder}/{table}{'/*' if table == 'creator_reach' else ''}.parquet')"
            for one, other in ((table, files), (files, table)):
                assert connection.execute(f"select count(*) from (from {one} except all from {other})").fetchone() == (
                    0,
                )
        as_of = connection.execute("select as_of from snapshot_facts").fetchone()
        assert as_of == (night.snapshot.as_of,)


@given(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3))
@settings(max_examples=effort(2, 4, 333))
def test_what_is_taken_over_is_what_would_be_worked_out(changes: list[str]):
    """A night after each change, one over nothing new, and one that has no earlier report to take anything from."""
    folder = Path(tempfile.mkdtemp())
    try:
        world = World(folder)
        world.busy_days("2026-01-10", 21)
        world.run("2026-01-30", compare=False, night=OVERRIDE)
        require_same_rows(world.run(compare=False, night=OVERRIDE))
        for number, what in enumerate(changes):
            change(world, what, number)
            as_of = "2026-01-29" if what == "another as_of" else AS_OF
            require_same_rows(world.run(as_of, compare=False, night=OVERRIDE))
            world.run(compare=False, night=OVERRIDE)
            taken_over = sections(world)
            shutil.rmtree(world.settings.reports)
            world.run(compare=False, night=OVERRIDE)
            assert taken_over == sections(world)
    finally:
        shutil.rmtree(folder)
