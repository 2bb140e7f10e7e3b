"""The charts of a creator's page: reach over time, new and returning viewers, rank, hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta

from pipelines.api.answers import Creator, Profile
from pipelines.api.page import charts
from pipelines.api.page.charts import Chart
from pipelines.api.page.translations import Language


def byline(profile: Profile) -> Sequence[str]:
    """What stands under the name of a creator."""
    parts = (f"@{profile.username}" if profile.username else None, profile.creator_id, profile.expertise)
    return [part for part in dict.fromkeys(parts) if part]


def charts_of(
    lang: Language, creator: Creator, trend_from: int, did_not_land: Callable[[date], bool]
) -> Iterator[Chart]:
    """The charts of the page. `trend_from` leaves out the windows that begin before there was any data.

    A day that did not land, of which there are no figures, is marked in the drawing and has none in the table.
    """

    def shown(missing: Sequence[bool], values: Iterable[str]) -> list[str]:
        return [lang("not_landed") if gone else value for gone, value in zip(missing, values, strict=True)]

    number = lang.number
    points = creator.trend[trend_from:]
    ends = [point.end - timedelta(days=1) for point in points]  # the last day of each window
    days = creator.days[min(trend_from, max(0, len(creator.days) - 2)) :]
    at = [day.day for day in days]
    gone = [day.is_empty and did_not_land(day.day) for day in days]
    behind_bars = charts.columns(gone, are_bars=True)

    drawing, top = charts.area([point.viewers for point in points]) if points else ([], 1)
    behind_line = charts.columns([did_not_land(day) for day in ends], are_bars=False)
    values = [number(point.viewers) for point in points]
    yield Chart("reach", [*behind_line, *drawing], charts.axis(number, top), ends, {"viewers": values})

    returning, new = [day.returning_viewers for day in days], [day.new_viewers for day in days]
    drawing, top = charts.bars([returning, new])
    columns = {
        "new_viewers": shown(gone, map(number, new)),
        "returning_viewers": shown(gone, map(number, returning)),
    }
    if any(day.anonymous_viewers for day in days):
        columns["anonymous"] = shown(gone, (number(day.anonymous_viewers) for day in days))
    yield Chart("viewers", [*behind_bars, *drawing], charts.axis(number, top), at, columns)

    ranks = [point.rank for point in points]
    drawing, bottom = charts.ranks(ranks)
    values = [lang("not_ranked") if value is None else number(value) for value in ranks]
    yield Chart(
        "rank", [*behind_line, *drawing] if any(ranks) else [], charts.axis(number, 1, bottom), ends, {"rank": values}
    )

    drawing, top = charts.bars([[day.watched_seconds / 3600 for day in days]])
    columns = {
        "hours": shown(gone, (lang.hours(day.watched_seconds) for day in days)),
        "sessions": shown(gone, (number(day.sessions) for day in days)),
    }
    yield Chart("hours", [*behind_bars, *drawing], charts.axis(number, top), at, columns)
