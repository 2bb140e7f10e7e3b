-- Keep the newest version of every replay rental by the base alone, erased users and all, as it was known at as_of.
-- grain:   one row per rental
-- keys:    user_id, stream_id, rented_at
-- sliced:  yes
-- sources: replay_rental_versions
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by user_id, stream_id, rented_at
            order by updated_at desc nulls last, expires_at desc, price desc nulls last
        ) as age
    from replay_rental_versions
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
