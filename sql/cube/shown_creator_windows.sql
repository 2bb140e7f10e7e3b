-- Leave out what rests on fewer than min_cell people: creators whom fewer signed-in viewers watched in a window, with
-- their sessions and seconds, and smaller numbers of anonymous devices.
-- grain:   one row per (end of the windows, window, creator) that may be shown
-- keys:    as_of, window_days, creator_id
-- sources: creator_windows
-- params:  min_cell (the least number of people)
with of_enough_people as (
    select *
    from creator_windows
    where viewers >= $min_cell  -- safeguard: small-audiences-not-shown
)

select
    as_of             as as_of,             -- the day after the last one of the windows
    window_days       as window_days,       -- length of the window in days
    creator_id        as creator_id,        -- the platform's id
    viewers           as viewers,           -- distinct signed-in viewers, min_cell or more
    case when anonymous_viewers >= $min_cell then anonymous_viewers else 0 end as anonymous_viewers, -- 0: fewer
    sessions          as sessions,          -- sessions that overlap the window
    watched_seconds   as watched_seconds    -- the part inside the window
from of_enough_people
