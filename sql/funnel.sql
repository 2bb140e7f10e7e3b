-- Say what became of every accepted viewing session: the outcomes add up to the accepted records of the lake.
-- grain:   one row per outcome
-- keys:    outcome
-- sources: session_outcomes, creators
-- params:  first_day (inclusive), end_day (exclusive)
with judged as (
    select
        case
            when session_outcomes.outcome <> 'counted' then session_outcomes.outcome
            when creators.status in ('banned', 'deleted') then 'banned_or_deleted_creator'
            when session_outcomes.first_day >= $end_day then 'not_yet'
            when session_outcomes.last_day < $first_day then 'outside_window'
            else 'ranked'
        end as outcome,
        session_outcomes.records,
        case when session_outcomes.outcome = 'counted' and session_outcomes.first_day < $end_day
            then session_outcomes.newest_started_at end as newest_started_at
    from session_outcomes
    left join creators on session_outcomes.creator_id = creators.creator_id
)

select
    outcome                         as outcome,           -- ranked, or why a record is not
    cast(sum(records) as bigint)    as records,           -- accepted records; `conflict` counts some of `superseded`
    max(newest_started_at)          as newest_started_at  -- UTC; of sessions that count and start before the end
from judged
group by outcome
