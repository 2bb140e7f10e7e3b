-- How many viewers come back to a creator, and how soon?
-- A row of creator_reach with gap_days = g says that these viewers had last been there g days before. Seen from that
-- earlier day their next visit came after exactly g days, so nobody of a day is counted twice. Asked are the days of the
-- last 30 that all have had a week to come back, over all creators: somebody who watches two is two viewers.
with asked as (
    select end_day - 30 as first_day, end_day - 7 as last_day -- exclusive
    from snapshot_facts
),

audience as (
    select sum(viewers) as viewer_days
    from creator_reach, asked
    where is_signed_in and day >= first_day and day < last_day
),

returns as (
    select gap_days, sum(viewers) as viewers
    from creator_reach, asked
    where is_signed_in and gap_days <= 7
        and day - cast(gap_days as integer) >= first_day and day - cast(gap_days as integer) < last_day
    group by gap_days
)

select
    gap_days                                                    as days_later,
    cast(viewers as bigint)                                     as viewers,
    round(100.0 * viewers / viewer_days, 1)                     as percent,
    round(100.0 * sum(viewers) over (order by gap_days) / viewer_days, 1) as percent_by_then
from returns, audience
order by days_later;
