-- On which days of the week do people watch?
-- The averages of eight weeks. Viewers are those of a creator on a day: somebody who watches two creators is two.
with days as (
    select
        day,
        sum(viewers) filter (where is_signed_in)                as viewers,
        sum(viewers) filter (where is_signed_in and gap_days is null) as new_viewers,
        sum(sessions_started)                                   as sessions,
        sum(watched_milliseconds) / 3600000.0                   as hours
    from creator_reach, snapshot_facts
    where day >= end_day - 56
    group by day
)

select
    dayname(day)                                                as weekday,
    count(*)                                                    as days,
    round(avg(viewers), 1)                                      as viewers,
    round(100.0 * sum(new_viewers) / sum(viewers), 1)           as percent_new,
    round(avg(sessions), 1)                                     as sessions,
    round(sum(hours) / sum(sessions), 2)                        as hours_a_session
from days
group by isodow(day), dayname(day)
order by isodow(day);
