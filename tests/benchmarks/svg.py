"""The figures as a picture: bars on one logarithmic scale, and lines where there are several sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from tests.benchmarks.report import Row, Section, quantity

_OURS = "mostwatched"
_WIDTH, _LEFT, _RIGHT = 880, 160, 130  # pixels; left and right of the plot are names and values
_BAR, _GAP, _TITLE = 18, 6, 34
_LINES_HEIGHT = 260
_LABEL_HEIGHT = 15

_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 14px }
    .small { font-size: 11px; fill: #59636e }
    .paper { fill: #ffffff }
    .grid { stroke: #d1d9e0; stroke-width: 1 }
    .bar { fill: #a8b1bb }
    .line { fill: none; stroke: #818b98; stroke-width: 1.5 }
    .dot { fill: #818b98 }
    .bar.ours, .dot.ours { fill: #0969da }
    .line.ours { stroke: #0969da; stroke-width: 2.5 }
    text.ours { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .paper { fill: #0d1117 }
      .grid { stroke: #3d444d }
      .bar { fill: #656c76 }
      .line { stroke: #9198a1 }
      .dot { fill: #9198a1 }
      .bar.ours, .dot.ours { fill: #4493f8 }
      .line.ours { stroke: #4493f8 }
    }
"""


@dataclass(frozen=True)
class Bars:
    """What several contenders took for the same."""

    title: str
    seconds: Mapping[str, float | None]  # None: no answer
    notes: Mapping[str, str]


def draw(sections: Sequence[Section]) -> str:
    """The picture of what was measured, as an SVG document."""
    by_name = {section.name: section for section in sections}
    groups = [
        _bars(
            by_name.get("night"), "The night, and the peers answering one question of it", lambda row: row.unit == "s"
        ),
        _bars(by_name.get("window"), "The top 100 of any 30 days", lambda row: row.what == "top 100 of 30 days"),
        _bars(by_name.get("history"), "The ranking as of each of many past days", lambda _: True),
    ]
    points = by_name["growth"].facts["points"] if "growth" in by_name else []
    parts: list[str] = []
    height = _draw_bars([group for group in groups if group is not None], parts)
    if len(points) > 1:
        height = _draw_lines(points, parts, height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="Benchmarks">\n  <style>{_STYLE}  </style>\n'
        f'  <rect class="paper" width="{_WIDTH}" height="{height}"/>\n  ' + "\n  ".join(parts) + "\n</svg>\n"
    )


def _bars(section: Section | None, title: str, is_shown: Callable[[Row], bool]) -> Bars | None:
    rows = [row for row in section.rows if is_shown(row)] if section is not None else []
    if not rows:
        return None
    seconds = {row.contender: row.value if row.values else None for row in rows}
    return Bars(title, seconds, {row.contender: row.note for row in rows})


# --- bars ---


def _draw_bars(groups: Sequence[Bars], parts: list[str]) -> int:
    """Draw every group on one scale of decades of seconds. Returns the height used."""
    known = [value for group in groups for value in group.seconds.values() if value]
    if not known:
        return 0
    lowest = math.floor(math.log10(min(known)))
    highest = max(lowest + 1, math.ceil(math.log10(max(known))))
    scale = _Scale(lowest, highest, _LEFT, _WIDTH - _RIGHT)
    lines = sum(len(group.seconds) for group in groups)
    bottom = 10 + len(groups) * _TITLE + lines * (_BAR + _GAP)
    for decade in range(lowest, highest + 1):
        x = scale.at(10.0**decade)
        parts.append(_text(x, bottom + 14, _tick(decade), "small", "middle"))
    y = 10
    for group in groups:
        y += _TITLE
        parts.append(_text(10, y - 10, group.title, "title"))
        group_end = y + len(group.seconds) * (_BAR + _GAP)
        for decade in range(lowest, highest + 1):
            x = scale.at(10.0**decade)
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{y - 3}" x2="{x:.1f}" y2="{group_end - 3}"/>')
        # The product first, then the peers from the fastest; without an answer last.
        for name, value in sorted(group.seconds.items(), key=lambda item: (not _is_ours(item[0]), item[1] or math.inf)):
            ours = " ours" if _is_ours(name) else ""
            parts.append(_text(_LEFT - 8, y + 13, name, ours.strip(), "end"))
            end = _LEFT if value is None else max(scale.at(value), _LEFT + 1)
            said = group.notes[name][:60] or "no answer" if value is None else quantity(value, "s")
            parts.append(
                f'<rect class="bar{ours}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="{_BAR}" rx="2"/>'
            )
            parts.append(_text(end + 6, y + 13, said, ours.strip()))
            y += _BAR + _GAP
    return bottom + 30


# --- lines ---


def _draw_lines(points: Sequence[Mapping[str, object]], parts: list[str], top: int) -> int:
    """Draw what a night takes at several sizes, both axes logarithmic. Returns the height used."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        sessions, seconds = point["sessions"], point["seconds"]
        assert isinstance(sessions, int)
        assert isinstance(seconds, dict)
        for name, value in seconds.items():
            lines.setdefault(name, []).append((sessions, value))
    every = [place for line in lines.values() for place in line]
    sizes = sorted({sessions for sessions, _ in every})
    lowest = math.floor(math.log10(min(value for _, value in every)))
    highest = max(lowest + 1, math.ceil(math.log10(max(value for _, value in every))))
    above, below = top + _TITLE, top + _TITLE + _LINES_HEIGHT
    across = _Scale(math.log10(sizes[0]), math.log10(sizes[-1]), _LEFT, _WIDTH - _RIGHT)
    up = _Scale(lowest, highest, below, above)
    parts.append(_text(10, above - 14, "Growth: seconds of a night by its number of new sessions", "title"))
    for decade in range(lowest, highest + 1):
        y = up.at(10.0**decade)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, _tick(decade), "small", "end"))
    parts += [_text(across.at(size), below + 18, f"{size:,.0f}", "small", "middle") for size in sizes]
    ends: dict[str, tuple[float, float]] = {}
    for name, line in lines.items():
        ours = " ours" if _is_ours(name) else ""
        places = [(across.at(sessions), up.at(value)) for sessions, value in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line{ours}" points="{path}"/>')
        parts += [f'<circle class="dot{ours}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        ends[name] = places[-1]
    for name, y in _apart({name: y for name, (_, y) in ends.items()}).items():
        parts.append(_text(ends[name][0] + 10, y + 4, name, "ours" if _is_ours(name) else ""))
    return below + 34


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """Where labels go so that none covers another: as near as can be to where they are wanted, from the top."""
    placed = dict(sorted(wanted.items(), key=lambda item: item[1]))
    for upper, lower in pairwise(list(placed)):
        placed[lower] = max(placed[lower], placed[upper] + _LABEL_HEIGHT)
    return placed


@dataclass(frozen=True)
class _Scale:
    """A logarithmic axis: from 10^lowest at `start` to 10^highest at `end`, in pixels."""

    lowest: float
    highest: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value stands."""
        share = (math.log10(value) - self.lowest) / ((self.highest - self.lowest) or 1)
        return self.start + share * (self.end - self.start)


def _tick(decade: int) -> str:
    """A power of ten of seconds."""
    return f"{10**decade:,} s" if decade >= 0 else f"{10.0 ** (decade + 3):g} ms"


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
