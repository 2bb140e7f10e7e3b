-- The table macros of warehouse.duckdb. `snapshot_facts` holds one row: the days that creator_reach covers.

-- Every creator's exact reach in [from_date, to_date), of any range of days that the snapshot holds.
-- Banned and deleted creators are in it: this is what happened, not a ranking.
create macro reach(from_date, to_date) as table
-- Days before the first one with a row hold nothing. That one, not from_date, is the day into which sessions are
-- carried: a range may begin with a day that the zone left out.
with beginning as (
    select min(day) as first_day
    from creator_reach
    where day >= cast(from_date as date) and day < cast(to_date as date)
),

since as (
    select
        creator_reach.*,
        gap_days is null or gap_days > date_diff('day', first_day, day) as is_first_visit,
        day = first_day as is_first_day
    from creator_reach, beginning
    where day >= cast(from_date as date) and day < cast(to_date as date)
)

select
    creator_id,
    cast(coalesce(sum(viewers) filter (where is_signed_in and is_first_visit), 0) as bigint) as viewers,
    cast(coalesce(sum(viewers) filter (where not is_signed_in and is_first_visit), 0) as bigint) as anonymous_viewers,
    cast(sum(sessions_started) + sum(case when is_first_day then sessions_carried_in else 0 end) as bigint) as sessions,
    cast(sum(watched_milliseconds) // 1000 as bigint) as watched_seconds
from since
group by creator_id
having sum(sessions_started) + sum(case when is_first_day then sessions_carried_in else 0 end) > 0
union all
-- Never a row: an error where the snapshot cannot answer. It stands apart from the cube, so that nothing skips it.
select null as creator_id, null as viewers, null as anonymous_viewers, null as sessions, null as watched_seconds
from snapshot_facts
where
    case
        when cast(to_date as date) > cast(from_date as date)
            and cast(from_date as date) >= first_day and cast(to_date as date) <= end_day
            and date_diff('day', cast(from_date as date), cast(to_date as date)) <= max_window_days
            then false
        when cast(to_date as date) <= cast(from_date as date)
            then error('reach(from_date, to_date): to_date is exclusive and must be after from_date')
        when cast(from_date as date) < first_day or cast(to_date as date) > end_day
            then error(concat('reach(): this snapshot holds the days from ', first_day, ' to ', end_day, ' (exclusive)'))
        else error(concat('reach(): a range may hold at most ', max_window_days, ' days'))
    end
order by viewers desc, watched_seconds desc, creator_id;

-- The ranking of the `days` days before `as_of`, by the rules of creator_rankings.
create macro ranking(as_of, days) as table
select
    cast(row_number() over (order by viewers desc, watched_seconds desc, reach.creator_id) as integer) as position,
    cast(rank() over (order by viewers desc) as integer) as rank,
    reach.creator_id,
    viewers,
    anonymous_viewers,
    sessions,
    watched_seconds
from reach(cast(cast(as_of as date) - to_days(cast(days as integer)) as date), cast(as_of as date)) as reach
left join creators on reach.creator_id = creators.creator_id
where creators.status is null or creators.status not in ('banned', 'deleted')
order by position;
