"""Whether two contenders say the same. A benchmark fails when they do not, and for no other reason."""

from __future__ import annotations

from collections.abc import Iterable

Answer = list[tuple[str, int]]  # (creator, viewers), most viewers first


class DifferentAnswers(Exception):
    """Two contenders were asked the same and did not answer the same: one of them is wrong."""


def answer(rows: Iterable[Iterable[object]]) -> Answer:
    """An answer as it comes out of JSON."""
    return [(str(creator), int(str(viewers))) for creator, viewers in rows]


def require_same(question: str, one: str, first: Answer, other: str, second: Answer) -> None:
    """Raise DifferentAnswers unless both have the same numbers of viewers, and the same creators above the cut.

    Of several creators with as many viewers as the last of the list either may show any: the product goes on to
    order them by what they were watched for, which the peers are not asked to work out.
    """
    ours, theirs = ([viewers for _, viewers in rows] for rows in (first, second))
    cut = ours[-1] if ours else 0
    above = [{row for row in rows if row[1] > cut} for rows in (first, second)]
    if ours != theirs or above[0] != above[1]:
        place = next((n for n, pair in enumerate(zip(first, second, strict=False)) if pair[0][1] != pair[1][1]), 0)
        raise DifferentAnswers(
            f"{question}: {one} and {other} differ, first at position {place + 1}: "
            f"{first[place : place + 1]} and {second[place : place + 1]}; {len(first)} and {len(second)} rows."
        )
