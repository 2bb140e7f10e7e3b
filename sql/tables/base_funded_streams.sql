-- Say which user has funded which stream by the base alone.
-- grain:   one row per (user, stream)
-- keys:    user_id, stream_id
-- sources: base_pledges
-- params:  none
select distinct
    user_id,  -- who funded
    stream_id -- which stream
from base_pledges
where is_backing
