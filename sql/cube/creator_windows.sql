-- Add up what every creator reached in each window that ends on a day. Every figure is a sum over the cube.
-- Banned and deleted creators are in it: this is what happened, not a ranking.
-- grain:   one row per (end of the windows, window, creator) with a session in the window
-- keys:    as_of, window_days, creator_id
-- sources: creator_reach, windows (each with its days)
-- params:  none
with reach as (
    -- A viewer counts on the first day inside the window: the one row whose gap reaches back past the window's start.
    select
        w.as_of,
        w.window_days,
        r.creator_id,
        -- safeguard: viewer-counts-once
        sum(case when r.gap_days is null or r.gap_days > date_diff('day', w.first_day, r.day) then r.viewers else 0 end)
            filter (where r.is_signed_in) as viewers,
        sum(case when r.gap_days is null or r.gap_days > date_diff('day', w.first_day, r.day) then r.viewers else 0 end)
            filter (where not r.is_signed_in) as anonymous_viewers,
        sum(r.sessions_started) + sum(case when r.day = w.first_day then r.sessions_carried_in else 0 end) as sessions,
        sum(r.watched_milliseconds) as watched_milliseconds
    from creator_reach as r
    inner join windows as w on r.day = w.day
    group by 1, 2, 3
)

select
    as_of                                           as as_of,             -- the day after the last one of the windows
    window_days                                     as window_days,       -- length of the window in days
    creator_id                                      as creator_id,        -- the platform's id
    cast(coalesce(viewers, 0) as bigint)            as viewers,           -- distinct signed-in viewers
    cast(coalesce(anonymous_viewers, 0) as bigint)  as anonymous_viewers, -- distinct anonymous devices, never added in
    cast(sessions as bigint)                        as sessions,          -- sessions that overlap the window
    cast(watched_milliseconds // 1000 as bigint)    as watched_seconds    -- the part inside the window
from reach
where sessions > 0
