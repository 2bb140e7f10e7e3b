"""The endpoints about creators in any range of days, as JSON and as CSV. Public tables only; no token is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

import msgspec
from starlette.types import Scope

from pipelines.api import compression, envelope, messages, query_params
from pipelines.api.answers import Creator, Page, Profile, Range, Row, Stream, UnknownCreator
from pipelines.api.clients import Clients
from pipelines.api.compression import OpenBody
from pipelines.api.cube import TREND_DAYS, DayOfCreator
from pipelines.api.endpoints import API_VERSION, PUBLIC, RETRY_AFTER_SECONDS, Api, Endpoint, Refused
from pipelines.api.fair_queue import RANGES, Busy
from pipelines.api.messages import JSON, SAFE_DATA, Header, Reply, content_length, error
from pipelines.api.query_service import NotKept, NotReady, QueryService, ReadySnapshot, Rendered, T
from pipelines.api.responses import digest_of, json_value
from pipelines.api.snapshot_watcher import Serving
from pipelines.core.calendar_days import Window
from pipelines.core.csv_escape import csv_lines

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 100
CSV = (b"content-type", b"text/csv; charset=utf-8")

_RANGE = ("days", "from", "to", "snapshot")
_FORM = ("format", "bom")


@dataclass(frozen=True)
class QueryApi(Api):
    """What the endpoints that query the snapshot share."""

    queries: QueryService
    clients: Clients

    async def ask(
        self, question: Callable[[ReadySnapshot], T], scope: Scope, now_ms: int, snapshot_id: str | None = None
    ) -> T:
        """Return the result of `question` on the served snapshot, or on the one of that id.

        Raises Refused (410 when it is not kept, 503), InvalidParameter.
        """
        serving = await self.serving(now_ms)
        if snapshot_id is not None and snapshot_id != serving.snapshot_id and not self.queries.holds(snapshot_id):
            # another worker may have been the first to see it
            await asyncio.to_thread(self.watcher.refresh)
            serving = await self.serving(now_ms)
        try:
            return await self.ask_of(serving, question, RANGES, scope, snapshot_id)
        except NotKept as problem:
            raise Refused(error(410, now_ms, message=str(problem))) from None
        except NotReady as problem:
            message = str(problem)
        except Busy:
            message = "Too many questions are being asked: try again in some seconds"
        retry_after = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)
        raise Refused(error(503, now_ms, retry_after, message=message))

    async def ask_of(
        self,
        serving: Serving,
        question: Callable[[ReadySnapshot], T],
        lane: str,
        scope: Scope,
        snapshot_id: str | None = None,
    ) -> T:
        """The same in any lane. Raises NotReady, NotKept, Busy."""
        client = self.clients.of(scope)
        wait = not self.watcher.is_watching
        return await self.queries.ask(serving, question, lane, client, wait=wait, snapshot_id=snapshot_id)


class QueryEndpoint(Endpoint):
    """An endpoint whose answer is computed at the request."""

    def __init__(self, api: QueryApi) -> None:
        super().__init__(api)
        self.query_api = api

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The reply, or 400 with what is wrong."""
        try:
            asked = self.question(scope["query_string"])
            question = _with_encoding(asked.answer, compression.accepted(scope["headers"]))
            (tag, media_type, data, headers), packed = await self.query_api.ask(
                question, scope, now_ms, asked.snapshot_id
            )
        except query_params.InvalidParameter as problem:
            raise Refused(error(400, now_ms, message=str(problem))) from None
        encoding = None if packed is None else packed.encoding
        tag = compression.tagged(tag, encoding)
        headers = [(b"etag", tag), PUBLIC, compression.VARY, *headers, *SAFE_DATA]
        if messages.matches_etag(messages.values_of(scope["headers"], b"if-none-match"), tag):
            return Reply(304, headers, b"")
        if packed is not None:
            body = packed.closed(envelope.instant(now_ms) + envelope.END if media_type is JSON else b"")
        else:
            body = envelope.success(data, now_ms) if media_type is JSON else data
        headers = [media_type, content_length(len(body)), *compression.encoded_header(encoding), *headers]
        return Reply(200, headers, body)

    def question(self, sent: bytes) -> Question:
        """Return the query to run on a snapshot. Raises InvalidParameter, now or when it runs."""
        raise NotImplementedError


