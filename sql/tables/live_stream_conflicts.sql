-- Count the versions of live streams that only their content could put in order: the same age, the same
-- stage of a life cycle, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: raw_live_streams
-- params:  none
select
    'live_streams' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key, age and stage
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_live_streams)
    group by
        stream_id, updated_at,
        case status when 'scheduled' then 1 when 'active' then 2 when 'ended' then 3 else 0 end
)
having sum(versions - 1) > 0
