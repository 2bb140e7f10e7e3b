"""Sparklines and charts as plain SVG, drawn on the server.

The drawing stretches to its place and holds no text; the labels of the axes stand beside it as HTML, so that they can
be read on a phone as on a desk. The same values stand in a table under every chart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 720, 200
SPARK_WIDTH, SPARK_HEIGHT = 120, 28
Paths = list[tuple[str, str]]  # the class of each, and its `d`

_MARGIN = 2  # so that a line of two pixels at the edge is seen whole


@dataclass(frozen=True)
class Chart:
    """A chart, its axes, and the table that it was drawn from."""

    key: str
    drawing: Paths
    axis: tuple[str, str, str]  # what stands at its top, middle and bottom
    days: Sequence[date]
    columns: Mapping[str, Sequence[str]]  # by the key of their name

    @property
    def is_drawn(self) -> bool:
        """Whether there is enough to be seen."""
        return bool(self.drawing) and len(self.days) > 1

    @property
    def rows(self) -> Iterator[tuple[date, Sequence[str]]]:
        """The days, each with its values."""
        return zip(self.days, zip(*self.columns.values(), strict=True), strict=True)


def axis(number: Callable[[int], str], top: int, bottom: int = 0) -> tuple[str, str, str]:
    """What stands at the top, middle and bottom of an axis; nothing in a middle that is no whole number."""
    middle = (top + bottom) / 2
    return number(top), number(int(middle)) if middle == int(middle) else "", number(bottom)


def sparkline(values: Sequence[int]) -> tuple[str, int, int]:
    """A line of a creator's reach over time, from its own least to its own greatest value, and where it ends.

    Of two values at least.
    """
    most = max(values)
    # a change of a few viewers is not drawn as a cliff: the scale spans at least a sixth of the greatest value
    least = min(*values, most - max(1, most // 6))
    step = (SPARK_WIDTH - 6) / (len(values) - 1)
    scale = (SPARK_HEIGHT - 6) / (most - least)
    points = [(round(3 + at * step), round(3 + (most - value) * scale)) for at, value in enumerate(values)]
    return "M" + "L".join([f"{x} {y}" for x, y in points]), *points[-1]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def nice(most: float) -> int:
    """The least of 1, 2, 4, 5, 10, 20, 40, … that is at least `most`: where an axis ends."""
    if most <= 1:
        return 1
    scale = 1
    while True:
        for factor in (1, 2, 4, 5, 6, 8):
            if factor * scale >= most:
                return factor * scale
        scale *= 10


def area(values: Sequence[int]) -> tuple[Paths, int]:
    """A line over a filled area, from 0 up; the drawing, and where its axis ends."""
    top = nice(max(values, default=0))
    points = [(x, _y(value, top)) for x, value in zip(_xs(len(values)), values, strict=True)]
    line = _path(points)
    filled = f"{line}V{HEIGHT}H{points[0][0]:g}Z"
    return [("fill", filled), ("line", line)], top


def bars(series: Sequence[Sequence[float]]) -> tuple[Paths, int]:
    """Bars, the later series on top of the earlier; the drawing, and where its axis ends."""
    totals = [sum(values) for values in zip(*series, strict=True)]
    top = nice(max(totals, default=0))
    width = WIDTH / max(1, len(totals))
    lefts = [f"{at * width + width * 0.12:.1f}" for at in range(len(totals))]
    across = f"{width * 0.76:.1f}"
    base, lows = [0.0] * len(totals), [f"{HEIGHT}"] * len(totals)
    drawn = []
    for number, values in enumerate(series):
        parts = []
        for at, value in enumerate(values):
            if value > 0:
                base[at] += value
                high = f"{_y(base[at], top):g}"
                parts.append(f"M{lefts[at]} {lows[at]}V{high}h{across}V{lows[at]}Z")
                lows[at] = high
        drawn.append((f"bar bar-{number}", "".join(parts)))
    return drawn, top


def ranks(values: Sequence[int | None]) -> tuple[Paths, int]:
    """A line with rank 1 at the top, broken where there is none; the drawing, and the rank at the bottom."""
    bottom = max(5, nice(max((value for value in values if value is not None), default=1)))
    bottom += 1 - bottom % 2  # so that a rank stands in the middle
    runs: list[list[tuple[float, float]]] = [[]]
    for x, value in zip(_xs(len(values)), values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x, _MARGIN + (HEIGHT - 2 * _MARGIN) * (value - 1) / (bottom - 1)))
    # a single point is a line of no length, which round ends make a dot
    line = "".join(_path(run if len(run) > 1 else run * 2) for run in runs if run)
    return [("line", line)], bottom


def columns(marked: Sequence[bool], *, are_bars: bool) -> Paths:
    """Columns of the whole height behind some of the days of a drawing; nothing where none is marked."""
    if not any(marked):
        return []
    count = len(marked)
    width = WIDTH / count if are_bars else (WIDTH - 2 * _MARGIN) / max(1, count - 1)
    start = 0.0 if are_bars else _MARGIN - width / 2
    lefts = [start + at * width for at, is_marked in enumerate(marked) if is_marked]
    return [("missing", "".join(f"M{left:.1f} 0h{width:.1f}V{HEIGHT}h-{width:.1f}Z" for left in lefts))]


def _xs(count: int) -> list[float]:
    step = (WIDTH - 2 * _MARGIN) / max(1, count - 1)
    return [round(_MARGIN + at * step, 1) for at in range(count)]


def _y(value: float, top: float) -> float:
    return round(HEIGHT - (HEIGHT - _MARGIN) * value / top, 1)
