"""What the ranking page shows beside the figures: the ranges that can be chosen, movements, initials."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from pipelines.api.insight import Creator, Insight, Page, Profile, Range, Row
from pipelines.api.page.translations import Language

ROWS = 100  # on one page
_HUES = 8  # of the initials


@dataclass(frozen=True)
class Choice:
    """The ranges that can be chosen, and the one that was."""

    windows: tuple[int, ...]
    range: Range
    days: int | None  # the window; None for a range of days
    first_day: date  # that the snapshot holds
    last_day: date
    has_ranges: bool  # whether other ranges than the windows can be asked for

    @property
    def params(self) -> dict[str, str | int]:
        """The parameters of an endpoint for the range."""
        if self.days is None:
            return {"from": str(self.range.first), "to": str(self.range.end)}
        return {"days": self.days}


def choice(insight: Insight, asked: Range, days: int | None) -> Choice:
    """Of a snapshot and what is shown of it."""
    cube = insight.cube
    first, end = cube.first_day or asked.first, cube.end_day or asked.end
    return Choice(insight.windows, asked, days, first, Range(first, end).last, has_ranges=not cube.min_cell)


def initials(profile: Profile) -> str:
    """Two letters, in place of a photo, which would come from another host."""
    names = [part for part in profile.title.split() if part[0].isalnum()] or [profile.creator_id or "?"]
    chosen = names[0][0] + (names[1][0] if len(names) > 1 else names[0][1:2])
    return "".join(filter(str.isalnum, chosen)).upper() or "?"  # nothing that turns the direction of writing


def hue(profile: Profile) -> int:
    """The number of the colour of a creator's initials."""
    return zlib.crc32(profile.creator_id.encode("utf-8", "replace")) % _HUES


class Movement(NamedTuple):
    """How a rank has moved since a day."""

    kind: str  # a class of page.css
    sign: str
    said: str


def movements(lang: Language, shown: Page | Creator, row: Row) -> Iterator[Movement]:
    """How the rank has moved since yesterday and since last week."""
    for since, compared, before in (
        (lang("since_yesterday"), shown.yesterday, row.rank_yesterday),
        (lang("since_last_week"), shown.last_week, row.rank_last_week),
    ):
        if compared is None:
            yield Movement("none", "·", f"{since}: {lang('unknown')}")
        elif before is None:
            yield Movement("new", lang("new"), f"{since}: {lang('new')}")
        elif before == row.rank:
            yield Movement("same", "–", f"{since}: {lang('same')}")
        else:
            kind, arrow = ("up", "▲") if before > row.rank else ("down", "▼")
            steps = lang.number(abs(before - row.rank))
            yield Movement(kind, f"{arrow}\N{NO-BREAK SPACE}{steps}", f"{since}: {lang(kind, n=steps)}")


def trend_from(insight: Insight) -> int:
    """The first window of the trend that holds nothing but days since the first one with data, where two remain."""
    cube = insight.cube
    held = sorted(cube.days)
    empty = next((at for at, day in enumerate(held) if len(cube.days[day].creators)), 0)
    return min(empty, max(0, len(cube.trend_ends) - 2))
