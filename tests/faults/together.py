"""Two at once: commands that race for one home; publish, prune and rollback under constant reading."""

from __future__ import annotations

from collections.abc import Iterator

from faults import together_races, together_reading
from faults.campaign import Effort, Figure


def attack(effort: Effort) -> Iterator[Figure]:
    """Race for the lock, kill its holder, spoil it; then read while everything moves."""
    yield from together_races.races(effort)
    yield from together_races.killed_holder(effort)
    yield from together_races.odd_locks(effort)
    yield from together_reading.reading(effort)
