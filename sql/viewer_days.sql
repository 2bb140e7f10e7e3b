-- Say who watched whom on a day, for how long, with one row however often they came back.
-- The rows of a policy day lie with the UTC days on which its sessions start, since that is how sessions land: what
-- goes past midnight leaves a row of the next day with the day of its start.
-- Sessions with neither viewer nor device share a row a creator: they count, but reach nobody.
-- What pair_key hashes is at most 55 bytes with ids of 24 characters: more would be a second block of sha256.
-- grain:   one row per (UTC day of the start, policy day, creator, kind of viewer, viewer)
-- keys:    started_on, day, pair_key
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

-- A session occupies [starts_at, ends_at); one of zero length, or still open, the millisecond of its start.
watched as (
    select
        counted.started_on,
        calendar.day,
        counted.creator_id,
        counted.is_signed_in,
        counted.viewer_id,
        sum(case when counted.starts_at >= calendar.starts_at then 1 else 0 end) as sessions_started,
        sum(case when counted.starts_at < calendar.starts_at then 1 else 0 end)  as sessions_carried_in,
        sum(least(counted.ends_at, calendar.ends_at) - greatest(counted.starts_at, calendar.starts_at))
            as watched_milliseconds
    from counted
    inner join calendar on counted.started_on = calendar.utc_day
    where
        counted.starts_at < calendar.ends_at
        and greatest(counted.ends_at, counted.starts_at + 1) > calendar.starts_at
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
    cast(sessions_started as bigint)     as sessions_started,     -- that day
    cast(sessions_carried_in as bigint)  as sessions_carried_in,  -- begun before, went on into it
    cast(watched_milliseconds as bigint) as watched_milliseconds  -- clipped to the day
from watched
