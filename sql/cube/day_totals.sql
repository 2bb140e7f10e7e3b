-- Add up each day, to see which days are all there.
-- grain:   one row per policy day with a session that starts on it
-- keys:    day
-- sources: creator_reach
-- params:  none
select
    day                                     as day,                 -- day of the policy's zone
    cast(sum(sessions_started) as bigint)   as sessions_started,    -- of all creators
    cast(sum(watched_milliseconds) as bigint) as watched_milliseconds -- clipped to the day
from creator_reach
group by day
having sum(sessions_started) > 0
