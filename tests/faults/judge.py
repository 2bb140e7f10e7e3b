"""Moving windows by the words alone: the judge of the rate limits. It shares no code with what it judges.

A request admitted at t counts in [t, t + window). One is admitted when every window has fewer than its fill.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

SECOND = 1_000_000
Rules = Sequence[tuple[int, int]]  # (requests, seconds)
REAL: Rules = ((100, 60), (1000, 3600))
SMALL: Rules = ((3, 10), (5, 60))


@dataclass(frozen=True)
class Verdict:
    """What must become of one request."""

    is_admitted: bool
    remaining: tuple[int, ...]
    wait: int  # microseconds until one would be admitted
    retry_after: int  # the smallest whole number of seconds, at least one


class Judge:
    """Every client's admitted requests, all of them, looked through from the beginning each time."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.admitted: dict[str, list[int]] = {}

    def hit(self, client: str, now: int) -> Verdict:
        """Judge a request, and count it if it is admitted."""
        mine = self.admitted.setdefault(client, [])
        is_admitted = self.would_admit(client, now)
        if is_admitted:
            mine.append(now)
        left = tuple(most - sum(now - at < seconds * SECOND for at in mine) for most, seconds in self.rules)
        wait = self._wait(client, now) if min(left) <= 0 else 0
        return Verdict(is_admitted, tuple(max(0, count) for count in left), wait, self._retry_after(client, now, wait))

    def would_admit(self, client: str, at: int) -> bool:
        """Whether one at that instant would be admitted, if none comes in between."""
        mine = self.admitted.get(client, [])
        return all(sum(at - one < seconds * SECOND for one in mine) < most for most, seconds in self.rules)

    def _wait(self, client: str, now: int) -> int:
        """To the first moment at which something leaves a window and one would be admitted."""
        leaving = sorted({at + seconds * SECOND for at in self.admitted[client] for _, seconds in self.rules} - {now})
        leaving = leaving[bisect_left(leaving, now) :]
        return leaving[bisect_left(leaving, True, key=lambda at: self.would_admit(client, at))] - now

    def _retry_after(self, client: str, now: int, wait: int) -> int:
        whole = max(1, -(-wait // SECOND))
        assert self.would_admit(client, now + whole * SECOND)
        assert whole == 1 or not self.would_admit(client, now + (whole - 1) * SECOND)
        return whole

    def overfull(self) -> Iterator[str]:
        """The stretches of time that hold more admitted requests than they may, found in another way."""
        for client, mine in self.admitted.items():
            yield from too_many(mine, self.rules, client)


def too_many(admitted: Sequence[int], rules: Rules, client: str = "a client") -> Iterator[str]:
    """Any `most` + 1 neighbours that lie within one window."""
    ordered = sorted(admitted)
    for most, seconds in rules:
        for first, last in zip(ordered, ordered[most:], strict=False):
            if last - first < seconds * SECOND:
                yield f"{client}: {most + 1} in {(last - first) / SECOND} s"


def schedule(draw: Random, rules: Rules, length: int) -> Iterator[int]:
    """The pauses between requests, in microseconds, drawn to hurt: -1 is as long as one was told, -2 one less."""
    edges = [seconds * SECOND for _, seconds in rules]
    steady = [seconds * SECOND // most for most, seconds in rules]
    done = 0
    while done < length:
        kind = draw.choice(("burst", "edge", "steady", "told", "told early", "random", "idle"))
        count = min(length - done, draw.randint(1, 1 + rules[0][0] * 2))
        if kind == "burst":
            yield from [draw.choice((0, 0, 0, 1))] * count
        elif kind == "edge":
            count = min(count, 3)
            for _ in range(count):
                yield max(0, draw.choice(edges) + draw.choice((-1, 0, 1, -SECOND, SECOND)))
        elif kind == "steady":
            pause = draw.choice(steady)
            yield from [max(0, pause + draw.choice((-1, 0, 0, 1))) for _ in range(count)]
        elif kind == "told":
            yield from [-1] * min(count, 5)
            count = min(count, 5)
        elif kind == "told early":
            yield from [-2] * min(count, 5)
            count = min(count, 5)
        elif kind == "random":
            yield from [draw.randrange(0, 2 * steady[0]) for _ in range(count)]
        else:
            yield draw.randrange(0, edges[-1] * 2)
            count = 1
        done += count
