-- Count the versions of pledges in the base that only their content could put in order: the same age, the same
-- stage of a life cycle, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: pledge_versions
-- params:  none
select
    'pledges' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key, age and stage
from (
    select count(*) as versions
    from pledge_versions
    group by pledge_id, updated_at, status
)
having sum(versions - 1) > 0
