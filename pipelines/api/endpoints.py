"""The documented endpoints. HTTP only: the bodies are prepared in responses.py and funded.py."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope, Send

from pipelines.api import compression, envelope, messages
from pipelines.api.compression import OpenBody
from pipelines.api.envelope import Clock
from pipelines.api.keys import FIRST_FETCH_EVERY_SECONDS
from pipelines.api.messages import (
    JSON,
    NO_STORE,
    PIECE_BYTES,
    SAFE_DATA,
    Head,
    Header,
    Part,
    Prepared,
    Reply,
    ReplyInPieces,
    content_length,
    error,
    pieces,
)
from pipelines.api.responses import DEFAULT_LIMIT, FILTERS, MAX_LIMIT, digest_of
from pipelines.api.snapshot_watcher import Serving, Watcher
from pipelines.api.telemetry import Metrics
from pipelines.api.tokens import Authenticator, InvalidToken, NoKeysYet, NotBearer

API_VERSION = "v1"  # part of every ETag: to be raised when the same snapshot is written differently
RETRY_AFTER_SECONDS = 5  # what a 503 asks for; a new snapshot is seen within a second and loaded in a few

PAGES_KEPT = 8  # of other limits than the default, in each encoding; half a megabyte each at most
STREAMS_WORTH_COMPRESSING = 6  # some 200 bytes each
STREAMS_AT_ONCE = 200  # so many are picked out in less than a millisecond
STREAMS_KEPT_BYTES = 64 << 20  # of bodies that were asked for

VARY_ON_TOKEN = (b"vary", b"Authorization")
VARY_ON_TOKEN_AND_ENCODING = (b"vary", b"Authorization, Accept-Encoding")
PUBLIC = (b"cache-control", b"public, max-age=60")  # the ranking changes once a night
PRIVATE = (b"cache-control", b"private, no-cache")  # stored by the client alone, and asked about every time

_LIMIT = re.compile(r"[1-9][0-9]{0,3}")
_STATUSES = frozenset({"active", "banned"})


@dataclass(frozen=True)
class Api:
    """What the endpoints share: the clock, the served snapshot, authorization and metrics."""

    clock: Clock
    watcher: Watcher
    authenticator: Authenticator
    metrics: Metrics
    stale_hours: int

    async def serving(self, now_ms: int) -> Serving:
        """Return the served snapshot. A request calls this once. Raises Refused (503) when there is none."""
        watcher = self.watcher
        if watcher.serving is None or not watcher.is_watching:
            await asyncio.to_thread(watcher.refresh)
        if watcher.serving is None:
            raise Refused(error(503, now_ms, (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)))
        return watcher.serving

    async def subject(self, authorization: list[bytes], now_ms: int) -> str:
        """The caller's user id. Raises Refused (401, or 503 while the key set has not been loaded)."""
        challenge = b"Bearer"
        try:
            subject = await self.authenticator.subject(authorization, now_ms)
        except NotBearer:
            self.metrics.auth("not_bearer" if authorization else "absent")
        except InvalidToken as invalid:
            self.metrics.auth(f"invalid_{str(invalid).replace(' ', '_')}")
            challenge = f'Bearer error="invalid_token", error_description="{invalid.description}"'.encode()
        except NoKeysYet:
            self.metrics.auth("no_keys_yet")
            raise self.no_keys_yet(now_ms) from None
        else:
            self.metrics.auth("accepted")
            return subject
        raise Refused(error(401, now_ms, (b"www-authenticate", challenge), VARY_ON_TOKEN))

    def no_keys_yet(self, now_ms: int) -> Refused:
        """503: a token cannot be judged, so it is neither accepted nor refused."""
        retry = (b"retry-after", b"%d" % FIRST_FETCH_EVERY_SECONDS)
        return Refused(error(503, now_ms, retry, VARY_ON_TOKEN, message="The keys for tokens are not loaded yet"))


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Endpoint:
    """One route as an ASGI application; a subclass says what it answers."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with one reading of the clock."""
        now_ms = self.api.clock.now_ms()
        try:
            reply = await self.answer(scope, now_ms)
        except Refused as refused:
            reply = refused.reply
        await reply(scope, receive, send)

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The reply. Raises Refused."""
        raise NotImplementedError


# --- the three documented endpoints ---


@dataclass(frozen=True)
class Page:
    """The anonymous ranking at one limit, but for the timestamp."""

    serving: Serving
    limit: int
    encoding: bytes | None
    etag: bytes
    headers: list[Header]
    prepared: Prepared
    head: bytes
    packed: OpenBody | None  # the head compressed, where this is a compressed representation

    def reply(self, now_ms: int) -> Reply:
        """With the timestamp. Its length is fixed, so the headers are ready too."""
        end = envelope.instant(now_ms) + envelope.END
        body = self.head + end if self.packed is None else self.packed.closed(end)
        return Reply(200, self.headers, body, self.prepared)


V = TypeVar("V")


class MadeOnce:
    """Makes things on a thread of its own: what several requests want at the same time, once for all of them."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "bodies")
        self._pending: dict[Hashable, asyncio.Future[Any]] = {}

    async def of(self, key: Hashable, make: Callable[[], V], keep: Callable[[V], None]) -> V:
        """Return what `make` returns, or what it is returning for others under the same key. `keep` is told once."""

        def done(made: asyncio.Future[V]) -> None:
            del self._pending[key]
            if not made.cancelled() and made.exception() is None:
                keep(made.result())

        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = asyncio.get_running_loop().run_in_executor(self._thread, make)
            pending.add_done_callback(done)
        made: V = await asyncio.shield(pending)
        return made


