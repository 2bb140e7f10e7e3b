-- Add up the ranking of each window: its sessions are those that the funnel calls ranked.
-- grain:   one row per window with a creator in it
-- keys:    window_days
-- sources: creator_rankings, creators
-- params:  none
select
    creator_rankings.window_days                                as window_days,     -- length of the window in days
    cast(count(*) as bigint)                                    as creators,        -- how many are ranked
    cast(sum(creator_rankings.sessions) as bigint)              as sessions,        -- of all of them
    cast(sum(case when creators.creator_id is null then 1 else 0 end) as bigint)
        as unknown_creators -- of those ranked, without a profile
from creator_rankings
left join creators on creator_rankings.creator_id = creators.creator_id
group by creator_rankings.window_days
