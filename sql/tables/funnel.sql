-- Say what became of every accepted viewing session: the outcomes add up to the accepted records of the lake.
-- grain:   one row per outcome
-- keys:    outcome
-- sources: session_outcomes, monthly_outcomes, yearly_outcomes (all that lie outside those days), creators
-- params:  first_day (inclusive), end_day (exclusive)
with outcomes as (
    select creator_id, outcome, first_day, last_day, records, newest_started_at from session_outcomes
    union all
    -- no day of the windows is in such a month, so whichever of its days it was says the same
    select creator_id, outcome, first_day, first_day, records, newest_started_at from monthly_outcomes
    union all
    select creator_id, outcome, first_day, first_day, records, newest_started_at from yearly_outcomes
),

judged as (
    select
        case
            when outcomes.outcome <> 'counted' then outcomes.outcome
            when creators.status in ('banned', 'deleted') then 'banned_or_deleted_creator'
            when outcomes.first_day >= $end_day then 'not_yet'
            when outcomes.last_day < $first_day then 'outside_window'
            else 'ranked'
        end as outcome,
        outcomes.records,
        case when outcomes.outcome = 'counted' and outcomes.first_day < $end_day
            then outcomes.newest_started_at end as newest_started_at
    from outcomes
    left join creators on outcomes.creator_id = creators.creator_id
)

select
    outcome                         as outcome,           -- ranked, or why a record is not
    cast(sum(records) as bigint)    as records,           -- accepted records; `conflict` and `lost`: some of `superseded`
    max(newest_started_at)          as newest_started_at  -- UTC; of sessions that count and start before the end
from judged
group by outcome