class SnapshotHeaders:
    """Headers of all answers of one kind, prepared once for each served snapshot."""

    def __init__(self, headers: Callable[[Serving], list[Header]]) -> None:
        self._headers = headers
        self._of: tuple[Serving, Head] | None = None

    def of(self, serving: Serving) -> Head:
        """Return the headers for the served snapshot, prepared at the first call."""
        if self._of is None or self._of[0] is not serving:
            self._of = serving, Head(self._headers(serving))
        return self._of[1]


class MostWatchedCreators(Endpoint):
    """GET /api/v1/live-stream/most-watched-creators"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        # by limit and encoding; of one snapshot: what they hold of another would never be freed
        self._pages: dict[tuple[int, bytes | None], Page] = {}
        self._made_once = MadeOnce()
        self._for_callers = SnapshotHeaders(_caller_headers)

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The ranking, isFollowing null without a token."""
        authorization: list[bytes] = []
        if_none_match: list[bytes] = []
        encodings: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization.append(value)
            elif name == b"if-none-match":
                if_none_match.append(value)
            elif name == b"accept-encoding":
                encodings.append(value)
        # safeguard: wrong-token-is-not-anonymous
        user_id = await self.api.subject(authorization, now_ms) if authorization else None
        limit = _limit(scope["query_string"], now_ms)
        serving = await self.api.serving(now_ms)
        if user_id is not None:
            head = self._for_callers.of(serving)
            return _ranking_for(user_id, serving, head, limit, if_none_match, now_ms)
        self.api.metrics.auth("anonymous")
        encoding = compression.preferred(b",".join(encodings)) if encodings else None
        page = self._kept(serving, limit, encoding)
        if page is None and encoding is not None and self._may_keep(limit, encoding):
            page = await self._made_once.of(
                (serving, limit, encoding), lambda: _anonymous_page(serving, limit, encoding), self._keep
            )
        if page is None:  # as it is: limits that few ask for are not worth compressing
            page = self._kept(serving, limit, None)
            if page is None:
                page = _anonymous_page(serving, limit, None)
                self._keep(page)
        if if_none_match and messages.matches_etag(if_none_match, page.etag):
            return _not_modified([(b"etag", page.etag), *_ranking_headers(serving, PUBLIC)])
        return page.reply(now_ms)

    def _kept(self, serving: Serving, limit: int, encoding: bytes | None) -> Page | None:
        page = self._pages.get((limit, encoding))
        if page is not None and page.serving is serving:
            return page
        if any(kept.serving is not serving for kept in self._pages.values()):
            self._pages.clear()
        return None

    def _keep(self, page: Page) -> None:
        if self._may_keep(page.limit, page.encoding) and page.serving is self.api.watcher.serving:
            self._pages[page.limit, page.encoding] = page

    def _may_keep(self, limit: int, encoding: bytes | None) -> bool:
        return limit == DEFAULT_LIMIT or sum(kept == encoding for _, kept in self._pages) < PAGES_KEPT


