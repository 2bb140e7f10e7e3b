-- Count the pledges that are rejected after they were read, since their stream may land after them.
-- grain:   one row per reason that there is
-- keys:    reason
-- sources: raw_pledges, raw_erasures, live_streams
-- params:  none
select
    'not the currency of the stream' as reason,  -- as `mostwatched rejects` names it
    cast(count(*) as bigint)         as records  -- accepted when they were read
from raw_pledges
anti join raw_erasures on raw_pledges.user_id = raw_erasures.user_id
inner join live_streams on raw_pledges.stream_id = live_streams.stream_id
where raw_pledges.currency <> live_streams.currency
having count(*) > 0
