"""The page at `/`: the ranking of a window or of any range of days."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pipelines.api.insight import Insight, Page, Profile, Range, Row
from pipelines.api.page.charts import sparkline
from pipelines.api.page.layout import CREATOR, Frame, current, hidden, name, text

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


def choice(insight: Insight, asked: Range, days: int | None) -> Choice:
    """Of a snapshot and what is shown of it."""
    cube = insight.cube
    first, end = cube.first_day or asked.first, cube.end_day or asked.end
    return Choice(insight.windows, asked, days, first, Range(first, end).last)


def main(frame: Frame, choice: Choice, page: Page, trend_from: int, search: str, number: int, zone: str) -> str:
    """What stands on the page. `trend_from` leaves out the windows that begin before there was any data."""
    lang = frame.language
    said = lang.counted("found", page.matched)
    return f"""<div class="intro">
<h1>{lang("title")}</h1>
<p class="lede" data-part="lede">{lang("lede", range=_nowrap(lang.days(page.range)))}</p>
</div>
<section class="controls" aria-label="{lang("window")}">
{controls(frame, choice)}
<form class="search" role="search" action="./" method="get">
<span data-part="kept">{_kept(frame)}</span>
<label for="q">{lang("search")}</label>
<div class="field"><input id="q" name="q" type="search" value="{text(search)}" maxlength="200"
 placeholder="{lang("search_hint")}" autocomplete="off" spellcheck="false">
<button type="submit">{lang("search_do")}</button></div>
</form>
</section>
<section id="results" tabindex="-1" data-part="results" data-said="{said}, {lang.days(page.range)}">
{_tiles(frame, page)}
{_table(frame, page, trend_from) if page.rows else _nothing(frame, page, search)}
{_below(frame, choice, page, search, number)}
<p class="note">{lang("about", zone=text(zone))}</p>
</section>"""


def _nowrap(said: str) -> str:
    return f'<span class="nowrap">{said}</span>'


def controls(frame: Frame, choice: Choice) -> str:
    """The windows, and the form for any range of days."""
    lang = frame.language
    windows = "".join(
        f'<a href="{frame.link(days=days, first=None, last=None, page=None)}" data-go id="days-{days}"'
        f"{current(days == choice.days)}>{lang.counted('window', days)}</a>"
        for days in choice.windows
    )
    others = "".join(
        f'<input type="hidden" name="{text(key)}" value="{text(value)}">'
        for key, value in frame.params.items()
        if key in ("q", "id")
    )
    bounds = f'min="{choice.first_day}" max="{choice.last_day}" required'
    return f"""<nav class="windows" aria-label="{lang("window")}" data-part="windows">{windows}</nav>
<form class="dates" action="{frame.here}" method="get" data-part="dates" aria-label="{lang("dates")}">{others}
<label for="first">{lang("first_day")}</label>
<input id="first" name="first" type="date" value="{choice.range.first}" {bounds}>
<label for="last">{lang("last_day")}</label>
<input id="last" name="last" type="date" value="{choice.range.last}" {bounds}>
<button type="submit" id="show">{lang("show")}</button>
</form>"""


def _kept(frame: Frame) -> str:
    """What a search keeps of the present choice."""
    return "".join(
        f'<input type="hidden" name="{key}" value="{text(frame.params[key])}">'
        for key in ("days", "first", "last")
        if key in frame.params
    )


def _tiles(frame: Frame, page: Page) -> str:
    lang = frame.language
    figures = (
        ("tile_creators", lang.number(page.total)),
        ("tile_sessions", lang.number(page.sessions)),
        ("tile_hours", lang.hours(page.watched_seconds)),
        ("tile_days", lang.number(page.range.days)),
    )
    return tiles((lang(key), figure) for key, figure in figures)


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Figures and what they are."""
    parts = "".join(f"<div><dt>{label}</dt><dd>{figure}</dd></div>" for label, figure in figures)
    return f'<dl class="tiles">{parts}</dl>'


def _table(frame: Frame, page: Page, trend_from: int) -> str:
    lang = frame.language
    rows = "".join(_row(frame, page, row, trend_from) for row in page.rows)
    return f"""<table class="ranking">
<caption class="vh">{lang("caption", range=lang.days(page.range))}</caption>
<thead><tr>
<th scope="col" class="rank">{lang("rank")}</th>
<th scope="col" class="move">{lang("movement")}
<small aria-hidden="true"><span>{lang("day_short")}</span><span>{lang("week_short")}</span></small></th>
<th scope="col" class="who">{lang("creator")}</th>
<th scope="col" class="trend">{lang("trend")}</th>
<th scope="col" class="num">{lang("viewers")}</th>
<th scope="col" class="num more">{lang("anonymous")}</th>
<th scope="col" class="num more">{lang("sessions")}</th>
<th scope="col" class="num more">{lang("hours")}</th>
</tr></thead>
<tbody>{rows}</tbody>
</table>"""


