"""What an attack is, and what it comes to.

An attack is a module of this folder with one function, `attack(effort) -> Iterator[Figure]`. It tries something a
number of times, and says how often what was promised did not hold. A figure of nothing wrong out of nothing tried is
no success: an attack that cannot be made here says why in its note.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

TEST_DATA = "MOSTWATCHED_TEST_DATA"
SHOWN = 5  # of the sentences that say what was wrong; the rest are counted


@dataclass
class Figure:
    """How often something was tried, and each time it went wrong, in a sentence that says how to see it again."""

    what: str
    tried: int = 0
    wrong: list[str] = field(default_factory=list)
    note: str = ""  # a measured remark, or why nothing was tried

    def check(self, holds: bool, problem: str) -> None:
        """Count one try; `problem` is what to say unless the promise held."""
        self.tried += 1
        if not holds:
            self.wrong.append(problem)


@dataclass(frozen=True)
class Effort:
    """How hard to try, where, and the seed that everything random is drawn from."""

    full: bool
    seed: str
    scratch: Path  # an empty folder, removed afterwards

    def times(self, quick: int, full: int) -> int:
        """One number in the quick tier, another in the full one."""
        return full if self.full else quick

    def random(self, part: str) -> Random:
        """The draws of a part of an attack: the same for the same seed, whatever else is drawn."""
        return Random(f"{self.seed} {part}")

    @property
    def corpora(self) -> Path | None:
        """The folder of third-party test material, where there is one."""
        folder = os.environ.get(TEST_DATA)
        path = Path(folder).resolve() / "corpora" if folder else None
        return path if path and path.is_dir() else None


def not_tried(what: str, why: str) -> Figure:
    """The figure of an attack that cannot be made on this machine."""
    return Figure(what, note=f"not tried: {why}")
