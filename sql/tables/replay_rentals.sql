-- Keep the newest version of every replay rental that was known at as_of: what the base says, but for what has changed
-- since. Records of an erased user count as never landed.
-- grain:   one row per rental
-- keys:    user_id, stream_id, rented_at
-- sliced:  yes
-- sources: base_replay_rentals, changed_replay_rentals
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by user_id, stream_id, rented_at
            order by updated_at desc nulls last, expires_at desc, price desc nulls last
        ) as age
    from changed_replay_rentals
    where not is_erased and (updated_at is null or updated_at < $as_of_instant)
),

current_rentals as (
    select
        base_replay_rentals.user_id, base_replay_rentals.stream_id, base_replay_rentals.rented_at,
        base_replay_rentals.expires_at, base_replay_rentals.price
    from base_replay_rentals
    anti join changed_replay_rentals
        on base_replay_rentals.user_id = changed_replay_rentals.user_id
        and base_replay_rentals.stream_id = changed_replay_rentals.stream_id
        and base_replay_rentals.rented_at = changed_replay_rentals.rented_at
    union all
    select user_id, stream_id, rented_at, expires_at, price from newest_first where age = 1
)

select
    user_id,    -- who rents
    stream_id,  -- which stream's recording
    rented_at,  -- UTC
    expires_at, -- UTC, exclusive
    price       -- in credits
from current_rentals