def _row(frame: Frame, page: Page, row: Row, trend_from: int) -> str:
    lang = frame.language
    address = frame.link(CREATOR, id=row.profile.creator_id, **_chosen(frame))
    trend = row.trend[trend_from:]
    first, last = (lang.number(trend[at]) if trend else lang.number(0) for at in (0, -1))
    return (
        f'<tr><td class="rank">{lang.number(row.rank)}</td>'
        f'<td class="move">{movements(frame, page.yesterday, page.last_week, row)}</td>'
        f'<th scope="row" class="who"><div class="name">{initials(row.profile)}<span><a href="{address}">'
        f"{name(row.profile.title)}</a>{_byline(row.profile)}</span></div></th>"
        f'<td class="trend">{sparkline(trend)}{hidden(lang("trend_said", first=first, last=last))}</td>'
        f'<td class="num viewers">{lang.number(row.viewers)}</td>'
        f'<td class="num more">{lang.number(row.anonymous_viewers)}</td>'
        f'<td class="num more">{lang.number(row.sessions)}</td>'
        f'<td class="num more">{lang.hours(row.watched_seconds)}</td></tr>\n'
    )


def _chosen(frame: Frame) -> dict[str, str | int | None]:
    return {key: frame.params[key] for key in ("days", "first", "last") if key in frame.params}


def _byline(profile: Profile) -> str:
    parts = [f"@{profile.username}" if profile.username else profile.creator_id, profile.expertise]
    return f"<small>{' · '.join(name(part) for part in parts if part)}</small>"


def initials(profile: Profile) -> str:
    """Two letters on a colour of their own; photos would come from other hosts."""
    lang = [part for part in profile.title.split() if part[0].isalnum()] or [profile.creator_id or "?"]
    letters = (lang[0][0] + (lang[1][0] if len(lang) > 1 else lang[0][1:2])).upper()
    hue = zlib.crc32(profile.creator_id.encode("utf-8", "replace")) % _HUES
    return f'<span class="initials hue-{hue}" aria-hidden="true">{text(letters)}</span>'


def movements(frame: Frame, yesterday: Range | None, last_week: Range | None, row: Row) -> str:
    """How the rank has moved since yesterday and since last week, to see and to hear."""
    lang = frame.language
    return _movement(frame, row.rank, row.rank_yesterday, yesterday, lang("since_yesterday"), lang("day_short")) + (
        _movement(frame, row.rank, row.rank_last_week, last_week, lang("since_last_week"), lang("week_short"))
    )


def _movement(frame: Frame, rank: int, before: int | None, compared: Range | None, since: str, short: str) -> str:
    lang = frame.language
    if compared is None:
        kind, sign, said = "none", "·", lang("unknown")
    elif before is None:
        kind, sign, said = "new", lang("new"), lang("new")
    elif before == rank:
        kind, sign, said = "same", "–", lang("same")
    else:
        kind, arrow = ("up", "▲") if before > rank else ("down", "▼")
        steps = lang.number(abs(before - rank))
        sign, said = f"{arrow}\N{NO-BREAK SPACE}{steps}", lang(kind, n=steps)
    return (
        f'<span class="{kind}" title="{since}: {said}"><span aria-hidden="true">{sign}</span>'
        f"{hidden(f'{since}: {said}. ')}</span>"
    )


def _nothing(frame: Frame, page: Page, search: str) -> str:
    lang = frame.language
    if search and page.total:
        clear = f'<p><a href="{frame.link(q=None, page=None)}" data-go>{lang("search_clear")}</a></p>'
        said = lang("no_match", text=name(search))
        return f'<div class="empty"><h2>{lang("no_match_title")}</h2><p>{said}</p>{clear}</div>'
    return f'<div class="empty"><h2>{lang("empty_title")}</h2><p>{lang("empty_range")}</p></div>'


def _below(frame: Frame, choice: Choice, page: Page, search: str, number: int) -> str:
    lang = frame.language
    first = (number - 1) * ROWS + 1
    last = first + len(page.rows) - 1
    parts = []
    if page.rows:
        shown = lang("shown", first=lang.number(first), last=lang.number(last), total=lang.number(page.matched))
        parts.append(f'<p class="shown">{shown}</p>')
    pages = []
    if number > 1:
        pages.append(
            f'<a href="{frame.link(page=number - 1 if number > 2 else None)}" rel="prev" data-go>'
            f"{lang('previous_page')}</a>"
        )
    if last < page.matched:
        pages.append(f'<a href="{frame.link(page=number + 1)}" rel="next" data-go>{lang("next_page")}</a>')
    if pages:
        parts.append(f'<nav class="pages" aria-label="{lang("pages")}">{"".join(pages)}</nav>')
    if page.total:
        parts.append(downloads(frame, "api/v1/creators/ranking", choice, q=search, limit=10_000))
    return f'<div class="below">{"".join(parts)}</div>'


def downloads(frame: Frame, path: str, choice: Choice, **more: str | int | None) -> str:
    """What is shown, for a spreadsheet and for a program."""
    window: dict[str, str | int | None] = {"days": choice.days}
    if choice.days is None:
        window = {"from": str(choice.range.first), "to": str(choice.range.end)}
    links = "".join(
        f'<a href="{frame.link(path, **window, **more, format=form)}" download>{form.upper()}</a>'
        for form in ("csv", "json")
    )
    return f'<p class="downloads"><span>{frame.language("download")}</span>{links}</p>'


def trend_from(insight: Insight) -> int:
    """The first window of the trend that holds nothing but days since the first one with data, where two remain."""
    cube = insight.cube
    held = sorted(cube.days)
    empty = next((at for at, day in enumerate(held) if len(cube.days[day].creators)), 0)
    return min(empty, max(0, len(cube.trend_ends) - 2))
