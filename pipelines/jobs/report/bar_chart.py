"""The durations of the steps of a run as an inline SVG bar chart."""

from __future__ import annotations

import html
from itertools import groupby

from pipelines.core.text import printable
from pipelines.jobs.report.document import Bars, seconds

_WIDTH = 1000
_LEFT, _RIGHT = 330, 90  # for the names and for the times
_ROW, _GROUP = 24, 30
_LEAST = 2.0  # wide, so that every bar can be seen
_LABEL_CHARS = 46


def svg(picture: Bars) -> str:
    """The picture, with colours of the page around it and a title for those who do not see it."""
    room = _WIDTH - _LEFT - _RIGHT
    total = max(picture.total_seconds, *(bar.after_seconds + bar.seconds for bar in picture.bars), 1e-9)
    drawn, y = [], 0.0
    for group, bars in groupby(picture.bars, key=lambda bar: bar.group):
        steps = list(bars)
        took = sum(bar.seconds for bar in steps)
        drawn.append(f'<text class="group" x="0" y="{y + 20:.0f}">{_safe(group)} · {seconds(took)}</text>')
        y += _GROUP
        for bar in steps:
            # A step in many pieces is drawn as one: from where it began, as long as all of them.
            x = min(_LEFT + bar.after_seconds / total * room, _WIDTH - _RIGHT - _LEAST)
            width = max(min(bar.seconds / total * room, _WIDTH - _RIGHT - x), _LEAST)
            label = bar.label if len(bar.label) <= _LABEL_CHARS else bar.label[: _LABEL_CHARS - 1] + "…"
            drawn += [
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y + 11:.0f}" y2="{y + 11:.0f}"/>',
                f'<text class="label" x="12" y="{y + 16:.0f}">{_safe(label)}</text>',
                f'<rect class="bar" x="{x:.1f}" y="{y + 3:.0f}" width="{width:.1f}" height="16" rx="3"/>',
                f'<text class="time" x="{_WIDTH}" y="{y + 16:.0f}" text-anchor="end">{seconds(bar.seconds)}</text>',
            ]
            y += _ROW
        y += 6
    title = f"Where {seconds(picture.total_seconds)} went, by step"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {y:.0f}" role="img" aria-label="{_safe(title)}"><title>{_safe(title)}</title>'
        + "".join(drawn)
        + "</svg>"
    )


def _safe(text: str) -> str:
    return html.escape(printable(text))
