"""The pages for people and the files that they load: requests in, the HTML of page/ out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.cookies import CookieError, SimpleCookie
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

from starlette.types import Scope

from pipelines.api import compression, messages, query_params
from pipelines.api.answers import Range, RangeNotHeld, UnknownCreator
from pipelines.api.creators import QueryApi
from pipelines.api.endpoints import API_VERSION, RETRY_AFTER_SECONDS, Endpoint, Refused, StaticBody
from pipelines.api.fair_queue import PAGES, Busy
from pipelines.api.insight import ORDERS
from pipelines.api.messages import NO_STORE, SAFE, Header, Reply, content_length
from pipelines.api.page import assets, creator, layout, ranking
from pipelines.api.page.layout import THEMES, Frame, Freshness
from pipelines.api.page.translations import LANGUAGES, preferred
from pipelines.api.query_params import InvalidParameter, Query
from pipelines.api.query_service import NotReady, ReadySnapshot, Rendered
from pipelines.api.responses import WINDOW_DAYS, digest_of
from pipelines.api.snapshot_watcher import Serving, milliseconds
from pipelines.core.calendar_days import as_of_instant, rolling
from pipelines.core.completeness import Completeness

HTML = (b"content-type", b"text/html; charset=utf-8")
PAGE_HEADERS: tuple[Header, ...] = (*SAFE, assets.POLICY)
VARY = (b"vary", b"Accept-Language, Cookie, Accept-Encoding")
REVALIDATE = (b"cache-control", b"private, no-cache")
IMMUTABLE = (b"cache-control", b"public, max-age=31536000, immutable")
MAX_DEPTH = 20  # of folders in a path that is not there, to find the way back from
REMEMBERED_SECONDS = 31_536_000  # what somebody chose

_CHOICES = {"lang": tuple(LANGUAGES), "theme": THEMES}


@dataclass(frozen=True)
class Preferences:
    """The language and the theme of a request, and the cookies that remember what it chose."""

    language: str
    theme: str
    headers: list[Header]


@dataclass(frozen=True)
class RenderedPage:
    """A page to be sent."""

    status: int
    body: bytes
    tag: str  # what the body depends on
    encoding: bytes | None = None  # in which the body is


class HtmlPage(Endpoint):
    """A page: every answer is HTML, errors included."""

    here: str
    parameters: tuple[str, ...]
    variant = ""  # what the settings of this server make of it

    def __init__(self, api: QueryApi) -> None:
        super().__init__(api)
        self.query_api = api

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """Return the page, or an error page."""
        sent = scope["query_string"]
        chosen = preferences(sent, scope["headers"])
        frame = Frame(LANGUAGES[chosen.language], chosen.theme, self.here)
        try:
            serving = await self.query_api.serving(now_ms)
        except Refused:
            return _unavailable(_problem(frame, None, "none_title", frame.language("none")), chosen)
        try:
            sheet = await self._sheet(frame, scope, serving, now_ms)
        except Busy:
            return _unavailable(_problem(frame, None, "busy_title", frame.language("busy"), frame.link()), chosen)
        except NotReady:
            body = _problem(frame, None, "unreadable_title", frame.language("unreadable"), frame.link())
            return _unavailable(body, chosen)
        headers = [*PAGE_HEADERS, VARY, *chosen.headers]
        if sheet.status != 200:
            return Reply(sheet.status, [HTML, content_length(len(sheet.body)), NO_STORE, *headers], sheet.body)
        headers = [(b"etag", sheet.tag.encode()), REVALIDATE, *headers]
        if messages.matches_etag(messages.values_of(scope["headers"], b"if-none-match"), sheet.tag.encode()):
            return Reply(304, headers, b"")
        own = [HTML, content_length(len(sheet.body)), *compression.encoded_header(sheet.encoding)]
        return Reply(200, [*own, *headers], sheet.body)

    async def _sheet(self, frame: Frame, scope: Scope, serving: Serving, now_ms: int) -> RenderedPage:
        sent, encoding = scope["query_string"], compression.accepted(scope["headers"])

        def question(ready: ReadySnapshot) -> RenderedPage:
            fresh = freshness(ready, now_ms, self.query_api.stale_hours)
            asked_frame = frame
            try:
                for name, known in _CHOICES.items():
                    query_params.query(sent, name).one_of(name, *known)
                asked = query_params.query(sent, *self.parameters)
                asked_frame = replace(frame, params=asked.values)
                ages = (fresh.age_hours, fresh.data_age_hours, fresh.is_stale, fresh.is_old)
                shown = (frame.language.code, frame.theme, *ages)
                key = (self.here, self.variant, tuple(sorted(asked.values.items())), *shown)
                body = ready.body(key, lambda: Rendered(self.write(ready, asked, asked_frame, fresh))).body
            except (InvalidParameter, RangeNotHeld) as error:
                return RenderedPage(400, _problem(frame, fresh, "bad_title", _why(error, ready, frame)), "")
            except UnknownCreator:
                return RenderedPage(404, _problem(frame, fresh, "missing_title", frame.language("missing")), "")
            digest = digest_of(assets.version(), ready.published_ms, *map(str, key))
            tag = f'W/"{ready.snapshot_id}-page.{digest}-{API_VERSION}"'
            if encoding is None:
                return RenderedPage(200, body, tag)
            packed = ready.packed((tag,), encoding, body).closed(b"")
            return RenderedPage(200, packed, compression.tagged(tag.encode(), encoding).decode(), encoding)

        return await self.query_api.ask_of(serving, question, PAGES, scope)

    def write(self, ready: ReadySnapshot, asked: Query, frame: Frame, fresh: Freshness) -> bytes:
        """The page. Raises InvalidParameter, RangeNotHeld, UnknownCreator."""
        raise NotImplementedError


class RankingPage(HtmlPage):
    """GET /"""

    here = layout.RANKING
    parameters = ("days", "first", "last", "q", "page", "sort")

    def write(self, ready: ReadySnapshot, asked: Query, frame: Frame, fresh: Freshness) -> bytes:
        """The ranking."""
        insight = ready.insight
        search = asked.text("q")
        number = asked.integer("page", 1, 1, 10**6)
        if insight.cube.first_day is None:  # a snapshot without a day: there is nothing that could be chosen
            today = insight.as_of
            days, window = Range(today - timedelta(days=1), today), None
        else:
            days, window = _range(ready, asked)
        order = asked.one_of("sort", *ORDERS)
        page = insight.page(
            days,
            (number - 1) * ranking.ROWS,
            ranking.ROWS,
            search,
            with_trend=True,
            order=order,
            with_before=_can_compare(ready, days),
        )
        first = (number - 1) * ranking.ROWS + 1
        return layout.render(
            "ranking.html",
            frame,
            fresh,
            choice=ranking.choice(insight, days, window),
            page=page,
            order=order,
            platform=ranking.platform(frame.language, insight, days, ready.did_not_land),
            moved=partial(ranking.movements, frame.language, page),
            trend_from=ranking.trend_from(insight),
            search=search,
            number=number,
            first=first,
            last=first + len(page.rows) - 1,
            zone=ready.zone,
        )


class CreatorPage(HtmlPage):
    """GET /creator"""

    here = layout.CREATOR
    parameters = ("id", "days", "first", "last")

    def __init__(self, api: QueryApi, *, for_operators: bool) -> None:
        super().__init__(api)
        self._for_operators = for_operators
        self.variant = "for operators" if for_operators else ""

    def write(self, ready: ReadySnapshot, asked: Query, frame: Frame, fresh: Freshness) -> bytes:
        """One creator."""
        insight = ready.insight
        if insight.cube.first_day is None:
            raise UnknownCreator
        days, window = _range(ready, asked)
        found = insight.creator(asked.text("id"), days, with_before=_can_compare(ready, days))
        return layout.render(
            "creator.html",
            frame,
            fresh,
            choice=ranking.choice(insight, days, window),
            creator=found,
            byline=creator.byline(found.profile),
            moved=partial(ranking.movements, frame.language, found),
            charts=[]
            if insight.cube.min_cell
            else creator.charts_of(frame.language, found, ranking.trend_from(insight), ready.did_not_land),
            longest=insight.cube.max_window_days,
            for_operators=self._for_operators,
        )


class Asset(Endpoint):
    """A file that the pages load: GET /page/…"""

    def __init__(self, api: QueryApi, name: str) -> None:
        super().__init__(api)
        self._static = StaticBody(
            (b"content-type", assets.MEDIA_TYPES[PurePosixPath(name).suffix]), assets.content(name)
        )
        self._version = f"v={assets.version()}".encode()

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """Return the file, immutable under its version's address; or 304."""
        kept = IMMUTABLE if scope["query_string"] == self._version else (b"cache-control", b"no-cache")
        return self._static.reply(scope["headers"], [kept, *PAGE_HEADERS])


