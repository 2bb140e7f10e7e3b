"""The same limits shared by several workers, in Redis: one atomic script, one round trip, Redis's own clock.

When Redis cannot be reached (or is slower than TIMEOUT_SECONDS), this process falls back to its own limits:
the API keeps answering and each client stays limited, only per worker. It is logged once, counted for every
request, and Redis is tried again after RETRY_AFTER_SECONDS.

What this process admitted, through Redis or alone, it remembers itself, and that counts beside what Redis
knows: a Redis that has forgotten (a restart without persistence, an outage, a clock set forward) lets no client
have more from one worker than the limits. While Redis knows everything it is always the stricter of the two:
our own memory takes requests for admitted when they came, and for TOLERANCE older than that, so that clocks
that run apart refuse nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pipelines.api.limits import LIMITS, SECOND, Decision, InMemoryLimiter, Limit
from pipelines.core.errors import UsageError

TIMEOUT_SECONDS = 0.25
RETRY_AFTER_SECONDS = 2
TOLERANCE = SECOND  # far over what two clocks drift apart in an hour

log = logging.getLogger("mostwatched.api")

# One sorted set per client: a member for each admitted request, scored by its microsecond. Scores are
# doubles, exact up to 2^53, which microseconds since 1970 stay under until 2255. ARGV: requests and window of
# each limit in turn. Answers {the member that was added or "", used and microseconds to reset of each limit in
# turn}; numbers as text, for Lua would round them.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local longest, is_admitted, used, member = 0, 1, {}, ''
for i = 1, #ARGV, 2 do longest = math.max(longest, tonumber(ARGV[i + 1])) end
local function text(number) return string.format('%.0f', number) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - longest))
for i = 1, #ARGV, 2 do
  -- also what lies ahead, after the clock was set back: counted for too long, never for too short
  local count = redis.call('ZCOUNT', KEYS[1], '(' .. text(now - ARGV[i + 1]), '+inf')
  used[(i + 1) / 2] = count
  if count >= tonumber(ARGV[i]) then is_admitted = 0 end
end
if is_admitted == 1 then
  local number = redis.call('ZCARD', KEYS[1])
  repeat  -- a name of its own: others may have come in this microsecond
    member = text(now) .. ':' .. text(number)
    number = number + 1
  until redis.call('ZADD', KEYS[1], 'NX', text(now), member) == 1
  redis.call('PEXPIRE', KEYS[1], math.ceil(longest / 1000))
end
local answer = {member}
for i = 1, #ARGV, 2 do
  local count = used[(i + 1) / 2] + is_admitted
  local reset = 0
  if count > 0 then
    local oldest = redis.call('ZRANGE', KEYS[1], -count, -count, 'WITHSCORES')[2]
    reset = oldest + ARGV[i + 1] - now
  end
  answer[#answer + 1] = text(count)
  answer[#answer + 1] = text(reset)
end
return answer
"""


class RedisLimiter:
    """The limits of all workers that share one Redis."""

    def __init__(
        self,
        redis_url: str,
        fallback: InMemoryLimiter,
        monotonic_us: Callable[[], int],
        limits: Sequence[Limit] = LIMITS,
        on_fallback: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises UsageError when `redis_url` is not one. Connects when first used."""
        try:
            self._redis = Redis.from_url(
                redis_url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
            )
        except ValueError:
            # not with the reason: it may quote the password
            raise UsageError(
                "MOSTWATCHED_REDIS_URL: give a URL such as redis://:password@host:6379/0, with redis, rediss or unix; "
                "of a password everything but letters and digits is percent-encoded."
            ) from None
        self._script = self._redis.register_script(SCRIPT)
        self._limits = limits
        self._args = [number for limit in limits for number in (limit.requests, limit.window)]
        self._fallback = fallback
        self._on_fallback = on_fallback
        self._now = monotonic_us
        self._away_until: int | None = None

    async def hit(self, client: str) -> Decision:
        """Admit and count a request of `client`, or refuse it."""
        if self._away_until is not None and self._now() < self._away_until:
            return await self._alone(client)
        arrived, key = self._now(), f"mostwatched:limits:{client}"
        try:
            answer = await self._script(keys=[key], args=self._args)
        except (RedisError, OSError) as error:
            if self._away_until is None:
                log.error("Redis cannot be reached: rate limits are per worker", extra={"reason": str(error)})
            self._away_until = self._now() + RETRY_AFTER_SECONDS * SECOND
            return await self._alone(client)
        if self._away_until is not None:
            log.info("Redis is back: rate limits are shared again")
            self._away_until = None
        decision = decision_of(answer, self._limits)
        if decision.is_admitted:
            own = self._fallback.hit_now(client, arrived, TOLERANCE)
            if not own.is_admitted:
                with suppress(RedisError, OSError):
                    await self._redis.zrem(key, answer[0])  # a refused request takes no slot
                return own
        return decision

    async def close(self) -> None:
        """Close the connections, also one that cannot be closed in good order."""
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _alone(self, client: str) -> Decision:
        self._on_fallback()
        return self._fallback.hit_now(client)


def decision_of(answer: Sequence[bytes], limits: Sequence[Limit]) -> Decision:
    """The script's answer as a Decision."""
    member, *texts = answer
    numbers = [int(text) for text in texts]
    used, resets = numbers[0::2], numbers[1::2]
    full = [reset for count, reset, limit in zip(used, resets, limits, strict=True) if count >= limit.requests]
    return Decision(
        is_admitted=bool(member),
        remaining=tuple(max(0, limit.requests - count) for count, limit in zip(used, limits, strict=True)),
        resets=tuple(resets),
        wait=max(full, default=0),
    )
