-- Count the versions of profiles that only their content could put in order: the same age, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: raw_creators
-- params:  none
select
    'creators' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key and age
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_creators)
    group by creator_id, updated_at
)
having sum(versions - 1) > 0
