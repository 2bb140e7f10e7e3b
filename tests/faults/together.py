"""Two at once: commands that race for one home; publish, prune and rollback under constant reading."""

from __future__ import annotations

from collections.abc import Iterator

from faults import together_races, together_reading
from faults.campaign import Effort, Figure


def attack(effort: Effort) -> Iterator[Figure]:
    """Race for the lock, kill its holder, spoil it; then read while everything moves."""
    with together_races.scene(effort.scratch / "scene", effort.seed) as on:
        yield from together_races.races(on, effort)
        yield from together_races.killed_holder(on, effort)
        yield from together_races.odd_locks(on, effort)
    yield from together_reading.reading(effort)
