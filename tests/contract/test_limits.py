"""The rate limits: exact, per client, and against an oracle that shares no code."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis.exceptions
from calling import Client, StoppedClock, running
from faults.server import SharedClock
from faults.store import embedded_store, shared_store
from hypothesis import given, settings
from hypothesis import strategies as st
from published import EXAMPLE, publish
from redis.asyncio import Redis

from pipelines.api.app import create_app
from pipelines.api.envelope import Clock
from pipelines.api.limits import SECOND, InMemoryLimiter, Limit
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

PATH = "/lls/v1.0/stream"


def test_the_hundred_and_first_request_in_a_minute_is_429(client: Client, clock: StoppedClock) -> None:
    assert client.burst(100, PATH) == [200] * 100
    clock.advance(12.25)
    response = client.get(PATH)
    assert response.status_code == 429
    assert response.json()["errors"] == ["Too many requests"]
    assert list(response.json()) == ["isSuccess", "statusCode", "data", "errors", "timestamp"]
    assert response.headers["Retry-After"] == "48"  # 47.75 s, rounded up
    assert response.headers["RateLimit"] == '"minute";r=0;t=48, "hour";r=900;t=3588'
    assert response.headers["RateLimit-Policy"] == '"minute";q=100;w=60, "hour";q=1000;w=3600'
    assert response.headers["X-RateLimit-Remaining"] == "0"


def test_retry_after_is_exact(client: Client, clock: StoppedClock) -> None:
    """A second earlier is refused, then admitted; asking too early costs nothing."""
    for _ in range(100):
        client.get(PATH)
        clock.advance(0.1)
    wait = int(client.get(PATH).headers["Retry-After"])
    assert wait == 50
    clock.advance(wait - 1)
    assert client.burst(3, PATH) == [429] * 3
    clock.advance(1)
    assert client.get(PATH).status_code == 200
    assert client.get(PATH).status_code == 429


def test_a_thousand_in_an_hour(client: Client, clock: StoppedClock) -> None:
    for _ in range(10):
        assert set(client.burst(100, PATH)) == {200}
        clock.advance(60)
    response = client.get(PATH)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3000")
    assert response.headers["RateLimit"] == '"minute";r=100;t=0, "hour";r=0;t=3000'
    clock.advance(3000)
    assert client.get(PATH).status_code == 200


def test_every_admitted_request_counts_whatever_its_answer(client: Client) -> None:
    """400, 404, 405 and 304 too; but no other path has a limit."""
    etag = client.get(PATH).headers["ETag"]
    assert client.get(f"{PATH}?status=x").status_code == 400
    assert client.get("/lls/v1.0/other").status_code == 404
    assert client.request("POST", PATH).status_code == 405
    assert client.request("HEAD", PATH).status_code == 200
    response = client.get(PATH, headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert response.headers["RateLimit"].startswith('"minute";r=94;')
    other = client.get("/api/v1/live-stream/most-watched-creators")
    assert not [name for name in other.headers if "ratelimit" in name]
    assert set(client.burst(150, "/healthz")) == {200}


def test_clients_do_not_disturb_each_other(client: Client) -> None:
    assert set(client.burst(100, PATH, peer="192.0.2.1")) == {200}
    assert client.get(PATH, peer="192.0.2.1").status_code == 429
    assert client.get(PATH, peer="192.0.2.2").status_code == 200
    assert client.get(PATH, peer="2001:db8::1").status_code == 200
    assert client.get(PATH, peer="::ffff:192.0.2.1").status_code == 429, "the same client on a dual-stack socket"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "counted_as"),
    [
        ((), "192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        (("10.0.0.0/8",), "192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        (("10.0.0.0/8",), "10.0.0.1", [], "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", ["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        (("10.0.0.0/8",), "10.0.0.1", ["198.51.100.7, 203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        (("10.0.0.0/8",), "10.0.0.1", ["198.51.100.7", "203.0.113.9", "10.9.9.9"], "203.0.113.9"),
        (("10.0.0.1",), "10.0.0.1", ["203.0.113.9, 10.0.0.2"], "10.0.0.2"),
        (("10.0.0.0/8",), "10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
        (("10.0.0.0/8",), "10.0.0.1", ["nonsense"], "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", [""], "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        (("10.0.0.0/8", "::1"), "::1", ["[2001:DB8::9]:443"], "2001:db8::9"),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(
    home: Path,
    client_for: Callable[..., Client],
    trusted: tuple[str, ...],
    peer: str,
    forwarded: list[str],
    counted_as: str,
) -> None:
    publish(home, EXAMPLE)
    client = client_for(trusted_proxies=trusted)
    headers = [("X-Forwarded-For", value) for value in forwarded]
    assert client.get(PATH, peer=counted_as if not trusted else peer, headers=headers).status_code == 200
    left = client.get(PATH, peer=peer, headers=headers).headers["X-RateLimit-Remaining"]
    assert left == "98"
    # the bucket that was used is that of `counted_as`, coming straight from there or through the nearest proxy
    if not trusted or counted_as == peer:
        assert client.get(PATH, peer=counted_as).headers["X-RateLimit-Remaining"] == "97"
    else:
        again = client.get(PATH, peer=peer, headers=[("X-Forwarded-For", counted_as)])
        assert again.headers["X-RateLimit-Remaining"] == "97"


def test_a_bad_proxy_is_told_at_once(home: Path) -> None:
    with pytest.raises(UsageError, match="MOSTWATCHED_TRUSTED_PROXIES"):
        create_app(Settings(home=home, trusted_proxies=("proxy.example",)))


# --- against the oracle ---

THOROUGH = settings(max_examples=max(200, settings.default.max_examples), deadline=None)  # each takes a millisecond

SMALL = (Limit("short", 3, 10 * SECOND), Limit("long", 5, 60 * SECOND))


def _oracle(instants: list[int]) -> list[bool]:
    """By the words alone: admitted unless a window ending now already holds its fill of admitted requests."""
    admitted: list[int] = []
    answers = []
    for now in instants:
        is_admitted = all(
            sum(1 for earlier in admitted if now - earlier < limit.window) < limit.requests for limit in SMALL
        )
        answers.append(is_admitted)
        if is_admitted:
            admitted.append(now)
    return answers


steps = st.one_of(
    st.integers(0, 3), st.integers(0, 30 * SECOND), st.sampled_from([s * SECOND for s in (1, 5, 10, 50, 60)])
)


@THOROUGH
@given(st.lists(steps, max_size=80))
def test_exactly_what_brute_force_admits(gaps: list[int]) -> None:
    now = 0
    limiter = InMemoryLimiter(lambda: now, SMALL)
    instants, answers = [], []
    for gap in gaps:
        now += gap
        instants.append(now)
        answers.append(limiter.hit_now("a").is_admitted)
    assert answers == _oracle(instants)


@THOROUGH
@given(st.lists(steps, min_size=5, max_size=60))
def test_retry_after_is_the_smallest_that_works(gaps: list[int]) -> None:
    now = 0
    limiter = InMemoryLimiter(lambda: now, SMALL)
    instants: list[int] = []
    for gap in gaps:
        now += gap
        decision = limiter.hit_now("a")
        if not decision.is_admitted:
            waits = [wait for wait in range(1, 61) if _oracle([*instants, now + wait * SECOND])[-1]]
            assert decision.retry_after == waits[0]
            assert math.ceil(decision.wait / SECOND) == waits[0]
        instants.append(now)


@THOROUGH
@given(st.lists(st.tuples(st.integers(0, 20 * SECOND), st.sampled_from("abcdef")), max_size=80))
def test_forgetting_the_idle_forgets_nothing_that_counts(hits: list[tuple[int, str]]) -> None:
    now = 0
    limiter = InMemoryLimiter(lambda: now, SMALL)
    of_client: dict[str, list[int]] = {}
    answers: dict[str, list[bool]] = {}
    for gap, client in hits:
        now += gap
        of_client.setdefault(client, []).append(now)
        answers.setdefault(client, []).append(limiter.hit_now(client).is_admitted)
    assert answers == {client: _oracle(instants) for client, instants in of_client.items()}


def test_memory_is_bounded() -> None:
    now = 0
    limiter = InMemoryLimiter(lambda: now, SMALL, max_clients=50)
    for at in range(1000):
        limiter.hit_now(f"client {at}")
    assert len(limiter) == 50
    now += 60 * SECOND
    for _ in range(3):
        for at in range(20):
            limiter.hit_now(f"newcomer {at}")
    assert len(limiter) == 20


# --- over the wire ---


def test_over_http_exactly_a_hundred_are_admitted(home: Path) -> None:
    """Eight connections at once, a real clock, and forged headers."""
    publish(home, EXAMPLE)
    with running(Settings(home=home)) as address:
        started = time.monotonic()

        def hits(number: int) -> list[httpx.Response]:
            with httpx.Client(base_url=address, headers={"X-Forwarded-For": f"203.0.113.{number}"}) as client:
                return [client.get(PATH) for _ in range(20)]

        with ThreadPoolExecutor(8) as pool:
            responses = [response for batch in pool.map(hits, range(8)) for response in batch]
        took = time.monotonic() - started
    assert sorted(response.status_code for response in responses) == [200] * 100 + [429] * 60
    refused = [response for response in responses if response.status_code == 429]
    assert all(60 - took <= int(response.headers["Retry-After"]) <= 60 for response in refused)


# --- Redis ---


def test_without_redis_the_worker_limits_alone(home: Path, client_for: Callable[..., Client]) -> None:
    """An unreachable Redis costs exactness over workers, never an answer."""
    publish(home, EXAMPLE)
    client = client_for(redis_url="redis://127.0.0.1:1/0")
    assert client.burst(101, PATH) == [200] * 100 + [429]
    assert 'mostwatched_rate_limit_fallbacks_total{reason="redis_away"} 101.0' in client.get("/metrics").text


def test_a_redis_that_does_not_let_go_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends is not kept from it by a connection that does not."""

    async def hangs(_: Redis) -> None:
        raise redis.exceptions.TimeoutError("Timed out closing connection after 0.25")

    monkeypatch.setattr(Redis, "aclose", hangs)
    from pipelines.api.redis_limits import RedisLimiter

    asyncio.run(RedisLimiter("redis://127.0.0.1:9", InMemoryLimiter(lambda: 0), lambda: 0).close())


