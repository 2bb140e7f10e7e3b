"""Order and time: deliveries in any order, every time zone, clocks that jump, a year of nights with lost files."""

from __future__ import annotations

from collections.abc import Iterator

from faults import order_clocks, order_deliveries, order_nights, order_zones
from faults.campaign import Effort, Figure
from faults.forked import small_folder


def attack(effort: Effort) -> Iterator[Figure]:
    """Make all of them, one after another."""
    for part in (order_deliveries, order_zones, order_clocks, order_nights):
        with small_folder(effort.scratch) as folder:
            yield from part.attack(effort, folder)