@dataclass(frozen=True)
class Question:
    """A query, and the id of the snapshot that is to answer it; None: the served one."""

    answer: Callable[[ReadySnapshot], Answer]
    snapshot_id: str | None


Answer = tuple[bytes, Header, bytes, list[Header]]  # the ETag, the media type, the body or its data, further headers


def _with_encoding(
    question: Callable[[ReadySnapshot], Answer], encoding: bytes | None
) -> Callable[[ReadySnapshot], tuple[Answer, OpenBody | None]]:
    """The same, with the body compressed but for the end of its envelope, where that is wanted and worth it."""

    def answer(ready: ReadySnapshot) -> tuple[Answer, OpenBody | None]:
        found = tag, media_type, data, _ = question(ready)
        if encoding is None or len(data) < compression.WORTH_IT_BYTES:
            return found, None
        parts = (envelope.OK_HEAD, data, envelope.OK_MIDDLE) if media_type is JSON else (data,)
        return found, ready.packed((tag,), encoding, *parts)

    return answer


class RangeRanking(QueryEndpoint):
    """GET /api/v1/creators/ranking"""

    def question(self, sent: bytes) -> Question:
        """A part of the ranking of a range."""
        asked = query_params.strict_query(sent, *_RANGE, "limit", "offset", "q", "trend", *_FORM)
        of = query_params.range_param(asked)
        limit = asked.integer("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        offset = asked.integer("offset", 0, 0, 10**8)
        search = asked.text("q")
        with_trend = asked.is_true("trend")
        form = _form(asked)

        def answer(ready: ReadySnapshot) -> Answer:
            days = of(ready.insight)
            key = ("ranking", days, limit, offset, search, with_trend, form)

            def write() -> Rendered:
                page = ready.insight.page(days, offset, limit, search, with_trend=with_trend)
                behind = offset + len(page.rows)
                link = None
                if page.rows and behind < page.matched:
                    more = {"q": search, "trend": with_trend and "true", **form.params}
                    link = _next_part(ready, days, limit, behind, more)
                if form.is_csv:
                    return Rendered(
                        _csv(form, _RANKING_COLUMNS, (tuple(_row(row).values()) for row in page.rows)), link
                    )
                return Rendered(_ranking_json(ready, page, offset, limit, with_trend, link), link)

            return _answer(ready, key, write, form, f"ranking-{days.first}-to-{days.last}")

        return Question(answer, query_params.snapshot_param(asked))


def _next_part(ready: ReadySnapshot, days: Range, limit: int, offset: int, more: Mapping[str, str | bool]) -> str:
    """The address of a part of a ranking, relative to that of another: of the same days of the same snapshot."""
    params: dict[str, object] = {"from": days.first, "to": days.end, "limit": limit, "offset": offset}
    given = {name: value for name, value in more.items() if value}
    return f"?{urlencode(params | given | {'snapshot': ready.snapshot_id})}"


class CreatorReach(QueryEndpoint):
    """GET /api/v1/creators/reach"""

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The reply, or 404 for a creator who is not listed."""
        try:
            return await super().answer(scope, now_ms)
        except UnknownCreator:
            raise Refused(error(404, now_ms)) from None

    def question(self, sent: bytes) -> Question:
        """One creator over time."""
        asked = query_params.strict_query(sent, *_RANGE, "creatorId", *_FORM)
        of = query_params.range_param(asked)
        creator_id = creator_param(asked)
        form = _form(asked)

        def answer(ready: ReadySnapshot) -> Answer:
            days = of(ready.insight)

            def write() -> Rendered:
                creator = ready.insight.creator(creator_id, days)
                if form.is_csv:
                    return Rendered(_csv(form, _DAY_COLUMNS, (_day_values(ready, day) for day in creator.days)))
                return Rendered(_creator_json(ready, creator))

            return _answer(ready, ("reach", creator_id, days, form), write, form, f"creator-{ready.insight.as_of}")

        return Question(answer, query_params.snapshot_param(asked))


@dataclass(frozen=True)
class Form:
    """In which form an answer is wanted."""

    is_csv: bool
    with_bom: bool  # a byte order mark before CSV, by which spreadsheets know that it is UTF-8

    @property
    def params(self) -> Mapping[str, str]:
        """The parameters that choose it."""
        bom = {"bom": "true"} if self.with_bom else {}
        return {"format": "csv"} | bom if self.is_csv else {}


def _form(asked: query_params.Query) -> Form:
    """The parameters `format` and `bom`. Raises InvalidParameter."""
    form = Form(asked.one_of("format", "json", "csv") == "csv", asked.is_true("bom"))
    if form.with_bom and not form.is_csv:
        raise query_params.InvalidParameter("bom goes with format=csv: JSON begins with no byte order mark")
    return form


def creator_param(asked: query_params.Query) -> str:
    """The parameter `creatorId`. Raises InvalidParameter."""
    creator_id = asked.text("creatorId")
    if not creator_id:
        raise query_params.InvalidParameter("creatorId must be given")
    return creator_id


def _answer(
    ready: ReadySnapshot, key: tuple[object, ...], write: Callable[[], Rendered], form: Form, name: str
) -> Answer:
    found = ready.body(key, write)
    tag = f'W/"{ready.snapshot_id}-{digest_of(ready.published_ms, *map(str, key))}-{API_VERSION}"'.encode()
    headers: list[Header] = [(b"x-snapshot-id", ready.snapshot_id.encode())]
    if found.next is not None:
        headers.append((b"link", f'<{found.next}>; rel="next"'.encode()))
    if form.is_csv:
        headers.append((b"content-disposition", f'attachment; filename="{name}.csv"'.encode()))
        return tag, CSV, found.body, headers
    return tag, JSON, found.body, headers


# --- JSON ---


def _about(ready: ReadySnapshot, days: Range, yesterday: Range | None, last_week: Range | None) -> dict[str, object]:
    return {
        "snapshotId": ready.snapshot_id,
        "publishedAt": envelope.instant(ready.published_ms).decode(),
        "dataUntil": ready.data_until,
        "window": range_as_json(days, ready.zone),
        "completeness": _completeness(ready, days),
        "comparedWith": {
            "yesterday": range_as_json(yesterday, ready.zone),
            "lastWeek": range_as_json(last_week, ready.zone),
        },
    }


def _completeness(ready: ReadySnapshot, days: Range) -> dict[str, object] | None:
    """Which of the days did not land, or are probably not all there; null where nobody noted that."""
    if ready.completeness is None:
        return None
    asked = Window(days.first, days.end)
    found = ready.completeness.within(asked)
    return {
        "isComplete": found.is_complete(asked),
        "firstDay": found.first_day and found.first_day.isoformat(),
        "missingDays": [day.isoformat() for day in found.missing],
        "incompleteDays": [day.isoformat() for day in found.incomplete],
    }


def _ranking_json(
    ready: ReadySnapshot, page: Page, offset: int, limit: int, with_trend: bool, link: str | None
) -> bytes:
    said = _about(ready, page.range, page.yesterday, page.last_week) | {
        "total": page.total,
        "sessions": page.sessions,
        "watchedSeconds": page.watched_seconds,
        "matched": page.matched,
        "offset": offset,
        "limit": limit,
        "next": link,
    }
    if with_trend:
        said |= {"trendDays": TREND_DAYS, "trendTo": [day.isoformat() for day in ready.insight.cube.trend_ends]}
    rows = [_row(row) | ({"trend": row.trend} if with_trend else {}) for row in page.rows]
    return msgspec.json.encode(said | {"creators": rows})


def _creator_json(ready: ReadySnapshot, creator: Creator) -> bytes:
    said = _about(ready, creator.range, creator.yesterday, creator.last_week)
    said |= {"total": creator.total, "creator": _profile(creator.profile)}
    figures = None
    if creator.row is not None:
        figures = {name: value for name, value in _row(creator.row).items() if name in _FIGURES}
    said["ranking"] = figures
    said["byDay"] = [dict(zip(_DAY_KEYS, _day_values(ready, day), strict=True)) for day in creator.days]
    said["rollingDays"] = TREND_DAYS
    said["rolling"] = [
        {"to": point.end.isoformat(), "viewers": point.viewers, "rank": point.rank} for point in creator.trend
    ]
    said["scheduledStreams"] = [_stream(stream) for stream in creator.streams]
    return msgspec.json.encode(said)


def range_as_json(days: Range | None, zone: str) -> dict[str, object] | None:
    """A range of days of a zone as every answer has it; null for none."""
    if days is None:
        return None
    return {"from": days.first.isoformat(), "to": days.end.isoformat(), "days": days.days, "timezone": zone}


def _profile(profile: Profile) -> dict[str, object]:
    return {
        "creatorId": profile.creator_id,
        "username": profile.username,
        "name": profile.name,
        "surname": profile.surname,
        "expertise": profile.expertise,
    }


_FIGURES = (
    "position",
    "rank",
    "rankYesterday",
    "rankLastWeek",
    "viewers",
    "anonymousViewers",
    "sessions",
    "watchedSeconds",
)


def _row(row: Row) -> dict[str, object]:
    return {
        "position": row.position,
        "rank": row.rank,
        "rankYesterday": row.rank_yesterday,
        "rankLastWeek": row.rank_last_week,
        **_profile(row.profile),
        "viewers": row.viewers,
        "anonymousViewers": row.anonymous_viewers,
        "sessions": row.sessions,
        "watchedSeconds": row.watched_seconds,
    }


def _stream(stream: Stream) -> Mapping[str, object]:
    return {
        "id": stream.stream_id,
        "title": stream.title,
        "plannedStartDate": None if stream.planned_start is None else _instant(stream.planned_start),
        "accessType": stream.access_type,
        "interest": stream.interest,
        "fundingGoal": msgspec.Raw(json_value(stream.goal)),
        "collectedFunding": msgspec.Raw(json_value(stream.collected)),
        "currency": stream.currency,
        "fundingPercentage": stream.percentage,
        "backers": stream.backers,
    }


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- CSV ---

_RANKING_COLUMNS = (
    "position",
    "rank",
    "rank_yesterday",
    "rank_last_week",
    "creator_id",
    "username",
    "name",
    "surname",
    "expertise",
    "viewers",
    "anonymous_viewers",
    "sessions",
    "watched_seconds",
)
_DAY_KEYS = ("day", "viewers", "newViewers", "returningViewers", "anonymousViewers", "sessions", "watchedSeconds")
_DAY_COLUMNS = (
    "day",
    "viewers",
    "new_viewers",
    "returning_viewers",
    "anonymous_viewers",
    "sessions",
    "watched_seconds",
)


def _csv(form: Form, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    return "".join(csv_lines(columns, rows)).encode("utf-8-sig" if form.with_bom else "utf-8")


def _day_values(ready: ReadySnapshot, day: DayOfCreator) -> tuple[str | int | None, ...]:
    """The figures of a day; none of one that did not land, which is not one without viewers."""
    if day.is_empty and ready.did_not_land(day.day):
        return (day.day.isoformat(), *[None] * (len(_DAY_KEYS) - 1))
    return (
        day.day.isoformat(),
        day.viewers,
        day.new_viewers,
        day.returning_viewers,
        day.anonymous_viewers,
        day.sessions,
        day.watched_seconds,
    )
