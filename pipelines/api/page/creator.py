"""The page of one creator: figures of a range, reach over time, new and returning viewers, rank, scheduled streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pipelines.api.insight import Creator, Stream
from pipelines.api.page import charts
from pipelines.api.page.layout import RANKING, Frame, hidden, name, text
from pipelines.api.page.ranking import Choice, controls, downloads, initials, movements, tiles
from pipelines.api.page.translations import Language


def main(frame: Frame, choice: Choice, creator: Creator, trend_from: int, longest: int) -> str:
    """What stands on the page. `trend_from` leaves out the windows that begin before there was any data."""
    lang = frame.language
    profile = creator.profile
    chosen = {key: frame.params[key] for key in ("days", "first", "last") if key in frame.params}
    byline = [f"@{profile.username}" if profile.username else None, profile.creator_id, profile.expertise]
    return f"""<p class="back"><a href="{frame.link(RANKING, **chosen)}">← {lang("back")}</a></p>
<div class="intro creator">
{initials(profile)}
<div><h1>{name(profile.title)}</h1>
<p class="lede">{" · ".join(name(part) for part in dict.fromkeys(byline) if part)}</p></div>
</div>
<section class="controls" aria-label="{lang("window")}">
{controls(frame, choice)}
</section>
<section id="results" tabindex="-1" data-part="results" data-said="{lang("in_range")}: {lang.days(creator.range)}">
<h2>{lang.days(creator.range)}</h2>
{_figures(frame, creator)}
{downloads(frame, "api/v1/creators/reach", choice, creatorId=profile.creator_id)}
</section>
{_charts(lang, creator, trend_from, longest)}
{_streams(lang, creator.streams)}"""


def _figures(frame: Frame, creator: Creator) -> str:
    lang, row = frame.language, creator.row
    if row is None:
        return f'<p class="empty">{lang("not_in_range")}</p>'
    rank = f"{lang.number(row.rank)} <small>{lang('of_total', total=lang.number(creator.total))}</small>"
    moved = f'<span class="move">{movements(frame, creator.yesterday, creator.last_week, row)}</span>'
    return tiles(
        (
            (lang("rank"), rank),
            (f"{lang('movement')}: {lang('day_short')}, {lang('week_short')}", moved),
            (lang("viewers"), lang.number(row.viewers)),
            (lang("anonymous"), lang.number(row.anonymous_viewers)),
            (lang("sessions"), lang.number(row.sessions)),
            (lang("hours"), lang.hours(row.watched_seconds)),
        )
    )


def _charts(lang: Language, creator: Creator, trend_from: int, longest: int) -> str:
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
    number = lang.number
    legend = (
        f'<ul class="legend"><li><i class="swatch-1"></i>{lang("new_viewers")}</li>'
        f'<li><i class="swatch-0"></i>{lang("returning_viewers")}</li></ul>'
    )
    return "\n".join(
        (
            '<div class="charts">',
            _chart(lang, "reach", reach, (reach_top, 0), ends, {"viewers": [number(p.viewers) for p in points]}),
            _chart(
                lang,
                "viewers",
                viewers,
                (viewers_top, 0),
                at,
                {
                    "new_viewers": [number(value) for value in new],
                    "returning_viewers": [number(value) for value in returning],
                    "anonymous": [number(day.anonymous_viewers) for day in days],
                },
                note=lang("chart_viewers_note", days=longest),
                legend=legend,
            ),
            _chart(
                lang,
                "rank",
                rank if any(ranks) else "",
                (1, rank_bottom),
                ends,
                {"rank": [lang("not_ranked") if value is None else number(value) for value in ranks]},
            ),
            _chart(
                lang,
                "hours",
                hours,
                (hours_top, 0),
                at,
                {
                    "hours": [lang.hours(day.watched_seconds) for day in days],
                    "sessions": [number(day.sessions) for day in days],
                },
            ),
            "</div>",
        )
    )


def _chart(
    lang: Language,
    key: str,
    drawing: str,
    axis: tuple[int, int],
    days: Sequence[date],
    columns: dict[str, list[str]],
    note: str | None = None,
    legend: str = "",
) -> str:
    """A chart with its axes, and the table that it was drawn from."""
    title = lang(f"chart_{key}")
    note = lang(f"chart_{key}_note") if note is None else note
    head = f"<figcaption><h2>{title}</h2><p>{note}</p>{legend}</figcaption>"
    if not drawing or len(days) < 2:
        return f'<figure class="chart">{head}<p class="empty">{lang("no_data")}</p></figure>'
    top, bottom = axis
    middle = (top + bottom) / 2
    between = lang.number(int(middle)) if middle == int(middle) else ""
    labels = f"<span>{lang.number(top)}</span><span>{between}</span><span>{lang.number(bottom)}</span>"
    dates = f"<span>{lang.short_day(days[0])}</span><span>{lang.short_day(days[len(days) // 2])}</span>"
    dates += f"<span>{lang.short_day(days[-1])}</span>"
    grid = "".join(
        f'<path class="grid" d="M0 {y}H{charts.WIDTH}"/>' for y in (1, charts.HEIGHT // 2, charts.HEIGHT - 1)
    )
    is_bars = ' data-bars=""' if key in ("viewers", "hours") else ""
    rows = "".join(
        f'<tr><th scope="row"><time datetime="{day}">{lang.day(day)}</time></th>'
        + "".join(f"<td>{value}</td>" for value in values)
        + "</tr>"
        for day, values in zip(days, zip(*columns.values(), strict=True), strict=True)
    )
    heads = "".join(f'<th scope="col">{lang(column)}</th>' for column in columns)
    said = f"{lang.day(days[0])} – {lang.day(days[-1])}. {lang('chart_keys')}"
    return f"""<figure class="chart" id="chart-{key}">
{head}
<div class="plot">
<div class="y" aria-hidden="true">{labels}</div>
<div class="area" tabindex="0" role="img" aria-label="{title}. {text(said)}"{is_bars}>
<svg viewBox="0 0 {charts.WIDTH} {charts.HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{grid}{drawing}</svg>
</div>
<div class="x" aria-hidden="true">{dates}</div>
</div>
<details><summary>{lang("as_table")}{hidden(": " + title)}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table class="data">
<thead><tr><th scope="col">{lang("day")}</th>{heads}</tr></thead><tbody>{rows}</tbody>
</table></div></details>
</figure>"""


def _streams(lang: Language, streams: Sequence[Stream]) -> str:
    shown = "".join(_stream(lang, stream) for stream in streams)
    body = f'<ul class="streams">{shown}</ul>' if shown else f'<p class="empty">{lang("no_streams")}</p>'
    return f'<section aria-labelledby="streams"><h2 id="streams">{lang("streams")}</h2>{body}</section>'


def _stream(lang: Language, stream: Stream) -> str:
    title = name(stream.title) if stream.title else lang("untitled")
    when = lang("no_start")
    if stream.planned_start is not None:
        moment = f'<time datetime="{stream.planned_start.isoformat()}">{lang.instant(stream.planned_start)}</time>'
        when = lang("starts", when=moment)
    return (
        f'<li><h3>{title}</h3><p class="when">{when}</p>{_funding(lang, stream)}'
        f'<p class="backers">{lang.counted("backers", stream.backers)}</p></li>'
    )


def _funding(lang: Language, stream: Stream) -> str:
    collected = None if stream.collected is None else lang.money(stream.collected, stream.currency)
    if stream.goal is None or stream.percentage is None:
        gathered = f" · {lang('collected', collected=text(collected))}" if collected and stream.collected else ""
        return f'<p class="funding">{lang("no_goal")}{gathered}</p>'
    percent = lang.percent(stream.percentage)
    goal = lang.money(stream.goal, stream.currency)
    full = min(100, max(0, stream.percentage))
    return (
        f'<progress value="{full}" max="100" aria-label="{lang("funding")}: {percent}"></progress>'
        f'<p class="funding"><b>{lang("funded", percent=percent)}</b> '
        f"{lang('collected_of', collected=text(collected or '0'), goal=text(goal))}</p>"
    )