def _limit(query: bytes, now_ms: int) -> int:
    """The parameter `limit`: at most once, canonical digits, 1 to MAX_LIMIT. Raises Refused (400)."""
    if not query:
        return DEFAULT_LIMIT
    try:
        values = messages.query_values(query, b"limit")
    except ValueError:
        values = [""]
    if not values:
        return DEFAULT_LIMIT
    if len(values) > 1 or not _LIMIT.fullmatch(values[0]) or int(values[0]) > MAX_LIMIT:
        raise _invalid("limit", now_ms)
    return int(values[0])


def _invalid(parameter: str, now_ms: int) -> Refused:
    """400 with the documents' text; which parameter it is about stands in a header."""
    return Refused(error(400, now_ms, (b"x-invalid-parameter", parameter.encode())))


def _anonymous_page(serving: Serving, limit: int, encoding: bytes | None) -> Page:
    etag = compression.tagged(_etag(serving, f"most-watched.{limit}"), encoding)
    head = envelope.OK_HEAD + serving.ranking.anonymous_data(limit) + envelope.OK_MIDDLE
    end = envelope.INSTANT_BYTES + len(envelope.END)
    packed = None if encoding is None else compression.opened(encoding, head)
    size = len(head) + end if packed is None else packed.length(end)
    headers = [JSON, content_length(size), (b"etag", etag), *_ranking_headers(serving, PUBLIC)]
    headers += compression.encoded_header(encoding)
    return Page(serving, limit, encoding, etag, headers, Prepared(200, headers, size), b"" if packed else head, packed)


def _caller_headers(serving: Serving) -> list[Header]:
    return [JSON, *_ranking_headers(serving, PRIVATE)]  # safeguard: with-a-token-private


def _ranking_for(
    user_id: str, serving: Serving, head: Head, limit: int, if_none_match: list[bytes], now_ms: int
) -> Reply:
    followed = serving.ranking.followed(user_id, limit)
    etag = _etag(serving, f"most-watched.{limit}.{digest_of(followed)}")
    if messages.matches_etag(if_none_match, etag):
        return _not_modified([(b"etag", etag), *_ranking_headers(serving, PRIVATE)])
    body = envelope.success(serving.ranking.data_for(followed, limit), now_ms)
    return head.reply(body, (b"etag", etag))


def _ranking_headers(serving: Serving, cache_control: Header) -> list[Header]:
    headers = [
        cache_control,
        VARY_ON_TOKEN_AND_ENCODING,
        _snapshot_header(serving),
        (b"x-window", serving.window.encode()),
        (b"x-day-timezone", serving.zone.encode()),
        *SAFE_DATA,
    ]
    if serving.data_until is not None:
        headers.append((b"x-data-until", serving.data_until.encode()))
    if serving.is_complete is not None:
        headers.append((b"x-data-complete", b"true" if serving.is_complete else b"false"))
    return headers


