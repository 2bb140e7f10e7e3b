"""The page of one creator: figures of a range, reach over time, new and returning viewers, rank, scheduled streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pipelines.api.insight import Creator, Stream
from pipelines.api.page import charts
from pipelines.api.page.layout import RANKING, Frame, hidden, name, text
from pipelines.api.page.ranking import Choice, controls, downloads, initials, movements, tiles
from pipelines.api.page.translations import Translator


def main(frame: Frame, choice: Choice, creator: Creator, trend_from: int, longest: int) -> str:
    """What stands on the page. `trend_from` leaves out the windows that begin before there was any data."""
    words = frame.words
    profile = creator.profile
    chosen = {key: frame.params[key] for key in ("days", "first", "last") if key in frame.params}
    byline = [f"@{profile.username}" if profile.username else None, profile.creator_id, profile.expertise]
    return f"""<p class="back"><a href="{frame.link(RANKING, **chosen)}">← {words("back")}</a></p>
<div class="intro creator">
{initials(profile)}
<div><h1>{name(profile.title)}</h1>
<p class="lede">{" · ".join(name(part) for part in dict.fromkeys(byline) if part)}</p></div>
</div>
<section class="controls" aria-label="{words("window")}">
{controls(frame, choice)}
</section>
<section id="results" tabindex="-1" data-part="results" data-said="{words("in_range")}: {words.days(creator.range)}">
<h2>{words.days(creator.range)}</h2>
{_figures(frame, creator)}
{downloads(frame, "api/v1/creators/reach", choice, creatorId=profile.creator_id)}
</section>
{_charts(words, creator, trend_from, longest)}
{_streams(words, creator.streams)}"""


def _figures(frame: Frame, creator: Creator) -> str:
    words, row = frame.words, creator.row
    if row is None:
        return f'<p class="empty">{words("not_in_range")}</p>'
    rank = f"{words.number(row.rank)} <small>{words('of_total', total=words.number(creator.total))}</small>"
    moved = f'<span class="move">{movements(frame, creator.yesterday, creator.last_week, row)}</span>'
    return tiles(
        (
            (words("rank"), rank),
            (f"{words('movement')}: {words('day_short')}, {words('week_short')}", moved),
            (words("viewers"), words.number(row.viewers)),
            (words("anonymous"), words.number(row.anonymous_viewers)),
            (words("sessions"), words.number(row.sessions)),
            (words("hours"), words.hours(row.watched_seconds)),
        )
    )


def _charts(words: Translator, creator: Creator, trend_from: int, longest: int) -> str:
    points = creator.trend[trend_from:]
    ends = [point.end - timedelta(days=1) for point in points]  # the last day of each window
    days = creator.days[min(trend_from, max(0, len(creator.days) - 2)) :]
    at = [day.day for day in days]
    reach, reach_top = charts.area([point.viewers for point in points]) if points else ("", 1)
    ranks = [point.rank for point in points]
    rank, rank_bottom = charts.ranks(ranks)
    returning, new = [day.returning_viewers for day in days], [day.new_viewers for day in days]
    viewers, viewers_top = charts.bars([returning, new])
    hours, hours_top = charts.bars([[day.watched_seconds / 3600 for day in days]])
    number = words.number
    legend = (
        f'<ul class="legend"><li><i class="swatch-1"></i>{words("new_viewers")}</li>'
        f'<li><i class="swatch-0"></i>{words("returning_viewers")}</li></ul>'
    )
    return "\n".join(
        (
            '<div class="charts">',
            _chart(words, "reach", reach, (reach_top, 0), ends, {"viewers": [number(p.viewers) for p in points]}),
            _chart(
                words,
                "viewers",
                viewers,
                (viewers_top, 0),
                at,
                {
                    "new_viewers": [number(value) for value in new],
                    "returning_viewers": [number(value) for value in returning],
                    "anonymous": [number(day.anonymous_viewers) for day in days],
                },
                note=words("chart_viewers_note", days=longest),
                legend=legend,
            ),
            _chart(
                words,
                "rank",
                rank if any(ranks) else "",
                (1, rank_bottom),
                ends,
                {"rank": [words("not_ranked") if value is None else number(value) for value in ranks]},
            ),
            _chart(
                words,
                "hours",
                hours,
                (hours_top, 0),
                at,
                {
                    "hours": [words.hours(day.watched_seconds) for day in days],
                    "sessions": [number(day.sessions) for day in days],
                },
            ),
            "</div>",
        )
    )


def _chart(
    words: Translator,
    key: str,
    drawing: str,
    axis: tuple[int, int],
    days: Sequence[date],
    columns: dict[str, list[str]],
    note: str | None = None,
    legend: str = "",
) -> str:
    """A chart with its axes, and the table that it was drawn from."""
    title = words(f"chart_{key}")
    note = words(f"chart_{key}_note") if note is None else note
    head = f"<figcaption><h2>{title}</h2><p>{note}</p>{legend}</figcaption>"
    if not drawing or len(days) < 2:
        return f'<figure class="chart">{head}<p class="empty">{words("no_data")}</p></figure>'
    top, bottom = axis
    middle = (top + bottom) / 2
    between = words.number(int(middle)) if middle == int(middle) else ""
    labels = f"<span>{words.number(top)}</span><span>{between}</span><span>{words.number(bottom)}</span>"
    dates = f"<span>{words.short_day(days[0])}</span><span>{words.short_day(days[len(days) // 2])}</span>"
    dates += f"<span>{words.short_day(days[-1])}</span>"
    grid = "".join(
        f'<path class="grid" d="M0 {y}H{charts.WIDTH}"/>' for y in (1, charts.HEIGHT // 2, charts.HEIGHT - 1)
    )
    is_bars = ' data-bars=""' if key in ("viewers", "hours") else ""
    rows = "".join(
        f'<tr><th scope="row"><time datetime="{day}">{words.day(day)}</time></th>'
        + "".join(f"<td>{value}</td>" for value in values)
        + "</tr>"
        for day, values in zip(days, zip(*columns.values(), strict=True), strict=True)
    )
    heads = "".join(f'<th scope="col">{words(column)}</th>' for column in columns)
    said = f"{words.day(days[0])} – {words.day(days[-1])}. {words('chart_keys')}"
    return f"""<figure class="chart" id="chart-{key}">
{head}
<div class="plot">
<div class="y" aria-hidden="true">{labels}</div>
<div class="area" tabindex="0" role="img" aria-label="{title}. {text(said)}"{is_bars}>
<svg viewBox="0 0 {charts.WIDTH} {charts.HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{grid}{drawing}</svg>
</div>
<div class="x" aria-hidden="true">{dates}</div>
</div>
<details><summary>{words("as_table")}{hidden(": " + title)}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table class="data">
<thead><tr><th scope="col">{words("day")}</th>{heads}</tr></thead><tbody>{rows}</tbody>
</table></div></details>
</figure>"""


def _streams(words: Translator, streams: Sequence[Stream]) -> str:
    shown = "".join(_stream(words, stream) for stream in streams)
    body = f'<ul class="streams">{shown}</ul>' if shown else f'<p class="empty">{words("no_streams")}</p>'
    return f'<section aria-labelledby="streams"><h2 id="streams">{words("streams")}</h2>{body}</section>'


def _stream(words: Translator, stream: Stream) -> str:
    title = name(stream.title) if stream.title else words("untitled")
    when = words("no_start")
    if stream.planned_start is not None:
        moment = f'<time datetime="{stream.planned_start.isoformat()}">{words.instant(stream.planned_start)}</time>'
        when = words("starts", when=moment)
    return (
        f'<li><h3>{title}</h3><p class="when">{when}</p>{_funding(words, stream)}'
        f'<p class="backers">{words.counted("backers", stream.backers)}</p></li>'
    )


def _funding(words: Translator, stream: Stream) -> str:
    collected = None if stream.collected is None else words.money(stream.collected, stream.currency)
    if stream.goal is None or stream.percentage is None:
        gathered = f" · {words('collected', collected=text(collected))}" if collected and stream.collected else ""
        return f'<p class="funding">{words("no_goal")}{gathered}</p>'
    percent = words.percent(stream.percentage)
    goal = words.money(stream.goal, stream.currency)
    full = min(100, max(0, stream.percentage))
    return (
        f'<progress value="{full}" max="100" aria-label="{words("funding")}: {percent}"></progress>'
        f'<p class="funding"><b>{words("funded", percent=percent)}</b> '
        f"{words('collected_of', collected=text(collected or '0'), goal=text(goal))}</p>"
    )
