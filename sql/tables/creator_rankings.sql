-- Rank creators by the distinct viewers they reached in each window.
-- Banned and deleted creators are left out before ranking, so that ranks close up.
-- grain:   one row per (window, creator) with a session in the window
-- keys:    window_days, position
-- sources: creator_windows, earlier_creator_windows (the same windows one day earlier), creators
-- params:  none
with unlisted as (
    select creator_id
    from creators
    where status in ('banned', 'deleted')
),

ranked as (
    select *, rank() over (partition by window_days order by viewers desc) as rank
    from creator_windows
    anti join unlisted on creator_windows.creator_id = unlisted.creator_id  -- safeguard: unlisted-creators-not-ranked
),

ranked_before as (
    select window_days, creator_id, rank() over (partition by window_days order by viewers desc) as rank
    from earlier_creator_windows
    anti join unlisted on earlier_creator_windows.creator_id = unlisted.creator_id
),

positioned as (
    select
        *,
        row_number() over (
            partition by window_days order by viewers desc, watched_seconds desc, creator_id
        ) as position
    from ranked
)

select
    cast(now.window_days as smallint)       as window_days,       -- length of the window in days; it ends at as_of
    cast(now.position as integer)           as position,          -- 1 = most watched, no ties
    cast(now.rank as integer)               as rank,              -- competition rank on viewers: 1, 2, 2, 4
    now.creator_id                          as creator_id,        -- the platform's id
    now.viewers                             as viewers,           -- distinct signed-in viewers
    now.anonymous_viewers                   as anonymous_viewers, -- distinct anonymous devices, never added in
    now.sessions                            as sessions,          -- sessions that overlap the window
    now.watched_seconds                     as watched_seconds,   -- the part inside the window
    cast(before.rank as integer)            as previous_rank      -- in the same window one day earlier; null: not in it
from positioned as now
left join ranked_before as before
    on now.window_days = before.window_days and now.creator_id = before.creator_id
