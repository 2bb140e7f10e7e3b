"""Two at once: runs racing for the lock; publish, prune and rollback under constant reading."""

from __future__ import annotations

from collections.abc import Iterator

from faults import together_races
from faults.campaign import Effort, Figure


def attack(effort: Effort) -> Iterator[Figure]:
    # yield from together_races.races(effort)
    # yield from together_races.killed_holder(effort)
    yield from together_races.odd_locks(effort)
