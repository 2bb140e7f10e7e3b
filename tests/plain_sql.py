"""The plain way to the numbers: `count(distinct …)` in SQL over the landed files, no cube, none of our queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

Measured = list[tuple[str, int, int, int, int]]  # creator, viewers, anonymous viewers, sessions, watched seconds

PLAIN_SQL = """
with landed as (
    select distinct * replace (
        coalesce(source, '') as source, coalesce(revision, 0) as revision, coalesce(deleted, false) as deleted
    )
    from sessions
    where "viewerId" is null or "viewerId" not in (from erased)
),
versions as (
    select
        *,
        cast("startedAt" as date) as day,
        row_number() over (
            partition by source, "sessionId"
            order by revision, deleted, "endedAt" nulls first, "creatorId", "startedAt", "viewerId" nulls first,
                "deviceId" nulls first
        ) as number
    from landed
),
newest as (
    select * replace (
        case when epoch_ms("endedAt") - epoch_ms("startedAt") <= $max_session_hours * 3600000 then "endedAt" end
            as "endedAt"
    )
    from versions as one
    where not exists (
        from versions as other
        where other.source = one.source and other."sessionId" = one."sessionId" and other.number > one.number
            and abs(date_diff('day', other.day, one.day)) <= $revision_days
    )
),
known_creators as (
    select "_id" as creator_id, status from creators
    where "updatedAt" is null or "updatedAt" < timezone($zone, $as_of::timestamp)
    qualify row_number() over (
        partition by "_id" order by "updatedAt" desc nulls last, username desc, status desc nulls last
    ) = 1
),
good as (
    select *, coalesce(epoch_ms("endedAt") - epoch_ms("startedAt"), 0) as length
    from newest
    where not deleted
        and not ($leave_out_own_views and "viewerId" is not distinct from "creatorId")
        and length >= $min_watched_seconds * 1000
        and "creatorId" not in (select creator_id from known_creators where status in ('banned', 'deleted'))
),
minutes as (
    select unnest(
        generate_series($first - interval 2 days, $end + interval 2 days, interval 1 minute)
    )::timestamptz as moment
),
-- Whole minutes are enough: in the zones and years of these histories clocks change at no other instants.
bounds as (
    select min(moment) as range_start, max(moment) + interval 1 minute as range_end
    from (
        select moment, moment - interval 1 minute * row_number() over (order by moment) as run
        from minutes
        where timezone($zone, moment)::date >= $first and timezone($zone, moment)::date < $end
    )
    group by run
),
inside as (
    select
        source, "sessionId", "startedAt", "creatorId", "viewerId", "deviceId",
        sum(
            case
                when length > 0
                    then epoch_ms(least("endedAt", range_end)) - epoch_ms(greatest("startedAt", range_start))
                else 0
            end
        ) as watched
    from good, bounds
    where "startedAt" < range_end and ("startedAt" >= range_start or (length > 0 and "endedAt" > range_start))
    group by all
)
select
    "creatorId",
    count(distinct "viewerId") as viewers,
    count(distinct "deviceId") filter (where "viewerId" is null) as anonymous_viewers,
    count(*) as sessions,
    sum(watched)::bigint // 1000 as watched_seconds
from inside
group by all
order by viewers desc, watched_seconds desc, "creatorId"
"""
COLUMNS = {
    "viewing_sessions": {
        "sessionId": "varchar", "creatorId": "varchar", "startedAt": "timestamptz", "endedAt": "timestamptz",
        "viewerId": "varchar", "deviceId": "varchar", "source": "varchar", "revision": "bigint",
        "deleted": "boolean",
    },
    "creators": {"_id": "varchar", "username": "varchar", "status": "varchar", "updatedAt": "timestamptz"},
}  # fmt: skip


def counted(
    landing: Path, as_of: date, ranges: Iterable[tuple[date, date]], policy: Mapping[str, Any], erased: Iterable[str]
) -> list[Measured]:
    """What was reached in each range, by position; `policy` as an oracle's, `erased` the users who are to be."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for entity, columns in COLUMNS.items():
        files = [str(path) for path in (landing / entity).glob("*.ndjson")]
        name = entity.removeprefix("viewing_")
        if files:
            connection.read_json(files, columns=columns, format="newline_delimited").create(name)
        else:
            columns_sql = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
            connection.execute(f"create table {name} ({columns_sql})")
    connection.execute("create table erased as select unnest($users::varchar[])", {"users": list(erased)})
    asked = {name: value for name, value in policy.items() if name != "day_timezone"}
    asked |= {"zone": policy["day_timezone"], "as_of": as_of}
    answers = [connection.execute(PLAIN_SQL, asked | {"first": first, "end": end}).fetchall() for first, end in ranges]
    connection.close()
    return answers
