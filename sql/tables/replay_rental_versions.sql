-- Keep every version of a replay rental that landed in the base, each content once, however often it landed.
-- grain:   one row per distinct version in the base
-- keys:    user_id, stream_id, rented_at, updated_at, expires_at, price
-- keyed:   by raw of the base: it is found without looking at the versions that it was folded from
-- sources: earlier_replay_rental_versions (of less of the base), raw_replay_rentals (the rest of it)
-- params:  none
with versions as (
    select user_id, stream_id, rented_at, updated_at, expires_at, price from earlier_replay_rental_versions
    union
    select user_id, stream_id, rented_at, updated_at, expires_at, price from raw_replay_rentals
)

select
    user_id,    -- who rents
    stream_id,  -- which stream's recording
    rented_at,  -- UTC
    updated_at, -- UTC; the version's age
    expires_at, -- UTC, exclusive
    price       -- in credits
from versions
