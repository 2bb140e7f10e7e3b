-- Add up the months of a year, so that a long history stays a few files.
-- grain:   one row per (creator, outcome)
-- keys:    first_day, creator_id, outcome
-- keyed:   by raw of the year and of the days within reach, so that no night looks for its months
-- sources: monthly_outcomes
-- params:  none
select
    min(first_day)                as first_day,        -- of the first of its months
    creator_id                    as creator_id,       -- the creator whom the records name
    outcome                       as outcome,          -- as in session_outcomes
    cast(sum(records) as bigint)  as records,          -- accepted records
    max(newest_started_at)        as newest_started_at -- UTC; null unless they are sessions
from monthly_outcomes
group by creator_id, outcome
