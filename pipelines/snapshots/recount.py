"""Count again, the plain way: from raw, by rules that are written a second time.

Nothing here is shared with what publishes: neither its SQL nor its Python for days, versions and policy. No cube, no
file of the lake: `count(distinct …)` over the sessions of raw, range by range. It is slower on purpose. The rules are
those of the design: what a session is, which version of it counts, on which days it lies, what was collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines.core import durable_files
from pipelines.core.settings import Policy, Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.landing.schema import RAW_SCHEMAS
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_SESSIONS = "viewing_sessions"
_LOWEST = -(2**63)


@dataclass(frozen=True)
class Scope:
    """The UTC days of raw that some policy days rest on."""

    counted: tuple[date, date]  # the first and the last on which a session can start that occupies one of them
    compared: tuple[date, date]  # the same, and those on which other versions of such a session can start


def scope(first: date, end: date, policy: Policy) -> Scope:
    """What the policy days [first, end) rest on."""
    parts = intervals(first, end, policy.day_timezone)
    if not parts:  # a day that the zone left out
        return around((first, first), policy.revision_days)
    longest = policy.max_session_hours * 3_600_000
    return around((_utc_day(parts[0][0] - longest), _utc_day(parts[-1][1] - 1)), policy.revision_days)


def around(counted: tuple[date, date], reach: int) -> Scope:
    """Some days, and so many before and after them."""
    return Scope(counted, (_moved(counted[0], -reach), _moved(counted[1], reach)))


def _utc_day(instant: int) -> date:
    return _moved(_EPOCH.date(), instant // 86_400_000)


def _moved(day: date, days: int) -> date:
    """The day so many days later, as far as the calendar goes."""
    return date.fromordinal(min(max(day.toordinal() + days, date.min.toordinal()), date.max.toordinal()))


@lru_cache(64)  # a night asks for the same few, a backfill for them again and again
def intervals(first: date, end: date, timezone: str) -> Sequence[tuple[int, int]]:
    """The instants at which a clock on a wall in that zone shows a day of [first, end), in milliseconds since 1970.

    Half-open and in order: mostly one interval. Two where a clock that was put back showed another day in between,
    none for a day that the zone left out.
    """
    zone = ZoneInfo(timezone)
    at = datetime.combine(_moved(first, -2), time(), UTC)
    until = datetime.combine(_moved(end, 2), time(), UTC)
    found: list[tuple[int, int]] = []
    while at < until:
        offset = _offset(at, zone)
        local_day = (at + offset).date()
        if local_day == date.max:
            break
        # The next instant at which the wall may show another day: midnight, or where the clock is changed before it.
        midnight = datetime.combine(local_day + _DAY, time(), UTC) - offset
        change = _first_change(at, midnight, zone)
        if first <= local_day < end:
            begins, ends = _milliseconds(at), _milliseconds(change)
            if found and found[-1][1] == begins:
                found[-1] = (found[-1][0], ends)
            else:
                found.append((begins, ends))
        at = change
    return found


def _first_change(at: datetime, until: datetime, zone: ZoneInfo) -> datetime:
    """The first instant in (at, until] from which the zone has another offset than at `at`; else `until`."""
    offset, low = _offset(at, zone), at
    while low < until:
        high = min(low + timedelta(hours=1), until)
        if _offset(high, zone) != offset:
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                low, high = (middle, high) if _offset(middle, zone) == offset else (low, middle)
            return high
        low = high
    return until


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


class Recount:
    """Raw, asked the plain way: what is counted becomes tables of `connection`."""

    def __init__(self, connection: engine.Connection, raw: Sequence[RawFile], policy: Policy, as_of: date) -> None:
        self.connection = connection
        self._policy = policy
        self._chosen: Sequence[str] | None = None
        self._days: dict[date, list[Path]] = {}
        folders = folders_of(raw)
        for each in folders:
            for name in each.files if each.entity == _SESSIONS else ():
                self._days.setdefault(date.fromisoformat(name), []).append(each.path(name))
        self._others: dict[str, list[Path]] = {
            entity: [each.path(name) for each in folders if each.entity == entity for name in each.files]
            for entity in ("creators", "live_streams", "pledges", "erasures")
        }
        self._register("erasures", self._others["erasures"])
        self._register("creators", self._others["creators"])
        now = intervals(as_of - _DAY, as_of, policy.day_timezone) or intervals(as_of - 2 * _DAY, as_of, "UTC")
        self._now = max(ends for _, ends in now)
        self._create("unlisted", _UNLISTED, {"now": self._now})

    def resolve(self, within: Scope) -> None:
        """Find the records that do not count because a newer version is near enough; those of erased users go first."""
        self._register(_SESSIONS, self._files(within.compared))
        self._create("outdated", _OUTDATED, {"revision_days": self._policy.revision_days})

    def resolve_only(self, creators: Sequence[str], within: Sequence[Scope]) -> None:
        """The same for the sessions of a few creators: other sessions are looked at no closer than is needed for that.

        What is counted afterwards is of these creators alone.
        """
        self._chosen = creators
        self.connection.execute(f"drop table if exists landed_{_SESSIONS}")
        self._register(_SESSIONS, self._files(*(each.counted for each in within)))
        self._create("wanted", _WANTED, {"creators": list(creators)})
        self._register(_SESSIONS, self._files(*(each.compared for each in within)))
        self._create("found", _FOUND)
        self.connection.execute(f"drop view landed_{_SESSIONS}")
        self.connection.execute(f"alter table found rename to landed_{_SESSIONS}")
        self._create("outdated", _OUTDATED, {"revision_days": self._policy.revision_days})

    def count(self, table: str, first: date, end: date) -> None:
        """Make a table of what every creator reached on the policy days [first, end), banned and deleted ones too.

        `resolve` a scope with these days in it first.
        """
        parts = intervals(first, end, self._policy.day_timezone)
        before = [_LOWEST, *(ends for _, ends in parts)]
        rows = [{"starts_at": at, "ends_at": to, "after": gone} for (at, to), gone in zip(parts, before, strict=False)]
        kinds = pa.schema([(name, pa.int64()) for name in ("starts_at", "ends_at", "after")])
        engine.register(self.connection, "intervals", pa.Table.from_pylist(rows, schema=kinds))
        if self._chosen is None:
            self._register(_SESSIONS, self._files(scope(first, end, self._policy).counted))
        params = {
            "creators": self._chosen and list(self._chosen),
            "leave_out_own_views": self._policy.leave_out_own_views,
            "min_watched": self._policy.min_watched_seconds * 1000,
            "longest": self._policy.max_session_hours * 3_600_000,
        }
        self._create(table, _RANGE, params)

    def rank(self, table: str, now: str, before: str) -> None:
        """Make a table of published rankings: those `count`ed in a window, beside the same window a day earlier."""
        self._create(table, _RANKED.format(now=now, before=before))

    def funding(self, table: str) -> None:
        """Make a table of the rows of live_stream_funding."""
        for entity in ("live_streams", "pledges"):
            self._register(entity, self._others[entity])
        self._create(table, _FUNDING, {"now": self._now})

    def _create(self, table: str, rows: str, params: Mapping[str, object] | None = None) -> None:
        self.connection.execute(f"create or replace temp table {table} as {rows}", params or {})

    def _files(self, *ranges: tuple[date, date]) -> list[Path]:
        days = [day for day in self._days if any(first <= day <= last for first, last in ranges)]
        return [path for day in days for path in self._days[day]]

    def _register(self, entity: str, paths: Sequence[Path]) -> None:
        name = f"landed_{entity}"
        if paths:
            engine.register(self.connection, name, [durable_files.fetched(path) for path in paths], with_place=True)
        else:
            place = [pa.field("filename", pa.string()), pa.field("file_row_number", pa.int64())]
            engine.register(self.connection, name, pa.schema([*RAW_SCHEMAS[entity], *place]).empty_table())


@contextmanager
def opened(settings: Settings, raw: Sequence[RawFile], policy: Policy, as_of: date) -> Iterator[Recount]:
    """A recount over some raw files."""
    with engine.session(settings, "recount") as connection:
        yield Recount(connection, raw, policy, as_of)


# --- the rules -------------------------------------------------------------------------------------------------------

_NOT_ERASED = "coalesce({} not in (select user_id from landed_erasures), true)"

# The keys of sessions that any record gives to some creators, and every record of those keys.
_WANTED = """
    select distinct session_id from landed_viewing_sessions where creator_id in (select unnest($creators))
