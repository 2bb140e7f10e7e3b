-- Count the versions of follows in the base that only their content could put in order: the same age, the same
-- stage of a life cycle, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: follow_versions
-- params:  none
select
    'follows' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key, age and stage
from (
    select count(*) as versions
    from follow_versions
    group by user_id, creator_id, updated_at, deleted
)
having sum(versions - 1) > 0
