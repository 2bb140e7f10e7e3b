"""The rate limits against a judge that shares no code with them: by schedules drawn to hurt, and over HTTP.

Time is the attack's: the limiter, the workers and the embedded store read a clock that stands still until it is moved,
so that the very microsecond at which a request leaves a window can be tried. What cannot have such a clock (a real
Redis, `serve` with its own workers) is tried in real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random

from published import EXAMPLE, publish

from faults import addresses, workers
from faults.campaign import Effort, Figure
from faults.judge import REAL, SECOND, SMALL, Judge, Rules, schedule, too_many
from faults.server import SharedClock
from faults.store import embedded_store
from pipelines.api.limits import LIMITS, Decision, InMemoryLimiter, Limit
from pipelines.api.redis_limits import RedisLimiter

START = 1_780_000_000 * SECOND
Hit = Callable[[str, int], Awaitable[Decision]]


def attack(effort: Effort) -> Iterator[Figure]:
    """Alone, shared, over HTTP."""
    home = effort.scratch / "home"
    (home / "snapshots").mkdir(parents=True)
    publish(home, EXAMPLE)
    clock = SharedClock(effort.scratch / "clock", START)
    yield from _in_memory(effort)
    yield addresses.chains(effort)
    with embedded_store(effort.scratch, clock) as (url, _):
        yield from asyncio.run(_shared(effort, clock, url))
        yield asyncio.run(_set_back(effort, clock, url))
        yield asyncio.run(_forgotten(effort, clock, url))
    yield from workers.over_http(effort, home, clock)
    yield workers.on_sockets(effort, home)
    yield from workers.really_served(effort, home)


def limits_of(rules: Rules) -> tuple[Limit, ...]:
    limits = tuple(Limit(name, most, seconds * SECOND) for name, (most, seconds) in zip("ab", rules, strict=True))
    assert rules is not REAL or [(one.requests, one.window) for one in limits] == [
        (one.requests, one.window) for one in LIMITS
    ]
    return limits


async def _play(figure: Figure, draw: Random, rules: Rules, length: int, hit: Hit, why: str) -> None:
    """One schedule of one or more clients; every answer is compared with the judge's."""
    judge = Judge(rules)
    clients = [f"client-{draw.randrange(10**12)}" for _ in range(draw.choice((1, 1, 2, 3)))]
    now, told = START, 0
    for step, pause in enumerate(schedule(draw, rules, length)):
        now += pause if pause >= 0 else told if pause == -1 else max(0, told - 1)
        client = draw.choice(clients)
        verdict, decision = judge.hit(client, now), await hit(client, now)
        told = draw.choice((verdict.wait, verdict.retry_after * SECOND))
        seen = (decision.is_admitted, decision.remaining, decision.wait, decision.retry_after)
        expected = (verdict.is_admitted, verdict.remaining, verdict.wait, verdict.retry_after)
        figure.check(seen == expected, f"{why}, request {step}: {seen} instead of {expected}")
    for problem in judge.overfull():
        figure.check(False, f"the judge itself: {problem}")


def _in_memory(effort: Effort) -> Iterator[Figure]:
    for name, rules, count, length in (
        ("3 in 10 s, 5 in 60 s", SMALL, effort.times(1500, 60_000), 60),
        ("100 in 60 s, 1,000 in 3,600 s", REAL, effort.times(8, 400), 1500),
    ):
        figure = Figure(f"decisions that are not the judge's, {name}", note=f"{count:,} schedules")
        for number in range(count):
            at = [START]
            limiter = InMemoryLimiter(lambda at=at: at[0], limits_of(rules))  # type: ignore[misc]

            async def hit(client: str, now: int, at: list[int] = at, limiter: InMemoryLimiter = limiter) -> Decision:
                at[0] = now
                return await limiter.hit(client)

            part = f"{name} {number}"
            asyncio.run(_play(figure, effort.random(part), rules, length, hit, f"seed {effort.seed}, {part}"))
        yield figure


