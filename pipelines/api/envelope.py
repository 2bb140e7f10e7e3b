"""The envelope around every body, the instants inside it, and the clock they come from.

`{"isSuccess", "statusCode", "data", "errors", "timestamp"}` is what the platform's documents show; the key
order is part of the contract. Everything is bytes: the parts that do not change are prepared once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import msgspec

OK_HEAD = b'{"isSuccess":true,"statusCode":200,"data":'
OK_MIDDLE = b',"errors":[],"timestamp":"'
END = b'"}'
INSTANT_BYTES = len(
    b"2026-05-22T16:11:27.028Z"
)  # fixed, so a Content-Length can be prepared before the instant is known

MESSAGES = {
    400: "Validation failed",
    401: "Authentication required",
    403: "Insufficient permissions",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    410: "Gone",
    429: "Too many requests",
    500: "Internal server error",
    503: "No snapshot has been published yet",
}


@dataclass(frozen=True)
class Clock:
    """Where the API takes the time from; tests pass their own."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000  # milliseconds since 1970, UTC
    monotonic_us: Callable[[], int] = lambda: time.monotonic_ns() // 1_000  # microseconds that never go back


@lru_cache(maxsize=4)  # requests come in order of time: nearly always the same second as the one before
def _second(seconds: int) -> bytes:
    return b"%04d-%02d-%02dT%02d:%02d:%02d" % time.gmtime(seconds)[:6]


def instant(now_ms: int) -> bytes:
    """`2026-05-22T16:11:27.028Z` of an instant in milliseconds since 1970; always three digits of them."""
    return b"%b.%03dZ" % (_second(now_ms // 1000), now_ms % 1000)


def success(data: bytes, now_ms: int) -> bytes:
    """The envelope around `data`, which is JSON already."""
    return b"".join((OK_HEAD, data, OK_MIDDLE, instant(now_ms), END))


def failure(status: int, now_ms: int, message: str | None = None) -> bytes:
    """The envelope of an error; without a `message`, the one the documents give for that status."""
    errors = msgspec.json.encode([message or MESSAGES[status]])
    head = b'{"isSuccess":false,"statusCode":%d,"data":null,"errors":' % status
    return b"".join((head, errors, b',"timestamp":"', instant(now_ms), END))
