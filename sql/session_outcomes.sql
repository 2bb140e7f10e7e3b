-- Count what became of the sessions of a day: the part of the funnel that adds up over days.
-- grain:   one row per (UTC day, creator, outcome, first and last policy day that the sessions occupy)
-- keys:    day, creator_id, outcome, first_day, last_day
-- sources: sessions, calendar
-- params:  none
with occupied as (
    select
        *,
        epoch_ms(started_at) as starts_at,
        -- its last millisecond; a session of zero length, or still open, occupies that of its start
        greatest(epoch_ms(started_at), epoch_ms(ended_at) - 1) as last_instant
    from sessions
)

select
    occupied.day                                    as day,              -- UTC day on which the sessions start
    occupied.creator_id                             as creator_id,       -- the creator who was watched
    occupied.outcome                                as outcome,          -- as in sessions
    first_part.day                                  as first_day,        -- policy day; null unless they count
    last_part.day                                   as last_day,         -- policy day; null unless they count
    count(*)                                        as sessions,         -- sessions
    cast(sum(occupied.landed_records) as bigint)    as landed_records,   -- accepted records behind them on this day
    cast(sum(occupied.versions) as bigint)          as versions,         -- distinct ones among those
    cast(sum(occupied.conflicts) as bigint)         as conflicts,        -- decided by content, not by revision
    max(occupied.started_at)                        as newest_started_at -- UTC
from occupied
left join calendar as first_part
    on occupied.outcome = 'counted' and occupied.day = first_part.utc_day
    and occupied.starts_at >= first_part.starts_at and occupied.starts_at < first_part.ends_at
left join calendar as last_part
    on occupied.outcome = 'counted' and occupied.day = last_part.utc_day
    and occupied.last_instant >= last_part.starts_at and occupied.last_instant < last_part.ends_at
group by 1, 2, 3, 4, 5
