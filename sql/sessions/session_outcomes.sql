-- Count what became of the records of viewing sessions of a day: the part of the funnel that adds up over days.
-- Every accepted record is in one outcome, under the creator whom it names; `conflict` counts some of `superseded` again, and
-- `lost` some of `conflict`.
-- The first and the last day are the earliest and the latest; which instants are of a day, viewer_days.sql says.
-- grain:   one row per (UTC day, creator, outcome, first and last policy day that the sessions occupy)
-- keys:    day, creator_id, outcome, first_day, last_day
-- batched: yes: rows of a day meet those of that day alone
-- sources: sessions, calendar, raw_viewing_sessions, erased_viewers, session_versions
-- params:  none
with occupied as (
    select
        *,
        epoch_ms(started_at) as starts_at,
        -- a session of zero length, or still open, occupies the millisecond of its start
        greatest(epoch_ms(started_at) + 1, epoch_ms(ended_at)) as ends_at
    from sessions
),

outcomes as (
    select
        occupied.day, occupied.creator_id, occupied.outcome, first_part.day as first_day, last_part.day as last_day,
        1 as records, occupied.started_at
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
    union all
    select
        erased_viewers.day, landed.creator_id, 'erased' as outcome, null as first_day, null as last_day,
        1 as records, null as started_at
    from raw_viewing_sessions as landed
    inner join erased_viewers
        on cast(landed.started_at as date) = erased_viewers.day and landed.viewer_id = erased_viewers.viewer_id
    union all
    select day, creator_id, 'superseded', null, null, 1, null from session_versions where not is_newest
    union all
    select day, creator_id, 'duplicate', null, null, landed_records - 1, null
    from session_versions
    where landed_records > 1
    union all
    select day, creator_id, 'conflict', null, null, 1, null from session_versions where is_conflict
    union all
    select day, creator_id, 'lost', null, null, 1, null from session_versions where is_lost
)

select
    day                          as day,              -- UTC day on which the sessions start
    creator_id                   as creator_id,       -- the creator whom the records name
    outcome                      as outcome,          -- as in sessions; erased, superseded, duplicate, conflict, lost
    first_day                    as first_day,        -- policy day, the earliest; null unless they count
    last_day                     as last_day,         -- policy day, the latest; null unless they count
    cast(sum(records) as bigint) as records,          -- accepted records
    max(started_at)              as newest_started_at -- UTC; null unless they are sessions
from outcomes
group by 1, 2, 3, 4, 5
