-- Count the pledges that are rejected after they were read, since their stream may land after them.
-- grain:   one row per reason that there is
-- keys:    reason
-- sources: base_rejected_pledges, raw_pledges (what landed since the base), raw_erasures, live_streams
-- params:  none
with rejected as (
    select user_id, records from base_rejected_pledges
    union all
    select raw_pledges.user_id, cast(1 as bigint) as records
    from raw_pledges
    inner join live_streams on raw_pledges.stream_id = live_streams.stream_id
    where raw_pledges.currency <> live_streams.currency
)

select
    'not the currency of the stream' as reason,  -- as `mostwatched rejects` names it
    cast(sum(records) as bigint)     as records  -- accepted when they were read
from rejected
anti join raw_erasures on rejected.user_id = raw_erasures.user_id
having sum(records) > 0