"""
_FOUND = """
    select * exclude (line) from landed_viewing_sessions where session_id in (select session_id from wanted)
"""

# Versions by age, 1 the newest: the revision, then the content in contract order, nulls lowest. A record counts unless
# a newer one starts within reach; records that say the same are told apart by where they stand, so that one is left.
_OUTDATED = f"""
    -- keys of which there is more than one record, as a hash: it only says where to look
    with repeated as (
        select hash(source, session_id) as key
        from landed_viewing_sessions
        where {_NOT_ERASED.format("viewer_id")}
        group by 1
        having count(*) > 1
    ),
    versions as (
        select
            filename, file_row_number, source, session_id,
            epoch_ms(started_at) // 86400000 as day,
            row_number() over (
                partition by source, session_id
                order by
                    revision desc, deleted desc, ended_at desc nulls last, creator_id desc, started_at desc,
                    viewer_id desc nulls last, device_id desc nulls last, stream_id desc nulls last,
                    filename, file_row_number
            ) as age
        from landed_viewing_sessions
        where hash(source, session_id) in (select key from repeated) and {_NOT_ERASED.format("viewer_id")}
    )
    select filename, file_row_number
    from versions
    qualify age > min(age) over (
        partition by source, session_id order by day
        range between $revision_days preceding and $revision_days following
    )
