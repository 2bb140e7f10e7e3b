-- Rank creators by the distinct viewers they reached in each window. Every figure is a sum over the cube.
-- Banned and deleted creators are left out before ranking, so that ranks close up.
-- grain:   one row per (window, creator) with a session in the window
-- keys:    window_days, position
-- sources: creator_reach, creators, windows (their days, and those of the same windows one day earlier)
-- params:  none
with listed_reach as (
    select creator_reach.*
    from creator_reach
    anti join (select creator_id from creators where status in ('banned', 'deleted')) as unlisted
        on creator_reach.creator_id = unlisted.creator_id
),

-- A viewer counts on the first day inside the window: the one row whose gap reaches back past the window's start.
reach as (
    select
        w.window_days,
        w.is_previous,
        r.creator_id,
        sum(case when r.gap_days is null or r.gap_days > date_diff('day', w.first_day, r.day) then r.viewers else 0 end)
            filter (where r.is_signed_in) as viewers,
        sum(case when r.gap_days is null or r.gap_days > date_diff('day', w.first_day, r.day) then r.viewers else 0 end)
            filter (where not r.is_signed_in) as anonymous_viewers,
        sum(r.sessions_started) + sum(case when r.day = w.first_day then r.sessions_carried_in else 0 end) as sessions,
        sum(r.watched_milliseconds) as watched_milliseconds
    from listed_reach as r
    inner join windows as w on r.day = w.day
    group by 1, 2, 3
),

ranked as (
    select
        window_days,
        is_previous,
        creator_id,
        coalesce(viewers, 0)             as viewers,
        coalesce(anonymous_viewers, 0)   as anonymous_viewers,
        sessions,
        watched_milliseconds // 1000     as watched_seconds,
        rank() over (partition by window_days, is_previous order by coalesce(viewers, 0) desc) as rank
    from reach
    where sessions > 0
),

positioned as (
    select
        *,
        row_number() over (
            partition by window_days, is_previous order by viewers desc, watched_seconds desc, creator_id
        ) as position
    from ranked
)

select
    cast(now.window_days as smallint)       as window_days,       -- length of the window in days; it ends at as_of
    cast(now.position as integer)           as position,          -- 1 = most watched, no ties
    cast(now.rank as integer)               as rank,              -- competition rank on viewers: 1, 2, 2, 4
    now.creator_id                          as creator_id,        -- the platform's id
    cast(now.viewers as bigint)             as viewers,           -- distinct signed-in viewers
    cast(now.anonymous_viewers as bigint)   as anonymous_viewers, -- distinct anonymous devices, never added in
    cast(now.sessions as bigint)            as sessions,          -- sessions that overlap the window
    cast(now.watched_seconds as bigint)     as watched_seconds,   -- the part inside the window
    cast(before.rank as integer)            as previous_rank      -- in the same window one day earlier; null: not in it
from positioned as now
left join positioned as before
    on now.window_days = before.window_days and now.creator_id = before.creator_id and before.is_previous
where not now.is_previous
