"""What the ranking page shows beside the figures: the ranges that can be chosen, movements, initials."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from pipelines.api.answers import Creator, Page, Profile, Range, Row
from pipelines.api.insight import Insight
from pipelines.api.page import charts
from pipelines.api.page.charts import Chart
from pipelines.api.page.translations import Language

ROWS = 100  # on one page
PRESETS = (7, 28, 30, 90)  # days, beside the published windows
ONE_DAY = timedelta(days=1)
_HUES = 8  # of the initials


@dataclass(frozen=True)
class Choice:
    """The ranges that can be chosen, and the one that was."""

    windows: tuple[int, ...]  # the published ones, and others that are asked for often
    month: Range | None  # the last whole month that is held
    range: Range
    days: int | None  # the window; None for a range of days
    first_day: date  # that the snapshot holds
    last_day: date
    has_ranges: bool  # whether other ranges than the windows can be asked for

    @property
    def held_days(self) -> list[date]:
        """Every day that can be chosen, the latest first."""
        return [self.last_day - timedelta(days=back) for back in range((self.last_day - self.first_day).days + 1)]

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
    held = Range(first, end)
    if cube.min_cell:
        return Choice(insight.windows, None, asked, days, first, held.last, has_ranges=False)
    longest = min(cube.max_window_days, held.days)
    windows = tuple(sorted({*insight.windows, *(days for days in PRESETS if days <= longest)}))
    return Choice(windows, last_month(held), asked, days, first, held.last, has_ranges=True)


def last_month(held: Range) -> Range | None:
    """The last whole calendar month of some days; None where they hold none."""
    end = held.end.replace(day=1)
    if end <= date.min.replace(day=31):
        return None
    first = (end - ONE_DAY).replace(day=1)
    return Range(first, end) if first >= held.first else None


def platform(lang: Language, insight: Insight, asked: Range, did_not_land: Callable[[date], bool]) -> Chart | None:
    """The hours watched of all creators on every day since the first with data; the days of the range stand out."""
    held = sorted(insight.cube.days)
    seconds = dict(zip(held, insight.watched, strict=False))
    first = next((day for day in held if seconds.get(day)), None)
    days = [day for day in held if first is not None and day >= first]
    if len(days) < 2 or not seconds:
        return None
    hours = [seconds[day] / 3600 for day in days]
    is_inside = [asked.first <= day < asked.end for day in days]
    gone = [not seconds[day] and did_not_land(day) for day in days]
    drawing, top = charts.bars(
        [[0 if inside else value for value, inside in zip(hours, is_inside, strict=True)],
         [value if inside else 0 for value, inside in zip(hours, is_inside, strict=True)]]
    )  # fmt: skip
    said = [lang("not_landed") if none else lang.hours(seconds[day]) for day, none in zip(days, gone, strict=True)]
    behind = charts.columns(gone, are_bars=True)
    return Chart("platform", [*behind, *drawing], charts.axis(lang.number, top), days, {"hours": said})


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
