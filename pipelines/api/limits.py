"""Rate limits with exact moving windows: at most 100 requests in any 60 s and 1000 in any 3600 s, per client.

A request admitted at t counts in [t, t + window): every admitted request takes a slot, whatever its answer,
and a refused one takes none. So no half-open stretch of 60 s ever holds more than 100 admitted requests, and
Retry-After is exact: the smallest whole number of seconds after which a request is admitted if none comes in
between.

The `limits` library was measured and not used: its moving window is exact, but it counts one limit at a
time, so two limits take two steps that another request can come between (and two round trips to Redis each).
One sorted list of instants answers both limits at once.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

SECOND = 1_000_000  # in microseconds, in which all instants and lengths here are
MAX_CLIENTS = 100_000  # bounds memory (8 kB each at the very most); the one longest unseen is forgotten first


@dataclass(frozen=True)
class Limit:
    """At most `requests` in any `window` microseconds."""

    name: str
    requests: int
    window: int


LIMITS = (Limit("minute", 100, 60 * SECOND), Limit("hour", 1000, 3600 * SECOND))


@dataclass(frozen=True)
class Decision:
    """The decision about one request, and the state of each limit after it (in the order of the limits)."""

    is_admitted: bool
    remaining: tuple[int, ...]  # requests that would still be admitted now
    resets: tuple[int, ...]  # microseconds until the oldest counted request leaves; 0 when there is none
    wait: int  # microseconds until a request is admitted; 0 when one is admitted now

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least 1."""
        return max(1, rounded_up_seconds(self.wait))


class Limiter(Protocol):
    """Decides about requests, one at a time per client."""

    async def hit(self, client: str) -> Decision:
        """Admit and count a request of `client`, or refuse it."""
        ...


def rounded_up_seconds(microseconds: int) -> int:
    """Whole seconds, rounded up."""
    return -(-microseconds // SECOND)


def decide(admitted: array[int], now: int, limits: Sequence[Limit] = LIMITS, arrived: int | None = None) -> Decision:
    """Admit (and note `arrived`, by default `now`) or refuse, given the ascending instants of what was admitted.

    Instants older than the longest window are dropped. `now` must not be before the last of them.
    """
    del admitted[: bisect_right(admitted, now - max(limit.window for limit in limits))]
    # an instant h still counts while now - h < window
    # safeguard: instant-counts-in-its-window
    used = [len(admitted) - bisect_right(admitted, now - limit.window) for limit in limits]
    # safeguard: every-limit-counts
    is_admitted = all(count < limit.requests for count, limit in zip(used, limits, strict=True))
    if is_admitted:
        insort(admitted, now if arrived is None else arrived)
        used = [count + 1 for count in used]
    resets = [admitted[-count] + limit.window - now if count else 0 for count, limit in zip(used, limits, strict=True)]
    full = [reset for count, limit, reset in zip(used, limits, resets, strict=True) if count >= limit.requests]
    return Decision(
        is_admitted=is_admitted,
        remaining=tuple(max(0, limit.requests - count) for count, limit in zip(used, limits, strict=True)),
        resets=tuple(resets),
        wait=max(full, default=0),
    )


class InMemoryLimiter:
    """The limits of one process. With several workers and no Redis, each worker counts for itself."""

    def __init__(
        self,
        monotonic_us: Callable[[], int],
        limits: Sequence[Limit] = LIMITS,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._now = monotonic_us
        self._limits = limits
        self._longest = max(limit.window for limit in limits)
        self._max_clients = max_clients
        self._admitted: dict[str, array[int]] = {}  # in order of the last admitted request, oldest first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._admitted)

    async def hit(self, client: str) -> Decision:
        """Admit and count a request of `client`, or refuse it."""
        return self.hit_now(client)

    def hit_now(self, client: str, arrived: int | None = None, tolerance: int = 0) -> Decision:
        """The same, without waiting for anything.

        The request may have come earlier than now, and what it meets may be taken for older than it is by `tolerance`.
        """
        with self._lock:
            now = self._now()
            admitted = self._admitted.get(client) or array("q")
            decision = decide(admitted, now + tolerance, self._limits, now if arrived is None else arrived)
            if decision.is_admitted:
                # to the end of the dictionary: the idle gather at its beginning
                self._admitted.pop(client, None)
                self._admitted[client] = admitted
                self._forget_idle(now)
            return decision

    def _forget_idle(self, now: int) -> None:
        """Drop clients that no limit concerns any more: two a request, where one at most has come."""
        for _ in range(2):
            client, admitted = next(iter(self._admitted.items()))
            if admitted[-1] > now - self._longest and len(self._admitted) <= self._max_clients:
                return
            del self._admitted[client]


def headers(decision: Decision, limits: Sequence[Limit] = LIMITS) -> list[tuple[bytes, bytes]]:
    """Return the headers with a client's limits, in the fields of draft-ietf-httpapi-ratelimit-headers-10 and the older
    X-RateLimit-*.

    `t`, and X-RateLimit-Reset, is in seconds until the oldest counted request leaves the window.
    X-RateLimit-* speak of the limit with the fewest requests left.
    """
    policy = ", ".join(f'"{limit.name}";q={limit.requests};w={limit.window // SECOND}' for limit in limits)
    state = list(zip(limits, decision.remaining, decision.resets, strict=True))
    current = ", ".join(f'"{limit.name}";r={left};t={rounded_up_seconds(reset)}' for limit, left, reset in state)
    tightest, left, reset = min(state, key=lambda entry: (entry[1], -entry[2]))
    return [
        (b"ratelimit-policy", policy.encode()),
        (b"ratelimit", current.encode()),
        (b"x-ratelimit-limit", b"%d" % tightest.requests),
        (b"x-ratelimit-remaining", b"%d" % left),
        (b"x-ratelimit-reset", b"%d" % rounded_up_seconds(reset)),
    ]