class FundedStreams(Endpoint):
    """GET /api/v1/live-stream/funded"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._head = SnapshotHeaders(_funded_headers)

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The caller's funded, scheduled streams; nobody else's, and never stored."""
        user_id = await self.api.subject(messages.values_of(scope["headers"], b"authorization"), now_ms)
        serving = await self.api.serving(now_ms)
        body = envelope.success(serving.funded.data_for(user_id, now_ms), now_ms)
        return self._head.of(serving).reply(body)


def _funded_headers(serving: Serving) -> list[Header]:
    return [JSON, NO_STORE, VARY_ON_TOKEN, _snapshot_header(serving), *SAFE_DATA]


class ListStreams(Endpoint):
    """GET /lls/v1.0/stream; its rate limits stand before it (app.RateLimitMiddleware)."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._bodies: OrderedDict[Hashable, tuple[Part, ...]] = OrderedDict()
        self._bodies_of: Serving | None = None
        self._made_once = MadeOnce()

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The streams that match the filters."""
        filters = _filters(scope["query_string"], now_ms)
        serving = await self.api.serving(now_ms)
        encoding = compression.accepted(scope["headers"])
        if serving.streams.count(filters) < STREAMS_WORTH_COMPRESSING:
            encoding = None
        etag = compression.tagged(_etag(serving, f"streams.{digest_of(sorted(filters.items()))}"), encoding)
        headers = [(b"etag", etag), PRIVATE, compression.VARY, _snapshot_header(serving), *SAFE_DATA]
        if messages.matches_etag(messages.values_of(scope["headers"], b"if-none-match"), etag):
            return _not_modified(headers)
        parts = await self._parts(serving, filters, encoding)
        size = sum(map(len, parts))
        headers = [JSON, content_length(size), *headers, *compression.encoded_header(encoding)]
        if size <= PIECE_BYTES:
            return Reply(200, headers, b"".join(parts))
        return ReplyInPieces(200, headers, parts)

    async def _parts(self, serving: Serving, filters: Mapping[str, str], encoding: bytes | None) -> tuple[Part, ...]:
        streams = serving.streams
        if encoding is None and (not filters or streams.count(filters) <= STREAMS_AT_ONCE):
            return streams.parts(filters)
        if self._bodies_of is not serving:
            self._bodies.clear()
            self._bodies_of = serving
        key = (tuple(filters.items()), encoding)  # in the order of FILTERS
        found = self._bodies.get(key)
        if found is None:

            def make() -> tuple[Part, ...]:
                parts = streams.parts(filters)
                return parts if encoding is None else (compression.compressed(encoding, *pieces(parts)),)

            def keep(made: tuple[Part, ...]) -> None:
                if self._bodies_of is serving:
                    self._bodies[key] = made
                    while sum(len(part) for parts in self._bodies.values() for part in parts) > STREAMS_KEPT_BYTES:
                        self._bodies.popitem(last=False)

            found = await self._made_once.of((serving, *key), make, keep)  # safeguard: long-answers-made-aside
        else:
            self._bodies.move_to_end(key)
        return found


def _filters(query: bytes, now_ms: int) -> Mapping[str, str]:
    """The filters that are given, each at most once. Raises Refused (400)."""
    filters = {}
    for name in FILTERS if query else ():
        try:
            values = messages.query_values(query, name.encode())
        except ValueError:
            raise _invalid(name, now_ms) from None
        if len(values) > 1:
            raise _invalid(name, now_ms)
        if values:
            filters[name] = values[0]
    if filters.get("status", "active") not in _STATUSES:
        raise _invalid("status", now_ms)
    return filters


def _etag(serving: Serving, representation: str) -> bytes:
    """Weak: the timestamp in the body differs from answer to answer."""
    return f'W/"{serving.snapshot_id}-{representation}-{API_VERSION}"'.encode()


def _snapshot_header(serving: Serving) -> Header:
    return (b"x-snapshot-id", serving.snapshot_id.encode())


