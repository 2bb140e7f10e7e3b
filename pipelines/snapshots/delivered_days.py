"""Judge which days of a snapshot are all there, by what landed and by what is usual."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date

from pipelines.core.completeness import Completeness
from pipelines.lake.plan import DAYS_COMPARED
from pipelines.raw import deliveries
from pipelines.raw.deliveries import Delivery
from pipelines.snapshots import gates


def judge(
    held: Sequence[date],
    judged: Collection[date],
    sessions: Mapping[date, int],
    landed: Callable[[], Sequence[Delivery]],
    first_landed: date | None,
) -> Completeness:
    """Judge the consecutive days that a snapshot holds; whether a day is incomplete, of those of `judged` alone.

    `sessions` are those that count by the day on which they start. Of days without any, `landed` tells whether they
    were delivered: it is asked only where there are such days. `first_landed` is the first UTC day of which any landed.
    """
    if first_landed is None:
        return Completeness()
    # Before that day nothing landed; a UTC day is a day of the zone, or of the one before or after.
    silent = [day for day in held if not sessions.get(day) and (first_landed - day).days <= 1]
    states = deliveries.states(silent, landed()) if silent else {}
    present = [day for day in held if sessions.get(day) or states.get(day) == deliveries.PRESENT]
    if not present:
        return Completeness()
    first = held[0] if first_landed < held[0] else present[0]
    missing = tuple(day for day in silent if day >= first and states[day] == deliveries.MISSING)
    incomplete = tuple(day for day in present if day in judged and _is_incomplete(held, sessions, day, first_landed))
    return Completeness(first, missing, incomplete)


def _is_incomplete(held: Sequence[date], sessions: Mapping[date, int], day: date, first_landed: date | None) -> bool:
    """As the gate of the last day judges, had the night after this day been today's."""
    compared = {each: sessions.get(each, 0) for each in held if 0 <= (day - each).days < DAYS_COMPARED}
    return gates.probably_incomplete(compared, day, first_landed) is not None
