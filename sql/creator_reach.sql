-- THE CUBE. Count the viewers of a creator on a day by how long ago each last watched that creator.
-- Distinct counts do not add up over days; these do. A viewer is counted once in [first_day, end_day), on the first
-- day inside it, which is the one row with `gap_days is null or gap_days > day - first_day`. So for any range of at
-- most max_window_days:
--     viewers = sum(viewers) where gap_days is null or gap_days > day - first_day
--     sessions = sum(sessions_started) + sum(sessions_carried_in) of the first day;  watched = sum(watched_milliseconds)
-- grain:   one row per (policy day, creator, kind of viewer, gap)
-- keys:    day, creator_id, is_signed_in, gap_days
-- sources: viewer_days (of these days and the max_window_days before each), days
-- params:  max_window_days
with first_of_these as (
    select min(day) as day from days
),

watched as (
    select viewer_days.*
    from viewer_days
    inner join days on viewer_days.day = days.day
),

pairs as (
    select distinct creator_id, is_signed_in, viewer_id
    from watched
    where viewer_id is not null
),

-- Of the days before these, only each pair's last one can matter.
visits as (
    select v.creator_id, v.is_signed_in, v.viewer_id, max(v.day) as day
    from viewer_days as v
    semi join pairs
        on v.creator_id = pairs.creator_id and v.viewer_id = pairs.viewer_id and v.is_signed_in = pairs.is_signed_in
    where v.day < (select day from first_of_these)
    group by 1, 2, 3
    union all
    select v.creator_id, v.is_signed_in, v.viewer_id, v.day
    from viewer_days as v
    semi join pairs
        on v.creator_id = pairs.creator_id and v.viewer_id = pairs.viewer_id and v.is_signed_in = pairs.is_signed_in
    where v.day >= (select day from first_of_these)
),

gaps as (
    select
        *,
        date_diff('day', lag(day) over (partition by creator_id, is_signed_in, viewer_id order by day), day) as gap_days
    from visits
),

watched_with_gap as (
    select watched.*, case when gaps.gap_days <= $max_window_days then gaps.gap_days end as gap_days
    from watched
    left join gaps
        on watched.day = gaps.day and watched.creator_id = gaps.creator_id
        and watched.is_signed_in = gaps.is_signed_in and watched.viewer_id = gaps.viewer_id
)

select
    day                                         as day,                  -- day of the policy's zone
    creator_id                                  as creator_id,           -- who was watched
    is_signed_in                                as is_signed_in,         -- false: anonymous devices
    cast(gap_days as smallint)                  as gap_days,             -- days since the last visit; null: none in max_window_days
    count(viewer_id)                            as viewers,              -- distinct viewers with this gap
    cast(sum(sessions_started) as bigint)       as sessions_started,     -- their sessions that started that day
    cast(sum(sessions_carried_in) as bigint)    as sessions_carried_in,  -- and those that went on into it
    cast(sum(watched_milliseconds) as bigint)   as watched_milliseconds  -- clipped to the day
from watched_with_gap
group by 1, 2, 3, 4
