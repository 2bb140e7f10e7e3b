"""The application and its server: routes, middleware, start and stop."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from pipelines.api import contract, cors, limits
from pipelines.api.clients import Clients, networks
from pipelines.api.cors import CorsMiddleware
from pipelines.api.creators import CreatorReach, QueryApi, RangeRanking
from pipelines.api.endpoints import (
    Document,
    Endpoint,
    FundedStreams,
    Health,
    ListStreams,
    MetricsPage,
    MostWatchedCreators,
    Readiness,
)
from pipelines.api.envelope import Clock
from pipelines.api.explanations import Explainer
from pipelines.api.http_protocol import BoundedHttp
from pipelines.api.keys import KeyUrl, key_source
from pipelines.api.limits import InMemoryLimiter, Limiter
from pipelines.api.messages import SAFE, STATUS_KEY, error, with_headers
from pipelines.api.operators import CreatorExplanation
from pipelines.api.pages import accepts_html, page_not_found, page_routes
from pipelines.api.preparation import Preparer, server_folder
from pipelines.api.query_service import QueryService
from pipelines.api.snapshot_watcher import Serving, Watcher
from pipelines.api.sockets import inherited_socket, unix_socket
from pipelines.api.telemetry import UNMATCHED, Metrics, WorkerMetrics
from pipelines.api.tokens import Authenticator, Expected
from pipelines.api.workers import Supervisor, serve_alone
from pipelines.core.errors import MostwatchedError, UsageError
from pipelines.core.logs import configure_server
from pipelines.core.settings import Settings

METHODS = ("GET", "HEAD")
FOR_PROGRAMS = ("/api/", "/lls/")  # nobody reads there but they
RATE_LIMITED_PREFIX = "/lls/"  # the limits are those of the List Streams document, and of nothing else

log = logging.getLogger("mostwatched.api")


def create_app(
    settings: Settings, clock: Clock | None = None, workers_in: Path | None = None, scratch: Path | None = None
) -> Starlette:
    """Create the read API over `settings.snapshots`.

    Nothing is read or started before the server starts it, except the files that the settings name. Raises
    UsageError when a setting cannot be used. `clock` is for tests. `workers_in` is the folder by which the workers of
    one server share their metrics, `scratch` that of what they prepare of snapshots; without, each has one of its own.
    """
    clock = clock or Clock()
    metrics = Metrics(clock.now_ms, WorkerMetrics(workers_in) if workers_in else None)
    preparer = Preparer(scratch)
    queries = QueryService(preparer)

    def loaded(serving: Serving | None) -> None:
        metrics.snapshot(serving)
        queries.prepare(serving)

    watcher = Watcher(settings.snapshots, loaded, preparer)
    keys = key_source(settings.jwks, clock.monotonic_us)
    expected = Expected(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_subject_claim,
        settings.jwt_any_audience,
        settings.jwt_leeway_seconds,
    )
    clients = Clients(networks(settings.trusted_proxies))
    api = QueryApi(clock, watcher, Authenticator(keys, expected), metrics, settings.stale_hours, queries, clients)
    alone = InMemoryLimiter(clock.monotonic_us)
    shared = None
    if settings.redis_url is not None:
        from pipelines.api.redis_limits import RedisLimiter  # half a second of imports, for those who use it

        shared = RedisLimiter(settings.redis_url, alone, clock.monotonic_us, on_fallback=metrics.rate_limit_fallback)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if isinstance(keys, KeyUrl):
            keys.start()
        watcher.start()
        sharing = asyncio.create_task(metrics.share())
        yield
        sharing.cancel()
        with suppress(asyncio.CancelledError):
            await sharing
        preparer.close()
        watcher.stop()
        queries.close()
        if shared is not None:
            await shared.close()

    def layers(app: ASGIApp) -> ASGIApp:
        counted = MetricsMiddleware(RateLimitMiddleware(app, shared or alone, clients, metrics, clock), metrics, clock)
        return CorsMiddleware(counted, settings.cors_origins) if settings.cors_origins else counted

    explainer = Explainer(settings)
    openapi = contract.served_at(contract.load(), settings.public_url)
    page = Document(api, b"text/html; charset=utf-8", contract.as_html(openapi), (*SAFE, contract.PAGE_POLICY))
    endpoints: dict[str, Endpoint] = {  # the busiest first: Starlette tries them in order
        "/api/v1/live-stream/most-watched-creators": MostWatchedCreators(api),
        "/lls/v1.0/stream": ListStreams(api),
        "/api/v1/live-stream/funded": FundedStreams(api),
        "/api/v1/creators/ranking": RangeRanking(api),
        "/api/v1/creators/reach": CreatorReach(api),
        "/api/v1/creators/explanation": CreatorExplanation(api, settings.operators, explainer),
        "/healthz": Health(api),
        "/readyz": Readiness(api),
        "/metrics": MetricsPage(api),
        "/openapi.json": Document(api, b"application/json", contract.as_json(openapi)),
        "/docs": page,
        **page_routes(api, for_operators=bool(settings.operators) and explainer.can_explain),
    }
    app = ReadApi([ExactRoute(path, endpoint, clock) for path, endpoint in endpoints.items()], layers, lifespan)
    app.router.redirect_slashes = False  # a path with a slash too many is another path: 404, as for any other
    app.router.default = NotFound(clock)
    return app


class ReadApi(Starlette):
    """Starlette with the middleware that this API needs in place of Starlette's own two.

    Those turn exceptions into responses; here an endpoint raises none that is expected, `ExactRoute` and `NotFound`
    answer 405 and 404, and `MetricsMiddleware` answers for the rest. Without them a request costs a third less.
    """

    def __init__(
        self, routes: Sequence[BaseRoute], layers: Callable[[ASGIApp], ASGIApp], lifespan: Lifespan[Any]
    ) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._layers = layers

    def build_middleware_stack(self) -> ASGIApp:
        """Called by Starlette for the first request."""
        return self._layers(PathRouter(self.router))


class PathRouter:
    """Finds the route of a path in a dictionary, where Starlette tries one route after the other."""

    def __init__(self, router: Router) -> None:
        self._routes = {route.path: route for route in router.routes if isinstance(route, ExactRoute)}
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The route's answer; everything else (start and stop, web sockets, unknown paths) is the router's."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._router(scope, receive, send)
        else:
            scope["route"] = route
            await route.handle(scope, receive, send)


class ExactRoute(Route):
    """One path, for GET and HEAD.

    Starlette's own match is a regular expression ending in `$`, which also lets a path with a line feed behind pass.
    """

    def __init__(self, path: str, endpoint: ASGIApp, clock: Clock) -> None:
        super().__init__(path, endpoint, methods=METHODS)
        self._clock = clock

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Full for the path, whatever the method."""
        if scope["type"] == "http" and scope["path"] == self.path:
            return Match.FULL, {}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The endpoint's answer, that to a preflight, or 405 in the envelope."""
        if scope["method"] in METHODS:
            await self.app(scope, receive, send)
        elif cors.PREFLIGHT in scope:
            await cors.preflight()(scope, receive, send)
        else:
            await error(405, self._clock.now_ms(), (b"allow", ", ".join(METHODS).encode()))(scope, receive, send)


