-- Count the versions of replay rentals in the base that only their content could put in order: the same age, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: replay_rental_versions
-- params:  none
select
    'replay_rentals' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key and age
from (
    select count(*) as versions
    from replay_rental_versions
    group by user_id, stream_id, rented_at, updated_at
)
having sum(versions - 1) > 0
