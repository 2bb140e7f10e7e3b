-- THE CUBE. Count the viewers of a creator on a day by how long ago each last watched that creator.
-- Distinct counts do not add up over days; these do. A viewer is counted once in [first_day, end_day), on the first
-- day inside it, which is the one row with `gap_days is null or gap_days > day - first_day`. So for any range of at
-- most max_window_days:
--     viewers = sum(viewers) where gap_days is null or gap_days > day - first_day
--     sessions = sum(sessions_started) + sum(sessions_carried_in) of the first day;  watched = sum(watched_milliseconds)
-- grain:   one row per (policy day, creator, kind of viewer, gap)
-- keys:    day, creator_id, is_signed_in, gap_days
-- sources: viewer_days (of this day), earlier_viewer_days (viewer_days of the max_window_days before it), days (this one)
-- params:  max_window_days
with this_day as (
    select min(day) as day from days
),

watched as (
    select
        v.day, v.creator_id, v.is_signed_in, v.is_reached, v.pair_key,
        sum(v.sessions_started)     as sessions_started,
        sum(v.sessions_carried_in)  as sessions_carried_in,
        sum(v.watched_milliseconds) as watched_milliseconds
    from viewer_days as v
    inner join days on v.day = days.day
    group by 1, 2, 3, 4, 5
),

-- When the same pairs last met before. What is longer ago than max_window_days counts as never.
last_visits as (
    select v.pair_key, max(v.day) as day
    from earlier_viewer_days as v
    semi join watched on v.pair_key = watched.pair_key
    where v.day < (select day from this_day)
    group by 1
),

gaps as (
    select watched.pair_key, date_diff('day', last_visits.day, watched.day) as gap_days
    from watched
    inner join last_visits on watched.pair_key = last_visits.pair_key
)

select
    watched.day                                         as day,                  -- day of the policy's zone
    watched.creator_id                                  as creator_id,           -- who was watched
    watched.is_signed_in                                as is_signed_in,         -- false: anonymous devices
    cast(case when watched.is_reached and gaps.gap_days <= $max_window_days then gaps.gap_days end as smallint)
        as gap_days, -- days since the last visit; null: none in max_window_days
    cast(sum(case when watched.is_reached then 1 else 0 end) as bigint)
        as viewers, -- distinct viewers with this gap
    cast(sum(watched.sessions_started) as bigint)       as sessions_started,     -- their sessions that started that day
    cast(sum(watched.sessions_carried_in) as bigint)    as sessions_carried_in,  -- and those that went on into it
    cast(sum(watched.watched_milliseconds) as bigint)   as watched_milliseconds  -- clipped to the day
from watched
left join gaps on watched.pair_key = gaps.pair_key
group by 1, 2, 3, 4