class NotFound:
    """Every path that is no route."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """404: a page for a browser, unless it asks for data; else the envelope."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        elif scope["path"].startswith(FOR_PROGRAMS):
            await error(404, self._clock.now_ms())(scope, receive, send)
        elif accepts_html(scope["headers"]):
            await page_not_found(scope)(scope, receive, send)
        else:
            await error(404, self._clock.now_ms(), (b"vary", b"Accept"))(scope, receive, send)


class MetricsMiddleware:
    """The outermost middleware: counts and times every request, and turns an unexpected error into a 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        except Exception as unexpected:
            # the caller learns a number to ask about, the log everything else
            request_id = secrets.token_hex(8)
            log.error("unexpected", exc_info=unexpected, extra={"request_id": request_id, "path": scope["path"]})
            if STATUS_KEY in scope:
                raise  # half an answer is out already: the server has to break the connection
            await error(500, self._clock.now_ms(), (b"x-request-id", request_id.encode()))(scope, receive, send)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("route")
            path = UNMATCHED if route is None else route.path
            self._metrics.request(path, scope.get(STATUS_KEY, 500), seconds)
            if log.isEnabledFor(logging.DEBUG):  # the access log: never the query or a header, which hold secrets
                answer = {"method": scope["method"], "path": scope["path"], "status": scope.get(STATUS_KEY)}
                log.debug("request", extra=answer | {"ms": round(seconds * 1000, 3)})


class RateLimitMiddleware:
    """Counts every request under RATE_LIMITED_PREFIX, whatever its method and answer; refuses those over."""

    def __init__(self, app: ASGIApp, limiter: Limiter, clients: Clients, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._limiter = limiter
        self._clients = clients
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        if scope["type"] != "http" or not scope["path"].startswith(RATE_LIMITED_PREFIX):
            await self._app(scope, receive, send)
            return
        decision = await self._limiter.hit(self._clients.of(scope))
        self._metrics.rate_limited(is_admitted=decision.is_admitted)
        headers = limits.headers(decision)
        if not decision.is_admitted:
            retry_after = (b"retry-after", b"%d" % decision.retry_after)
            await error(429, self._clock.now_ms(), retry_after, *headers)(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = with_headers(message, headers)
            await send(message)

        await self._app(scope, receive, send_with_limits)


def serve(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    uds: Path | None = None,
    fd: int | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM: on a host and port, on the Unix socket `uds`, or on an inherited socket `fd`.

    Raises UsageError for an unusable setting or address, and MostwatchedError for one that somebody else listens on,
    before anything is served. The workers share what is prepared of a snapshot; without Redis each has its own
    rate limits.
    """
    configure_server(settings.log_format, settings.log_level)
    if uds is None and fd is None:
        _try_address(host, port)
    create_app(settings)  # so that a wrong setting ends here, with its message, and not in every worker
    for warning in _token_warnings(settings):
        log.warning("%s", warning)
    if workers > 1 and settings.redis_url is None:
        log.warning("rate limits are per worker: set MOSTWATCHED_REDIS_URL to share them", extra={"workers": workers})
    with ExitStack() as stack:
        folder = stack.enter_context(server_folder())
        config = server_config(settings, host, port, workers, folder)
        listening = None
        if uds is not None:
            listening = stack.enter_context(unix_socket(uds))
            stack.callback(uds.unlink, missing_ok=True)
        elif fd is not None:
            listening = stack.enter_context(inherited_socket(fd))
        if listening is not None:
            log.info("listening", extra={"address": str(uds or listening.getsockname())})
        if workers == 1:
            serve_alone(config, listening)
            return
        supervisor = Supervisor(config, [listening or config.bind_socket()])
        supervisor.run()
        if supervisor.has_failed:
            raise MostwatchedError("No worker could start. What each of them said stands above.")


