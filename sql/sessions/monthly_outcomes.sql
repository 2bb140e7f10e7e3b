-- Add up what became of the records of a month: the part of the books that lies outside the days of the windows.
-- No night reads such a month again, session by session, unless something lands near it.
-- grain:   one row per (creator, outcome)
-- keys:    first_day, creator_id, outcome
-- keyed:   by raw of the month and of the days within reach, through all models in between: no night looks at those
-- sources: session_outcomes, days (the first of the month)
-- params:  none
select
    days.day                                      as first_day,        -- of the month
    session_outcomes.creator_id                   as creator_id,       -- the creator whom the records name
    session_outcomes.outcome                      as outcome,          -- as in session_outcomes
    cast(sum(session_outcomes.records) as bigint) as records,          -- accepted records
    max(session_outcomes.newest_started_at)       as newest_started_at -- UTC; null unless they are sessions
from session_outcomes
cross join days
group by 1, 2, 3
