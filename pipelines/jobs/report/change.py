"""Differences between the ranking of a snapshot and the previous one, in numbers.

`mostwatched snapshots diff` says why, down to the viewer.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from functools import partial
from typing import Any

from pipelines.core.settings import SERVED_WINDOW_DAYS, Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.snapshots import changed_days
from pipelines.snapshots.inputs import new_keys
from pipelines.snapshots.manifest import Snapshot

MOVERS = 10


def compare(settings: Settings, before: Snapshot, after: Snapshot) -> dict[str, Any]:
    """Creators that entered, left, rose and fell, totals, and the largest differences in viewers."""
    with engine.run_session(settings, "report") as connection:
        for name, snapshot in (("before", before), ("after", after)):
            engine.register(connection, name, [snapshot.verified("creator_rankings.parquet")])
        params = {"window_days": SERVED_WINDOW_DAYS, "min_cell": after.min_cell}
        connection.execute(f"create temp table moved as {_MOVED}", params)
        counts = engine.query(connection, _COUNTS).to_pylist()[0]
        movers = engine.query(connection, _MOVERS, {"movers": MOVERS}).to_pylist()
    measures = ("creators", "sessions", "watched_seconds")
    return {
        "snapshot_id": before.id,
        "as_of": before.as_of.isoformat(),
        "window_days": SERVED_WINDOW_DAYS,
        **{name: counts[name] for name in ("entered", "left", "rose", "fell", "stayed")},
        "totals": [
            {"what": name, "before": counts[f"{name}_before"] or 0, "after": counts[f"{name}_after"] or 0}
            for name in measures
        ],
        "movers": movers,
        "landed_since": len(new_keys(before, after)),
        "policy": sorted(
            name
            for name in after.manifest["policy"] | before.manifest["policy"]
            if after.manifest["policy"].get(name) != before.manifest["policy"].get(name)
        ),
        "code_versions": [before.manifest["code_version"], after.manifest["code_version"]],
    }


def inputs(before: Snapshot, after: Snapshot) -> list[object]:
    """Return all that decides what is said of two snapshots: their rows and policies, landed files and code."""
    sides = [(one.id, one.manifest["code_version"], one.listed_files.keys_sha256) for one in (before, after)]
    return [SERVED_WINDOW_DAYS, MOVERS, _MOVED, _COUNTS, _MOVERS, *sides]


def revised_days(before: Snapshot, after: Snapshot, reached: Collection[date]) -> list[dict[str, Any]]:
    """Return the days of both snapshots with different figures, among those `reached` by what landed in between."""
    if before.manifest["policy"] != after.manifest["policy"]:
        return []
    tables = {name: partial(after.table, name) for name in after.files if name.startswith(after.cube)}
    digests = {name: after.files[name]["rows_sha256"] for name in tables}
    return list(changed_days.changed_days(before, digests, tables, reached))


_MOVED = """
    select
        coalesce(was.creator_id, now.creator_id) as creator_id,
        was.rank as rank_before,
        now.rank as rank_after,
        was.viewers as viewers_before,
        now.viewers as viewers_after,
        was.sessions as sessions_before,
        now.sessions as sessions_after,
        was.watched_seconds as watched_seconds_before,
        now.watched_seconds as watched_seconds_after
    -- the earlier one may show what the later one must not
    from (from before where window_days = $window_days and viewers >= $min_cell) as was
    full join (from after where window_days = $window_days) as now using (creator_id)
"""

_COUNTS = """
    select
        count(*) filter (where rank_before is null) as entered,
        count(*) filter (where rank_after is null) as left,
        count(*) filter (where rank_after < rank_before) as rose,
        count(*) filter (where rank_after > rank_before) as fell,
        count(*) filter (where rank_after = rank_before) as stayed,
        count(rank_before) as creators_before,
        count(rank_after) as creators_after,
        cast(sum(sessions_before) as bigint) as sessions_before,
        cast(sum(sessions_after) as bigint) as sessions_after,
        cast(sum(watched_seconds_before) as bigint) as watched_seconds_before,
        cast(sum(watched_seconds_after) as bigint) as watched_seconds_after
    from moved
"""

_MOVERS = """
    select creator_id, rank_before, rank_after, viewers_before, viewers_after
    from moved
    where coalesce(viewers_before, 0) <> coalesce(viewers_after, 0)
    order by abs(coalesce(viewers_after, 0) - coalesce(viewers_before, 0)) desc, creator_id
    limit $movers
"""
