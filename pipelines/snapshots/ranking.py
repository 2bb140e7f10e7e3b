"""The ranking of any range of days that the cube of a published snapshot holds.

The definition is sql/cube/creator_windows.sql and sql/tables/creator_rankings.sql, the same that made the published
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines.core.calendar_days import Window
from pipelines.core.errors import UsageError
from pipelines.core.settings import Policy, Settings
from pipelines.lake import models, plan
from pipelines.lake.derive import RELATIONS
from pipelines.lake.engines import duckdb as engine
from pipelines.snapshots.manifest import Snapshot

COLUMNS = ("position", "rank", "creator_id", "viewers", "anonymous_viewers", "sessions", "watched_seconds")


def ranking(settings: Settings, snapshot: Snapshot, days: Window, limit: int | None = None) -> list[dict[str, Any]]:
    """The first `limit` rows of the ranking of `days` (all without a limit), one dict with COLUMNS a creator.

    Raises UsageError for a range that the snapshot does not hold, Damaged for files that are not as published,
    NoSnapshot when it is pruned meanwhile.
    """
    require_held(snapshot, days)
    with snapshot.being_read(), closing(engine.connect(settings.memory_limit, settings.threads, None)) as connection:
        reached = reach(connection, snapshot, [days])
        if snapshot.min_cell:
            shown = models.model("shown_creator_windows").statement
            with engine.registered(connection, {"creator_windows": reached}):
                reached = engine.query(connection, shown, {"min_cell": snapshot.min_cell})
        engine.register(connection, "creators", snapshot.table("creators.parquet"))
        engine.register(connection, "creator_windows", reached)
        engine.register(connection, "earlier_creator_windows", reached.schema.empty_table())
        model = models.model("creator_rankings")
        statement = f"select {', '.join(COLUMNS)} from ({model.statement}\n) order by position limit $limit"
        return list(engine.query(connection, statement, {"limit": limit}).to_pylist())


def reach(connection: engine.Connection, snapshot: Snapshot, ranges: Sequence[Window]) -> pa.Table:
    """What every creator reached in each of some ranges that the snapshot holds: rows of sql/cube/creator_windows.sql.

    A range is told from the others by its end (`as_of`) and its length (`window_days`). Raises Damaged.
    """
    zone = ZoneInfo(snapshot.manifest["policy"]["day_timezone"])
    days = sorted({day for asked in ranges for day in asked})
    rows = [row for asked in ranges for row in plan.window_rows(asked, zone)]
    sources = {
        # Read from the bytes that were checked, not from the files once more: they may be damaged in between.
        "creator_reach": pa.concat_tables([snapshot.table(f"{snapshot.cube}{day}.parquet") for day in days]),
        "windows": pa.Table.from_pylist(rows, schema=RELATIONS["windows"]),
    }
    with engine.registered(connection, sources):
        return engine.query(connection, models.model("creator_windows").statement)


def require_held(snapshot: Snapshot, days: Window) -> None:
    """Raise UsageError unless the snapshot can answer for `days` exactly: never a smaller number instead."""
    policy = Policy.from_json(snapshot.manifest["policy"])
    held = plan.cube_days(snapshot.as_of, policy)
    if days.days > policy.max_window_days:
        most = _most(policy.max_window_days)
        raise UsageError(f"{days} is {days.days} days; a range may hold at most {most}.")
    if days.first_day < held.first_day or days.end_day > held.end_day:
        raise UsageError(f"Snapshot {snapshot.id} holds the days {held}, its end not included; {days} reaches outside.")
    # safeguard: no-difference-of-ranges
    if policy.min_cell and (days.end_day != snapshot.as_of or days.days not in policy.windows):
        windows = ", ".join(map(str, policy.windows))
        raise UsageError(
            f"Snapshot {snapshot.id} was published with MOSTWATCHED_MIN_CELL={policy.min_cell}: it answers for its own "
            f"windows alone ({windows} days before {snapshot.as_of}). The difference of two ranges could be one person."
        )


def _most(days: int) -> str:
    return f"{days} (MOSTWATCHED_MAX_WINDOW_DAYS)"


def window_from_options(snapshot: Snapshot, window_days: int | None, first: date | None, end: date | None) -> Window:
    """Return the range of the options: the last `window_days` days (default 30), or [first, end).

    Raises UsageError for a range with no day in it, and for a window longer than the snapshot's longest.
    """
    if first is None and end is None:
        days = 30 if window_days is None else window_days
        if days < 1:
            raise UsageError(f"A window must hold at least one day, not {days}.")
        longest = Policy.from_json(snapshot.manifest["policy"]).max_window_days
        if days > longest:
            raise UsageError(f"A window of {days} days is too long: a range may hold at most {_most(longest)}.")
        return Window(snapshot.as_of - timedelta(days=days), snapshot.as_of)
    if first is None or end is None or window_days is not None:
        raise UsageError(
            "Give --from and --to together, without --days: the days from --from up to, not including, --to."
        )
    if first >= end:
        raise UsageError(f"--from {first} must be before --to {end}, which is not included.")
    return Window(first, end)
