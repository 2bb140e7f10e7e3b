-- Say which user has funded which stream: with a captured pledge that is not refunded in full.
-- grain:   one row per (user, stream)
-- keys:    user_id, stream_id
-- sources: pledges
-- params:  none
select distinct
    user_id,  -- who funded
    stream_id -- which stream
from pledges
where is_backing
