-- Name the versions of pledges in the base that are rejected: in another currency than their stream's.
-- grain:   one row per (pledge, user) with such a version
-- keys:    pledge_id, user_id
-- sources: pledge_versions, live_streams
-- params:  none
select
    pledge_versions.pledge_id                    as pledge_id, -- the platform's id
    pledge_versions.user_id                      as user_id,   -- who pledged
    cast(sum(pledge_versions.records) as bigint) as records    -- accepted when they were read
from pledge_versions
inner join live_streams on pledge_versions.stream_id = live_streams.stream_id
where pledge_versions.currency <> live_streams.currency
group by 1, 2
