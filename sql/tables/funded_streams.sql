-- Say which user has funded which stream: with a captured pledge that is not refunded in full.
-- grain:   one row per (user, stream)
-- keys:    user_id, stream_id
-- sources: base_funded_streams, changed_pledges, pledges, live_streams
-- params:  none
with funded as (
    select base_funded_streams.user_id, base_funded_streams.stream_id
    from base_funded_streams
    anti join changed_pledges on base_funded_streams.stream_id = changed_pledges.stream_id
    union all
    select distinct user_id, stream_id
    from pledges
    where is_backing
)

select
    funded.user_id   as user_id,  -- who funded
    funded.stream_id as stream_id -- which stream
from funded
semi join live_streams on funded.stream_id = live_streams.stream_id
