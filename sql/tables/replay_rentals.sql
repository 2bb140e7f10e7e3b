-- Keep the newest version of every replay rental that was known at as_of. Records of an erased user count as never
-- landed.
-- grain:   one row per rental
-- keys:    user_id, stream_id, rented_at
-- sources: raw_replay_rentals, raw_erasures
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by user_id, stream_id, rented_at
            order by updated_at desc nulls last, expires_at desc, price desc nulls last
        ) as age
    from raw_replay_rentals
    anti join raw_erasures on raw_replay_rentals.user_id = raw_erasures.user_id
    where updated_at is null or updated_at < $as_of_instant
)

select
    user_id,    -- who rents
    stream_id,  -- which stream's recording
    rented_at,  -- UTC
    expires_at, -- UTC, exclusive
    price       -- in credits
from newest_first
where age = 1
