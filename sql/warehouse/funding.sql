-- Do creators who reach more people reach their funding goals?
-- Creators with a goal, in four groups of one size by their reach in the 30 days; banned and deleted ones are in none.
with goals as (
    select creator_id, count(*) as streams, count(*) filter (where funding_percentage >= 100) as reached,
        sum(backers) as backers, avg(funding_percentage) as percentage
    from live_stream_funding
    where funding_goal > 0
    group by creator_id
),

grouped as (
    select ntile(4) over (order by position) as quarter, ranked.viewers, goals.*
    from ranking('2013-07-01', 30) as ranked
    inner join goals using (creator_id)
)

select
    quarter,
    count(*)                                                    as creators,
    cast(min(viewers) as varchar) || ' to ' || max(viewers)     as viewers,
    cast(sum(streams) as bigint)                                as streams,
    cast(sum(reached) as bigint)                                as goals_reached,
    cast(sum(backers) as bigint)                                as backers,
    round(avg(percentage), 0)                                   as average_percentage
from grouped
group by quarter
order by quarter;