def _not_modified(headers: list[Header]) -> Reply:
    return Reply(304, headers, b"")


# --- operations ---


class Health(Endpoint):
    """GET /healthz"""

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The process answers; nothing else is asked."""
        return _plain_success({"status": "ok"}, now_ms)


class Readiness(Endpoint):
    """GET /readyz"""

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """Whether there is a snapshot, published recently enough, whose sessions reach up to its end.

        How old the sessions are by the clock is said and not judged: a past day may be published on purpose.
        """
        serving = await self.api.serving(now_ms)
        if not self.api.authenticator.is_ready:
            raise self.api.no_keys_yet(now_ms)
        age = serving.data_age_seconds(now_ms)
        ages = [_snapshot_header(serving)]
        if age is not None:
            ages += [(b"x-data-until", str(serving.data_until).encode()), (b"x-data-age-seconds", b"%d" % age)]
        if now_ms - serving.published_ms > self.api.stale_hours * 3_600_000:
            message = f"The snapshot was published more than {self.api.stale_hours} hours ago"
            raise Refused(error(503, now_ms, *ages, message=message))
        if serving.is_behind(self.api.stale_hours):  # safeguard: old-data-is-not-ready
            until = f"ends at {serving.data_until}" if serving.data_until else "holds no session"
            message = f"The data {until}, more than {self.api.stale_hours} hours before the day of the snapshot"
            raise Refused(error(503, now_ms, *ages, message=message))
        data = {
            "status": "ready",
            "snapshotId": serving.snapshot_id,
            "publishedAt": envelope.instant(serving.published_ms).decode(),
            "dataUntil": serving.data_until,
            "dataAgeSeconds": age,
        }
        return _plain_success(data, now_ms, *ages)


def _plain_success(data: Mapping[str, object], now_ms: int, *headers: Header) -> Reply:
    body = envelope.success(msgspec.json.encode(data), now_ms)
    return Reply(200, [JSON, content_length(len(body)), NO_STORE, *headers, *SAFE_DATA], body)


class MetricsPage(Endpoint):
    """GET /metrics"""

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """In Prometheus's text format."""
        body = self.api.metrics.text()
        content_type = (b"content-type", CONTENT_TYPE_LATEST.encode())
        return Reply(200, [content_type, content_length(len(body)), NO_STORE, *SAFE_DATA], body)


class Document(Endpoint):
    """A page that never changes while the process lives: /openapi.json, /docs"""

    def __init__(self, api: Api, content_type: bytes, body: bytes, headers: Sequence[Header] = SAFE_DATA) -> None:
        super().__init__(api)
        self._static = StaticBody((b"content-type", content_type), body)
        self._headers = [(b"cache-control", b"no-cache"), *headers]

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """The page, or 304."""
        return self._static.reply(scope["headers"], self._headers)


class StaticBody:
    """A body that never changes, in every encoding."""

    def __init__(self, content_type: Header, body: bytes) -> None:
        self._content_type = content_type
        self._etag = f'"{digest_of(body.decode())}"'.encode()
        self._bodies: dict[bytes | None, bytes] = {None: body}

    def reply(self, request_headers: Sequence[Header], headers: Sequence[Header]) -> Reply:
        """200 with further headers, or 304."""
        encoding = compression.accepted(request_headers)
        if len(self._bodies[None]) < compression.WORTH_IT_BYTES:
            encoding = None
        etag = compression.tagged(self._etag, encoding)
        headers = [(b"etag", etag), compression.VARY, *headers]
        if messages.matches_etag(messages.values_of(request_headers, b"if-none-match"), etag):
            return _not_modified(headers)
        if encoding is not None and encoding not in self._bodies:
            self._bodies[encoding] = compression.compressed(encoding, self._bodies[None])
        body = self._bodies[encoding]
        own = [self._content_type, content_length(len(body)), *compression.encoded_header(encoding)]
        return Reply(200, [*own, *headers], body)