def _token_warnings(settings: Settings) -> Iterator[str]:
    """What the settings leave open about tokens, a sentence each; nothing without keys, when every token is 401."""
    if settings.jwks is None:
        return
    if settings.jwt_issuer is None:
        yield (
            "MOSTWATCHED_JWT_ISSUER is not set: a token of any issuer is accepted that a key of MOSTWATCHED_JWKS signed"
        )
    if settings.jwt_audience is None and not settings.jwt_any_audience:
        yield "MOSTWATCHED_JWT_AUDIENCE is not set: a token that names an audience (aud) is refused"
    elif settings.jwt_audience is None:
        yield (
            "MOSTWATCHED_JWT_ANY_AUDIENCE is on and MOSTWATCHED_JWT_AUDIENCE is not set: a token that was issued for "
            "another service is accepted here, too"
        )


def _try_address(host: str, port: int) -> None:
    """Raise UsageError where nothing can listen: uvicorn would end with the exit code of a refused publish."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # a name with an empty or a very long part is not even looked up
        why = error.strerror if isinstance(error, OSError) else "it is no name of a machine"
        raise UsageError(f"{host!r} is no address to listen on ({why}). Name one with --host.") from None
    for family, kind, _, _, address in found:
        try:
            listening = socket.socket(family, kind)
        except OSError:  # such as IPv6, which not every machine speaks: it is left out
            continue
        with listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listening.bind(address)
            except OSError as error:
                raise MostwatchedError(
                    f"{address[0]}, port {port}, cannot be listened on ({error.strerror}). "
                    "End what listens there, or choose another --host or --port."
                ) from None


def server_config(
    settings: Settings, host: str, port: int, workers: int = 1, scratch: Path | None = None
) -> uvicorn.Config:
    """Return uvicorn's configuration. Proxy headers are off: clients.py alone decides on the client's address."""
    return uvicorn.Config(
        functools.partial(_worker, settings, scratch, workers),
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=settings.client_timeout_seconds,
        timeout_graceful_shutdown=10,
    )


def _worker(settings: Settings, scratch: Path | None, workers: int) -> Starlette:
    """The application of one worker process; at module level, so that it can be sent to a new process."""
    configure_server(settings.log_format, settings.log_level)
    return create_app(settings, workers_in=scratch if workers > 1 else None, scratch=scratch)