def preferences(sent: bytes, headers: list[Header]) -> Preferences:
    """Return the preferences of a request: chosen now, chosen before (a cookie), or preferred by its browser."""
    accepted = b",".join(messages.values_of(headers, b"accept-language")).decode("latin-1")
    remembered = _cookies(headers)
    found = {"lang": preferred(accepted), "theme": THEMES[0]}
    cookies: list[Header] = []
    # whoever says so of themselves changes nobody else's cookie
    is_tls = b"https" in messages.values_of(headers, b"x-forwarded-proto")
    secure = "; Secure" if is_tls else ""
    for name, known in _CHOICES.items():
        if remembered.get(name) in known:
            found[name] = remembered[name]
        try:
            chosen = messages.query_values(sent, name.encode()) if sent else []
        except ValueError:
            continue
        if len(chosen) == 1 and chosen[0] in known:
            found[name] = chosen[0]
            # without a Path it is that of the page, also behind a proxy's prefix
            cookie = f"{name}={chosen[0]}; Max-Age={REMEMBERED_SECONDS}; SameSite=Lax{secure}"
            cookies.append((b"set-cookie", cookie.encode()))
    return Preferences(found["lang"], found["theme"], cookies)


def _cookies(headers: list[Header]) -> Mapping[str, str]:
    jar: SimpleCookie = SimpleCookie()
    for value in messages.values_of(headers, b"cookie"):
        try:
            jar.load(value.decode("latin-1"))
        except CookieError:
            continue
    return {name: morsel.value for name, morsel in jar.items()}