def test_a_bad_redis_url_is_told_at_once(home: Path) -> None:
    with pytest.raises(UsageError, match="MOSTWATCHED_REDIS_URL"):
        create_app(Settings(home=home, redis_url="nonsense"))


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis where there is one, an embedded store otherwise."""
    with shared_store(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that is waited for: on a busy machine it may take longer than workers give it."""
    monkeypatch.setattr("pipelines.api.redis_limits.TIMEOUT_SECONDS", 10)
    return redis_store


def test_two_workers_share_their_limits(home: Path, redis_url: str) -> None:
    publish(home, EXAMPLE)
    settings = Settings(home=home, redis_url=redis_url)
    with running(settings) as first, running(settings) as second:

        def hits(address: str) -> list[int]:
            with httpx.Client(base_url=address) as client:
                return [client.get(PATH).status_code for _ in range(40)]

        with ThreadPoolExecutor(4) as pool:
            statuses = [status for batch in pool.map(hits, [first, second, first, second]) for status in batch]
    assert sorted(statuses) == [200] * 100 + [429] * 60


def test_redis_decides_as_memory_does(redis_url: str) -> None:
    """The same windows, in real time: short ones, so that they pass while the test runs."""
    from pipelines.api.redis_limits import RedisLimiter

    limits = (Limit("short", 3, SECOND // 5), Limit("long", 5, SECOND))
    monotonic_us = Clock().monotonic_us

    async def play() -> list[tuple[bool, tuple[int, ...]]]:
        shared = RedisLimiter(redis_url, InMemoryLimiter(monotonic_us, limits), monotonic_us, limits)
        try:
            seen = []
            for pause in (0, 0, 0, 0, 0.25, 0, 0, 0.9, 0):
                await asyncio.sleep(pause)
                decision = await shared.hit("a client")
                assert decision.is_admitted == (min(decision.remaining) > 0) or decision.wait > 0
                seen.append((decision.is_admitted, decision.remaining))
            return seen
        finally:
            await shared.close()

    assert asyncio.run(play()) == [
        (True, (2, 4)),
        (True, (1, 3)),
        (True, (0, 2)),
        (False, (0, 2)),
        (True, (2, 1)),
        (True, (1, 0)),
        (False, (1, 0)),
        (True, (2, 2)),
        (True, (1, 1)),
    ]


def test_a_redis_that_forgets_gives_nobody_more_from_one_worker(redis_url: str) -> None:
    """What a worker has admitted it remembers itself; a refused request takes no slot of the others."""
    from redis import Redis

    from pipelines.api.redis_limits import RedisLimiter

    limits = (Limit("short", 3, 60 * SECOND), Limit("long", 5, 3600 * SECOND))
    now = 0

    async def play() -> list[tuple[bool, int]]:
        nonlocal now
        one, other = (
            RedisLimiter(redis_url, InMemoryLimiter(lambda: now, limits), lambda: now, limits) for _ in range(2)
        )
        seen = []
        try:
            seen += [(await one.hit("forgotten")).is_admitted for _ in range(3)]
            Redis.from_url(redis_url).delete("mostwatched:limits:forgotten")
            now += 20 * SECOND
            refused = await one.hit("forgotten")
            assert (refused.is_admitted, refused.retry_after) == (False, 39)  # of 40, less what clocks may run apart
            seen += [(await other.hit("forgotten")).is_admitted for _ in range(4)]
            now += 40 * SECOND
            assert not (await one.hit("forgotten")).is_admitted, "of the others' three"
            return seen
        finally:
            await one.close()
            await other.close()

    assert asyncio.run(play()) == [True, True, True, True, True, True, False]


def test_a_redis_whose_clock_is_set_back_counts_longer_and_never_shorter(tmp_path: Path) -> None:
    """What came before the clock was set back counts longer, by so much; what comes after it, as ever."""
    from pipelines.api.redis_limits import RedisLimiter

    limits = (Limit("short", 3, 10 * SECOND), Limit("long", 50, 60 * SECOND))
    start = 1_780_000_000
    ours = start
    theirs = SharedClock(tmp_path / "clock", start * SECOND)

    async def play(url: str) -> list[int]:
        nonlocal ours
        shared = RedisLimiter(url, InMemoryLimiter(lambda: ours * SECOND, limits), lambda: ours * SECOND, limits)
        admitted = []
        try:
            for at in (0, 1, 2, 3, 11, 12, 12, 39, 40):
                ours = start + at
                theirs.us = (ours - (30 if at > 0 else 0)) * SECOND
                if (await shared.hit("a")).is_admitted:
                    admitted.append(at)
            return admitted
        finally:
            await shared.close()

    with embedded_store(tmp_path, theirs) as (url, _):
        assert asyncio.run(play(url)) == [0, 1, 2, 11, 12, 39, 40]
