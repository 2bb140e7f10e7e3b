"""The part of the plan about follows, pledges and replay rentals: what is known of each key, by a base and a delta.

The raw files of an entity are divided into the base and what landed since (the delta). The distinct versions of the
base are one file, folded from the last one and what has joined it; what follows from the base alone is derived of that.
A night reads the delta, the versions of the keys in it, and what the base says of all others. As in plan.py, nothing
here computes a number.

Which files are the base decides what a night costs and no row: docs/explanation/lake.md says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.lake import models
from pipelines.lake.derive import Lake, Step, Stored

# Fewer rows are worked out again in less time than it takes to look for what is known of them.
BASE_ROWS = 100_000
# What has landed since the base may be so small a part of the largest file, or of all smaller ones, before it joins it:
# the smaller the part, the less a night reads, and the more often the base is written again.
_PART_OF_LARGEST = 8
_PART_OF_SMALLER = 16


@dataclass(frozen=True)
class BaseAndDelta:
    """The raw files of an entity, divided."""

    chunks: Sequence[Sequence[Stored]]  # of the base, in the order in which they join it
    delta: Sequence[Stored]  # what landed since

    @property
    def base(self) -> list[Stored]:
        """The raw files of the base."""
        return _flat(self.chunks)


def divide(files: Sequence[Stored], newest: Mapping[str, int]) -> BaseAndDelta:
    """Divide raw files into the base and the delta; `newest` is the newest instant in a file, by its location.

    A large file joins the base by itself, small ones together, once there are enough of them. The rule sees no more
    than the files that there are. Small landed files of one run share a file of raw, so another history may divide the
    same records otherwise: that is another cost, and the same rows of every table.
    """
    ordered = sorted(files, key=lambda file: (file.location not in newest, newest.get(file.location, 0), file.key))
    large = max(BASE_ROWS, max((file.rows for file in files), default=0) // _PART_OF_LARGEST)
    smaller = sum(file.rows for file in files if file.rows < large) // _PART_OF_SMALLER
    # A power of two, so that it stays what it is for as long as it takes to double.
    enough = max(large, 1 << smaller.bit_length() >> 1)
    chunks: list[list[Stored]] = []
    waiting: list[Stored] = []
    rows = 0
    for file in ordered:
        if file.rows >= large:
            chunks.append([file])
            continue
        waiting.append(file)
        rows += file.rows
        if rows >= enough:
            chunks.append(waiting)
            waiting, rows = [], 0
    return BaseAndDelta(chunks, waiting)


def versions(lake: Lake, model: str, divided: BaseAndDelta) -> list[Stored]:
    """The distinct versions of the base in one file; none where there is no base.

    It is named by the raw files of the base alone, and folded from the largest part of the base that was folded before:
    a set of versions is the same whichever parts it is put together of.
    """
    raw = next(source for source in models.model(model).sources if source.startswith("raw_"))

    def of_first(chunks: int, sources: Callable[[], Mapping[str, Sequence[Stored]]] | None = None) -> Step:
        return Step(None, {raw: _flat(divided.chunks[:chunks])}, sources=sources)

    def folded() -> Mapping[str, Sequence[Stored]]:
        for chunks in range(len(divided.chunks) - 1, 0, -1):
            if (known := lake.existing(model, of_first(chunks))) is not None:
                # safeguard: fold-reads-what-the-last-one-lacks
                return {models.EARLIER + model: [known], raw: _flat(divided.chunks[chunks:])}
        return {raw: divided.base}

    if not divided.chunks:
        return []
    return [lake.derive(model, [of_first(len(divided.chunks), folded)])[None]]


def _flat(chunks: Sequence[Sequence[Stored]]) -> list[Stored]:
    return [file for chunk in chunks for file in chunk]
