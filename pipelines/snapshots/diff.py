"""What changed from one snapshot to another: who entered, left, rose and fell, and which viewers account for it.

A creator's viewers differ between two snapshots for three reasons, and the cube tells them apart to the person: the
days that both count hold other sessions (late data, corrections, or another policy or code), days left the window, and
days came into it: viewers whom no day that stayed had seen. The three add up to the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipelines.core.calendar_days import Window
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.snapshots import ranking
from pipelines.snapshots.manifest import Snapshot, age

NEW_DAYS = "new days"
LEFT_DAYS = "days that left the window"
LATE = "late data"
CORRECTED = "corrections"
RULES = "policy or code"
WINDOW_MOVED = "other days"  # where the newer snapshot does not hold the days of the older one
LISTED = "no longer banned or deleted"
UNLISTED = "banned or deleted"
OTHERS = "others moved"


@dataclass(frozen=True)
class Change:
    """One creator whose place or figure differs; None: not ranked."""

    creator_id: str
    change: str  # entered, left, rose, fell or stayed
    rank_before: int | None
    rank_after: int | None
    viewers_before: int | None
    viewers_after: int | None
    because: dict[str, int]  # reason -> viewers that it added or took away; what has no number of its own counts 0


@dataclass(frozen=True)
class Comparison:
    """Two snapshots beside each other."""

    before: str
    after: str
    window_days: int
    policy: dict[str, tuple[object, object]]  # by name, where it differs: (before, after)
    code_versions: tuple[str, str]
    landed_since: int  # landed files that the later one rests on and the earlier one does not
    landed_only_before: int
    unchanged: int  # creators of the same rank and the same number of viewers
    changes: tuple[Change, ...]  # by the better of both ranks

    def count(self, change: str) -> int:
        """How many creators entered, left, rose, fell or stayed with another figure."""
        return sum(one.change == change for one in self.changes)

    def as_json(self) -> dict[str, Any]:
        """The documented object of `mostwatched snapshots diff --json`."""
        return vars(self) | {"changes": [vars(change) for change in self.changes]}


def compare(settings: Settings, before: Snapshot, after: Snapshot, window_days: int = 30) -> Comparison:
    """What differs in the ranking of `window_days` days. Raises UsageError for a length that one does not hold."""
    rows = {}
    for snapshot in (before, after):
        days = ranking.window_from_options(snapshot, window_days, None, None)
        rows[snapshot.id] = {row["creator_id"]: row for row in ranking.ranking(settings, snapshot, days)}
    was, now = rows[before.id], rows[after.id]
    policy = {
        name: (before.manifest["policy"].get(name), after.manifest["policy"].get(name))
        for name in before.manifest["policy"] | after.manifest["policy"]
        if before.manifest["policy"].get(name) != after.manifest["policy"].get(name)
    }
    versions = before.manifest["code_version"], after.manifest["code_version"]
    reasons = None
    if not (before.min_cell or after.min_cell):  # reasons are differences, and could be of one person
        is_ruled_otherwise = bool(policy) or len(set(versions)) > 1
        reasons = _Reasons(settings, before, after, window_days, is_ruled_otherwise=is_ruled_otherwise)
    changes = []
    for creator_id in was.keys() | now.keys():
        change = _change(creator_id, was.get(creator_id), now.get(creator_id), reasons)
        if change is not None:
            changes.append(change)
    landed = [{(file["entity"], file["sha256"]) for file in one.landed} for one in (before, after)]
    return Comparison(
        before=before.id,
        after=after.id,
        window_days=window_days,
        policy=policy,
        code_versions=versions,
        landed_since=len(landed[1] - landed[0]),
        landed_only_before=len(landed[0] - landed[1]),
        unchanged=len(was.keys() | now.keys()) - len(changes),
        changes=tuple(sorted(changes, key=_best_first)),
    )


def _change(
    creator_id: str, was: Mapping[str, Any] | None, now: Mapping[str, Any] | None, reasons: _Reasons | None
) -> Change | None:
    ranks = was["rank"] if was else None, now["rank"] if now else None
    viewers = was["viewers"] if was else None, now["viewers"] if now else None
    if ranks[0] == ranks[1] and viewers[0] == viewers[1]:
        return None
    if was is None or now is None:
        change = "entered" if was is None else "left"
    else:
        change = "stayed" if ranks[0] == ranks[1] else "rose" if now["rank"] < was["rank"] else "fell"
    because = reasons.of(creator_id, was is not None, now is not None) if reasons is not None else {}
    return Change(creator_id, change, *ranks, *viewers, because or {OTHERS: 0})


def _best_first(change: Change) -> tuple[int, str]:
    return min(rank for rank in (change.rank_before, change.rank_after) if rank is not None), change.creator_id


class _Reasons:
    """Splits the difference of a creator's viewers by reason."""

    def __init__(
        self, settings: Settings, before: Snapshot, after: Snapshot, window_days: int, *, is_ruled_otherwise: bool
    ) -> None:
        self._is_ruled_otherwise = is_ruled_otherwise
        # The newer one is asked about the days of the older one: it may know more of them.
        self._sign = 1 if age(before) <= age(after) else -1
        older, newer = (before, after) if self._sign == 1 else (after, before)
        self._old_days = Window(older.as_of - timedelta(days=window_days), older.as_of)
        self._new_days = Window(newer.as_of - timedelta(days=window_days), newer.as_of)
        common = self._new_days.first_day, self._old_days.end_day
        self._common_days = Window(*common) if common[0] < common[1] else None
        self._are_held = _holds(newer, self._old_days)
        asked = {self._new_days} | ({self._common_days} if self._common_days is not None and self._are_held else set())
        asked |= {self._old_days} if self._are_held else set()
        with engine.session(settings, "diff") as connection:
            self._older = _by_window(connection, older, {self._old_days})
            self._newer = _by_window(connection, newer, asked)

    def of(self, creator_id: str, was_ranked: bool, is_ranked: bool) -> dict[str, int]:
        """Reason -> viewers, without those that changed nothing; from the first snapshot to the second."""

        def measured(table: Mapping[Window, Mapping[str, tuple[int, int]]], days: Window | None) -> tuple[int, int]:
            return (0, 0) if days is None else table[days].get(creator_id, (0, 0))

        old, old_sessions = measured(self._older, self._old_days)
        new, _ = measured(self._newer, self._new_days)
        if self._are_held:
            same_days, same_sessions = measured(self._newer, self._old_days)
            common, _ = measured(self._newer, self._common_days)
            is_late = same_sessions > old_sessions
            ground = RULES if self._is_ruled_otherwise else LATE if is_late else CORRECTED
            parts = {ground: same_days - old, LEFT_DAYS: common - same_days, NEW_DAYS: new - common}
        else:
            parts = {WINDOW_MOVED: new - old}
        if self._sign < 0:  # seen from the later one, a day that came in is one that is not there yet
            names = {NEW_DAYS: LEFT_DAYS, LEFT_DAYS: NEW_DAYS}
            parts = {names.get(reason, reason): -viewers for reason, viewers in parts.items()}
        found = {reason: viewers for reason, viewers in parts.items() if viewers}
        has_sessions = (old_sessions > 0, measured(self._newer, self._new_days)[1] > 0)
        ends = has_sessions if self._sign > 0 else has_sessions[::-1]
        if was_ranked and not is_ranked and ends[1]:
            found[UNLISTED] = 0
        if is_ranked and not was_ranked and ends[0]:
            found[LISTED] = 0
        return found


def _holds(snapshot: Snapshot, days: Window) -> bool:
    try:
        ranking.require_held(snapshot, days)
    except UsageError:
        return False
    return True


def _by_window(
    connection: engine.Connection, snapshot: Snapshot, ranges: set[Window]
) -> dict[Window, dict[str, tuple[int, int]]]:
    """(viewers, sessions) of every creator in each range."""
    found: dict[Window, dict[str, tuple[int, int]]] = {days: {} for days in ranges}
    for row in ranking.reach(connection, snapshot, sorted(ranges)).to_pylist():
        days = Window(row["as_of"] - timedelta(days=row["window_days"]), row["as_of"])
        found[days][row["creator_id"]] = row["viewers"], row["sessions"]
    return found
