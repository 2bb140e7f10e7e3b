"""Cross-origin requests of browsers (the Fetch standard): which other origins' scripts may read the answers."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.api.messages import Header, Reply, values_of, with_headers

ANY = "*"
PREFLIGHT = "mostwatched.preflight"  # in the scope of an OPTIONS request that asks for a listed origin
MAX_AGE_SECONDS = 600  # for which a browser keeps the answer to its preflight
VARY = (b"vary", b"Origin")

# What a script may read besides the headers that every script may: all of ours that say something.
EXPOSED = (
    "Content-Disposition",
    "ETag",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Data-Complete",
    "X-Data-Until",
    "X-Data-Age-Seconds",
    "X-Day-Timezone",
    "X-Invalid-Parameter",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
    "X-Snapshot-Id",
    "X-Window",
)

_EXPOSE = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
_PREFLIGHT_HEADERS: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"Authorization, If-None-Match"),
    (b"access-control-max-age", b"%d" % MAX_AGE_SECONDS),
    (b"vary", b"Access-Control-Request-Headers, Access-Control-Request-Method"),
)


class CorsMiddleware:
    """Lets scripts of the listed origins read the answers. No cookie is ever needed for one, so none is allowed."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add to its answer what a browser asks for."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = values_of(scope["headers"], b"origin")
        origin = asked[0] if len(asked) == 1 else None
        headers: list[Header] = [] if self._any else [VARY]
        if origin is not None and (self._any or origin in self._origins):  # safeguard: listed-origins-alone
            headers += [(b"access-control-allow-origin", b"*" if self._any else origin), _EXPOSE]
            if scope["method"] == "OPTIONS" and values_of(scope["headers"], b"access-control-request-method"):
                scope[PREFLIGHT] = True

        async def send_with_headers(message: Message) -> None:
            await send(with_headers(message, headers) if message["type"] == "http.response.start" else message)

        await self._app(scope, receive, send_with_headers)


def preflight() -> Reply:
    """The answer to a preflight; which origin may read what follows, the middleware adds."""
    return Reply(204, _PREFLIGHT_HEADERS, b"")
