-- Say who watched whom on a day, for how long, with one row however often they came back.
-- The rows of a policy day lie with the UTC days on which its sessions start, since that is how sessions land: what
-- goes past midnight leaves a row of the next day with the day of its start.
-- Instants of a policy day are [starts_at, ends_at) without [other_from, other_until), in which the clocks of the zone
-- show other_day: the day before or after, since they went back over midnight. On other days that range is empty.
-- Sessions with neither viewer nor device share a row a creator: they count, but reach nobody.
-- What pair_key hashes is at most 55 bytes with ids of 24 characters: more would be a second block of sha256.
-- grain:   one row per (UTC day of the start, policy day, creator, kind of viewer, viewer)
-- keys:    started_on, day, pair_key
-- batched: yes: rows of a day meet those of that day alone
-- sources: sessions, calendar
-- params:  none
with counted as (
    select
        day                                         as started_on,
        creator_id,
        viewer_id is not null                       as is_signed_in,
        coalesce(viewer_id, device_id)              as viewer_id,
        epoch_ms(started_at)                        as starts_at,
        epoch_ms(coalesce(ended_at, started_at))    as ends_at
    from sessions
    where outcome = 'counted'
),

-- A session occupies [starts_at, ends_at); one of zero length, or still open, the millisecond of its start. It is
-- counted once on every day that it occupies: as started on the earliest of them, as carried into all others.
occupied as (
    select
        counted.*,
        calendar.day,
        counted.starts_at >= calendar.starts_at and (
            calendar.other_day >= calendar.day
            or counted.starts_at >= calendar.other_until
            or greatest(counted.ends_at, counted.starts_at + 1) <= calendar.other_from
        ) as is_first_day,
        least(counted.ends_at, calendar.ends_at) - greatest(counted.starts_at, calendar.starts_at)
        - greatest(
            least(counted.ends_at, calendar.other_until) - greatest(counted.starts_at, calendar.other_from), 0
        ) as watched_milliseconds
    from counted
    inner join calendar on counted.started_on = calendar.utc_day
    where
        counted.starts_at < calendar.ends_at
        and greatest(counted.ends_at, counted.starts_at + 1) > calendar.starts_at
        and not (
            counted.starts_at >= calendar.other_from
            and greatest(counted.ends_at, counted.starts_at + 1) <= calendar.other_until
        )
),

watched as (
    select
        started_on,
        day,
        creator_id,
        is_signed_in,
        viewer_id,
        sum(case when is_first_day then 1 else 0 end) as sessions_started,
        sum(case when is_first_day then 0 else 1 end) as sessions_carried_in,
        sum(watched_milliseconds)                     as watched_milliseconds
    from occupied
    group by 1, 2, 3, 4, 5
)

select
    started_on                           as started_on,           -- UTC day on which the sessions start
    day                                  as day,                  -- day of the policy's zone that they occupy
    creator_id                           as creator_id,           -- who was watched
    is_signed_in                         as is_signed_in,         -- false: an anonymous device
    viewer_id is not null                as is_reached,           -- false: neither viewer nor device
    cast(substr(sha256(concat(
        length(creator_id),
        case when viewer_id is null then 'n' when is_signed_in then 'v' else 'd' end,
        creator_id,
        coalesce(viewer_id, '')
    )), 1, 32) as uuid)                  as pair_key,             -- who watched whom: 128 bits of sha256
    cast(sessions_started as bigint)     as sessions_started,     -- of which it is the first day
    cast(sessions_carried_in as bigint)  as sessions_carried_in,  -- of an earlier day, that occupy it too
    cast(watched_milliseconds as bigint) as watched_milliseconds  -- clipped to the day
from watched
