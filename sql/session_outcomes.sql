-- Count what became of the sessions of a day: the part of the funnel that adds up over days.
-- The first and the last day are the earliest and the latest; which instants are of a day, viewer_days.sql says.
-- grain:   one row per (UTC day, creator, outcome, first and last policy day that the sessions occupy)
-- keys:    day, creator_id, outcome, first_day, last_day
-- sources: sessions, calendar
-- params:  none
with occupied as (
    select
        *,
        epoch_ms(started_at) as starts_at,
        -- a session of zero length, or still open, occupies the millisecond of its start
        greatest(epoch_ms(started_at) + 1, epoch_ms(ended_at)) as ends_at
    from sessions
)

select
    occupied.day                                    as day,              -- UTC day on which the sessions start
    occupied.creator_id                             as creator_id,       -- the creator who was watched
    occupied.outcome                                as outcome,          -- as in sessions
    first_part.day                                  as first_day,        -- policy day, the earliest; null unless they count
    last_part.day                                   as last_day,         -- policy day, the latest; null unless they count
    count(*)                                        as sessions,         -- sessions
    cast(sum(occupied.landed_records) as bigint)    as landed_records,   -- accepted records behind them on this day
    cast(sum(occupied.versions) as bigint)          as versions,         -- distinct ones among those
    cast(sum(occupied.conflicts) as bigint)         as conflicts,        -- decided by content, not by revision
    max(occupied.started_at)                        as newest_started_at -- UTC
from occupied
left join calendar as first_part
    on occupied.outcome = 'counted' and occupied.day = first_part.utc_day
    and occupied.starts_at >= first_part.starts_at and occupied.starts_at < first_part.ends_at
    and case
        when occupied.starts_at >= first_part.other_from and occupied.ends_at <= first_part.other_until then false
        when occupied.starts_at < first_part.other_until and occupied.ends_at > first_part.other_from
            then first_part.other_day >= first_part.day
        else true
    end
left join calendar as last_part
    on occupied.outcome = 'counted' and occupied.day = last_part.utc_day
    and occupied.ends_at > last_part.starts_at and occupied.ends_at <= last_part.ends_at
    and case
        when occupied.starts_at >= last_part.other_from and occupied.ends_at <= last_part.other_until then false
        when occupied.starts_at < last_part.other_until and occupied.ends_at > last_part.other_from
            then last_part.other_day <= last_part.day
        else true
    end
group by 1, 2, 3, 4, 5
