-- Count the versions of streams of the List Streams API that only their content could put in order: the same age, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: raw_lls_streams
-- params:  none
select
    'lls_streams' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key and age
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_lls_streams)
    group by stream_id, coalesce(updated_at, created_at)
)
having sum(versions - 1) > 0