"""

# A session occupies [starts_at, ends_at); one without length, the instant at which it starts. An end that is not
# believed is none. Who is signed in is a viewer, whatever the device; others are told apart by their devices.
_RANGE = f"""
    with believed as (
        select
            creator_id, viewer_id, device_id,
            epoch_ms(started_at) as starts_at,
            case when epoch_ms(ended_at) - epoch_ms(started_at) <= $longest then epoch_ms(ended_at)
                else epoch_ms(started_at) end as ends_at
        from landed_viewing_sessions as landed
        anti join outdated
            on landed.filename = outdated.filename and landed.file_row_number = outdated.file_row_number
        where not deleted
            and ($creators is null or creator_id in (select unnest($creators)))
            and not ($leave_out_own_views and coalesce(viewer_id = creator_id, false))
            and {_NOT_ERASED.format("viewer_id")}
    ),
    inside as (
        select
            believed.creator_id, believed.viewer_id, believed.device_id,
            -- counted where it is first met, when the range has two parts
            believed.starts_at >= intervals.after as is_met_first,
            least(believed.ends_at, intervals.ends_at) - greatest(believed.starts_at, intervals.starts_at)
                as watched_milliseconds
        from believed
        inner join intervals
            on believed.starts_at < intervals.ends_at
            and greatest(believed.ends_at, believed.starts_at + 1) > intervals.starts_at
        where believed.ends_at - believed.starts_at >= $min_watched
    )
    select
        creator_id,
        count(distinct viewer_id) as viewers,
        count(distinct device_id) filter (where viewer_id is null) as anonymous_viewers,
        count(*) filter (where is_met_first) as sessions,
        cast(sum(watched_milliseconds) // 1000 as bigint) as watched_seconds
    from inside
    group by creator_id
"""

_RANKED = """
    with listed as (
        select *, rank() over (order by viewers desc) as rank
        from {now}
        where creator_id not in (select creator_id from unlisted)
    ),
    earlier as (
        select creator_id, rank() over (order by viewers desc) as rank
        from {before}
        where creator_id not in (select creator_id from unlisted)
    )
    select
        listed.*, earlier.rank as previous_rank,
        row_number() over (order by listed.viewers desc, listed.watched_seconds desc, listed.creator_id) as position
    from listed
    left join earlier on listed.creator_id = earlier.creator_id
"""

_KNOWN = "updated_at is null or epoch_ms(updated_at) < $now"

_UNLISTED = f"""
    select creator_id
    from landed_creators
    where {_KNOWN}
    qualify status in ('banned', 'deleted') and row_number() over (
        partition by creator_id
        order by
            updated_at desc nulls last, username desc, name desc nulls last, surname desc nulls last,
            availability_status desc nulls last, profile_photo_id desc nulls last, profile_photo_url desc nulls last,
            profile_photo_type desc nulls last, profile_photo_variants desc nulls last,
            profile_photo_created_at desc nulls last, profile_photo_updated_at desc nulls last,
            expertise desc nulls last, status desc nulls last
    ) = 1
"""

# Of equal age the later stage of a life cycle is the newer version, then the greater content in contract order.
_FUNDING = f"""
    with streams as (
        select stream_id, creator_id, funding_goal, currency
        from landed_live_streams
        where {_KNOWN}
        qualify row_number() over (
            partition by stream_id
            order by
                updated_at desc nulls last,
                coalesce(list_position(['scheduled', 'active', 'ended'], status), 0) desc,
                creator_id desc, status desc, title desc nulls last, live_stream_type desc nulls last,
                channel_name desc nulls last, broadcasters desc nulls last, guests desc nulls last,
                thumbnail_url desc nulls last, recording desc nulls last, recording_url desc nulls last,
                access_type desc nulls last, price desc nulls last, interest desc nulls last,
                duration_goal desc nulls last, motivation desc nulls last,
                is_active_replay_on_creator_profile desc nulls last, replay_credit_price desc nulls last,
                started_at desc nulls last, planned_start_date desc nulls last, ended_at desc nulls last,
                planned_end_date desc nulls last, created_at desc nulls last, funding_goal desc nulls last,
                currency desc nulls last, mini_crowd_fundings desc nulls last
        ) = 1
    ),
    -- A record in another currency than its stream's is rejected, so it is no version.
    versions as (
        select pledge.*
        from landed_pledges as pledge
        left join streams on pledge.stream_id = streams.stream_id
        where coalesce(pledge.currency = streams.currency, true) and {_NOT_ERASED.format("pledge.user_id")}
    ),
    newest as (
        select *
        from versions
        qualify row_number() over (
            partition by pledge_id
            order by
                updated_at desc nulls last,
                list_position(['pending', 'failed', 'captured', 'refunded'], status) desc,
                user_id desc, stream_id desc, amount desc, currency desc nulls last, captured_at desc nulls last,
                refunded_at desc nulls last, refunded_amount desc nulls last
        ) = 1
    ),
    money as (
        select
            stream_id, user_id, currency, amount as captured,
            case
                when epoch_ms(refunded_at) >= $now then null
                when refunded_amount is not null then refunded_amount
                when status = 'refunded' then amount
            end as refunded -- null: nothing was, which of a pledge of 0 is not all of it
        from newest
        where status in ('captured', 'refunded') and epoch_ms(captured_at) < $now
    ),
    collected as (
        select
            stream_id,
            case
                when min(currency) filter (where coalesce(refunded, 0) < captured)
                    is not distinct from max(currency) filter (where coalesce(refunded, 0) < captured)
                then sum(captured - coalesce(refunded, 0))
            end as total,
            count(distinct user_id) filter (where refunded is null or refunded < captured) as backers
        from money
        group by stream_id
    ),
    totals as (
        -- none where pledges of a stream are in several currencies; 0 where there are none
        select streams.*, backers, case when collected.stream_id is null then 0 else total end as total
        from streams
        left join collected on streams.stream_id = collected.stream_id
    )
    select
        stream_id, creator_id, funding_goal,
        try_cast(total as decimal(18, 2)) as collected_funding,
        currency,
        -- in cents: 100 * collected / goal, rounded down
        try_cast(
            cast(total * 100 as hugeint) * 100 // cast(nullif(funding_goal, 0) * 100 as hugeint) as bigint
        ) as funding_percentage,
        coalesce(backers, 0) as backers
    from totals
"""
