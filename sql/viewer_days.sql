-- Say who watched whom on a day, for how long, with one row however often they came back.
-- Sessions with neither viewer nor device share one row with a null viewer_id: they count, but reach nobody.
-- grain:   one row per (policy day, kind of viewer, creator, viewer)
-- keys:    day, creator_id, is_signed_in, viewer_id
-- sources: sessions (every UTC day from which a session may reach into these days), calendar (of these days)
-- params:  none
with counted as (
    select
        creator_id,
        viewer_id is not null            as is_signed_in,
        coalesce(viewer_id, device_id)   as viewer_id,
        started_at,
        coalesce(ended_at, started_at)   as ended_at,
        -- [started_at, occupied_until); a session of zero length, or still open, occupies its instant
        case when ended_at > started_at then ended_at else started_at + interval 1 millisecond end as occupied_until
    from sessions
    where outcome = 'counted'
),

-- One row per UTC day that a session touches: nearly always one.
spans as (
    select *, cast(started_at as date) as utc_day
    from counted
    union all
    select counted.*, utc_days.utc_day
    from counted
    inner join (select distinct utc_day from calendar) as utc_days
        on utc_days.utc_day > cast(counted.started_at as date)
        and utc_days.utc_day <= cast(counted.occupied_until - interval 1 millisecond as date)
    where cast(counted.occupied_until - interval 1 millisecond as date) > cast(counted.started_at as date)
),

-- One row per part of a policy day that a session occupies.
parts as (
    select
        calendar.day,
        spans.creator_id,
        spans.is_signed_in,
        spans.viewer_id,
        spans.started_at >= calendar.starts_at                       as starts_here,
        calendar.is_first and spans.started_at < calendar.starts_at  as carried_in,
        date_diff(
            'millisecond', greatest(spans.started_at, calendar.starts_at), least(spans.ended_at, calendar.ends_at)
        ) as watched_milliseconds
    from spans
    inner join calendar on spans.utc_day = calendar.utc_day
    where spans.started_at < calendar.ends_at and spans.occupied_until > calendar.starts_at
)

select
    day                                                           as day,                  -- day of the policy's zone
    creator_id                                                    as creator_id,           -- who was watched
    is_signed_in                                                  as is_signed_in,         -- false: an anonymous device
    viewer_id                                                     as viewer_id,            -- viewer or device; null: neither
    cast(sum(case when starts_here then 1 else 0 end) as bigint)  as sessions_started,     -- that day
    cast(sum(case when carried_in then 1 else 0 end) as bigint)   as sessions_carried_in,  -- begun before, went on into it
    cast(sum(watched_milliseconds) as bigint)                     as watched_milliseconds  -- clipped to the day
from parts
group by 1, 2, 3, 4