async def _shared(effort: Effort, clock: SharedClock, url: str) -> list[Figure]:
    """The same by the script in the store, from three workers in turn."""
    figures = []
    for name, rules, count, length in (
        ("3 in 10 s, 5 in 60 s", SMALL, effort.times(25, 1000), 50),
        ("100 in 60 s, 1,000 in 3,600 s", REAL, effort.times(1, 20), effort.times(500, 1500)),
    ):
        figure = Figure(
            f"decisions of workers with a store that are not the judge's, {name}", note=f"{count:,} schedules"
        )
        fallbacks = [0]
        for number in range(count):
            draw = effort.random(f"shared {name} {number}")
            trio = _workers(url, rules, lambda: clock.us, fallbacks)

            async def hit(client: str, now: int, trio: list[RedisLimiter] = trio, draw: Random = draw) -> Decision:
                clock.us = now
                return await draw.choice(trio).hit(client)

            await _play(figure, draw, rules, length, hit, f"seed {effort.seed}, shared {name} {number}")
            for one in trio:
                await one.close()
        figure.check(fallbacks == [0], f"{fallbacks[0]} requests did without the store, which was too slow for them")
        figures.append(figure)
    return figures


async def _set_back(effort: Effort, clock: SharedClock, url: str) -> Figure:
    """The store's clock is set back, again and again: nobody gets more, nobody waits longer than it was set back."""
    figure = Figure("requests over the limit, or refused for too long, while the store's clock is set back")
    for number in range(effort.times(12, 400)):
        draw = effort.random(f"set back {number}")
        at, behind, admitted = [START], 0, list[int]()
        trio = _workers(url, SMALL, lambda at=at: at[0], [0])  # type: ignore[misc]
        client = f"set-back-{number}"
        for _ in range(40):
            at[0] += draw.choice((0, 1, SECOND, 5 * SECOND, 10 * SECOND - 1, 10 * SECOND, 30 * SECOND))
            if draw.random() < 0.2:
                behind += draw.choice((1, 1000, SECOND, 20 * SECOND))
            clock.us = at[0] - behind
            decision = await draw.choice(trio).hit(client)
            why = f"seed {effort.seed}, set back {number}"
            if decision.is_admitted:
                admitted.append(at[0])
                figure.check(not list(too_many(admitted, SMALL)), f"{why}: over the limit")
            else:
                may = any(sum(at[0] - one < s * SECOND + behind for one in admitted) >= most for most, s in SMALL)
                figure.check(may, f"{why}: refused for no reason")
        for one in trio:
            await one.close()
    return figure


async def _forgotten(effort: Effort, clock: SharedClock, url: str) -> Figure:
    """The store loses everything at random moments: from one worker nobody gets more than the limits in 1 s less."""
    figure = Figure("requests over one worker's limits while the store forgets everything")
    from redis.asyncio import Redis

    store = Redis.from_url(url)
    lenient: Rules = tuple((most, seconds - 1) for most, seconds in SMALL)
    for number in range(effort.times(12, 400)):
        draw = effort.random(f"forgotten {number}")
        [alone, *_] = trio = _workers(url, SMALL, lambda: clock.us, [0])
        clock.us, admitted = START, list[int]()
        for _ in range(40):
            clock.us += draw.choice((0, 1, SECOND, 3 * SECOND, 10 * SECOND))
            if draw.random() < 0.2:
                await store.flushdb()
            decision = await alone.hit(f"forgotten-{number}")
            if decision.is_admitted:
                admitted.append(clock.us)
                figure.check(not list(too_many(admitted, lenient)), f"seed {effort.seed}, forgotten {number}")
            else:
                full = any(sum(clock.us - at < s * SECOND for at in admitted) >= most for most, s in SMALL)
                figure.check(full, f"seed {effort.seed}, forgotten {number}: refused for no reason")
        for one in trio:
            await one.close()
    await store.aclose()
    return figure


def _workers(url: str, rules: Rules, monotonic_us: Callable[[], int], fallbacks: list[int]) -> list[RedisLimiter]:
    """Three, as three processes would have them."""
    limits = limits_of(rules)

    def fell_back() -> None:
        fallbacks[0] += 1

    return [RedisLimiter(url, InMemoryLimiter(monotonic_us, limits), monotonic_us, limits, fell_back) for _ in range(3)]