def freshness(ready: ReadySnapshot, now_ms: int, stale_hours: int) -> Freshness:
    """How old a snapshot is, by the rule of /readyz."""
    age_ms = max(0, now_ms - ready.published_ms)
    until_ms = milliseconds(ready.data_until) if ready.data_until is not None else None
    as_of = ready.snapshot.as_of
    days = rolling(as_of, WINDOW_DAYS)
    ended_ms = milliseconds(as_of_instant(as_of, ZoneInfo(ready.zone)))
    return Freshness(
        snapshot_id=ready.snapshot_id,
        published=_moment(ready.published_ms),
        data_until=_moment(until_ms) if until_ms is not None else None,
        age_hours=age_ms // 3_600_000,
        data_age_hours=0 if until_ms is None else max(0, now_ms - until_ms) // 3_600_000,
        stale_hours=stale_hours,
        is_stale=age_ms > stale_hours * 3_600_000,
        is_old=now_ms - ended_ms > stale_hours * 3_600_000,
        completeness=(ready.completeness or Completeness(days.first_day)).within(days),
        days=days,
    )


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _range(ready: ReadySnapshot, asked: Query) -> tuple[Range, int | None]:
    """The range from `first` to `last`, both included, or the window of `days`. Raises InvalidParameter,
    RangeNotHeld."""
    first, last = asked.day("first"), asked.day("last")
    if first is None and last is None:
        days = asked.integer("days", query_params.DEFAULT_DAYS, 1, 1000)
        return ready.insight.window(days), days
    if first is None or last is None:
        raise InvalidParameter("first and last go together")
    if last < first:
        raise BadOrder
    return ready.insight.checked_range(first.toordinal(), last.toordinal() + 1), None


def _can_compare(ready: ReadySnapshot, days: Range) -> bool:
    """Whether a range and the period before it are whole: a day that did not land would look like a loss, or a gain."""
    before = ready.insight.period_before(days)
    return before is not None and ready.is_complete(before.first, days.end)


class BadOrder(RangeNotHeld):
    """The last day is before the first."""


def _why(error: Exception, ready: ReadySnapshot, frame: Frame) -> str:
    lang, cube = frame.language, ready.insight.cube
    if isinstance(error, BadOrder):
        return lang("bad_order")
    if isinstance(error, RangeNotHeld) and cube.first_day is not None and cube.end_day is not None:
        if cube.min_cell:
            return lang("bad_window")
        last = date.fromordinal(cube.end_day.toordinal() - 1)
        return lang("bad_range", first=lang.day(cube.first_day), last=lang.day(last), most=cube.max_window_days)
    return lang("bad_other")


def _problem(frame: Frame, fresh: Freshness | None, title: str, why: str, way_out: str = layout.RANKING) -> bytes:
    """A page that says why there is nothing else. Without a snapshot it looks again by itself."""
    return layout.render("problem.html", frame, fresh, title=title, why=why, way_out=way_out)


def accepts_html(headers: list[Header]) -> bool:
    """Whether HTML is asked for by name, as every browser does."""
    accepted = b",".join(messages.values_of(headers, b"accept")).lower().split(b",")
    return any(_TEXT_HTML.fullmatch(item) for item in accepted)


_TEXT_HTML = re.compile(rb"\s*text/html\s*(;(?!\s*q=0(\.0*)?\s*$).*)?")


def page_not_found(scope: Scope) -> Reply:
    """404 as a page, in the language of whoever asks."""
    chosen = preferences(b"", scope["headers"])
    frame = Frame(LANGUAGES[chosen.language], chosen.theme, layout.RANKING)
    depth = scope["raw_path"].count(b"/") - 1  # as the browser has it: a slash that is written %2F parts nothing there
    root = "../" * depth if 0 < depth <= MAX_DEPTH else "/" if depth else "./"  # behind a prefix, too
    body = layout.render("nowhere.html", frame, None, root=root)
    headers = [HTML, content_length(len(body)), NO_STORE, *PAGE_HEADERS]
    return Reply(404, [*headers, (b"vary", b"Accept, Accept-Language, Cookie")], body)


def _unavailable(body: bytes, chosen: Preferences) -> Reply:
    retry_after = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)
    headers = [HTML, content_length(len(body)), NO_STORE, retry_after, *PAGE_HEADERS, VARY, *chosen.headers]
    return Reply(503, headers, body)


def page_routes(api: QueryApi, *, for_operators: bool) -> Mapping[str, Endpoint]:
    """The pages and their files, by path. `for_operators`: with what only they may ask."""
    return {
        "/": RankingPage(api),
        "/creator": CreatorPage(api, for_operators=for_operators),
        **{f"/{assets.PREFIX}{name}": Asset(api, name) for name in assets.names()},
    }
