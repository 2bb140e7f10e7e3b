-- Gather all versions of the replay rentals of which the base does not have the last word: something landed since, or
-- their user is erased.
-- grain:   one row per distinct version
-- keys:    user_id, stream_id, rented_at, updated_at, expires_at, price
-- sources: replay_rental_versions, raw_replay_rentals (what landed since), raw_erasures
-- params:  none
with landed_since as (
    select distinct user_id, stream_id, rented_at, updated_at, expires_at, price from raw_replay_rentals
),

changed as (
    select user_id, stream_id, rented_at from landed_since
    union
    select replay_rental_versions.user_id, replay_rental_versions.stream_id, replay_rental_versions.rented_at
    from replay_rental_versions
    semi join raw_erasures on replay_rental_versions.user_id = raw_erasures.user_id
),

versions as (
    select user_id, stream_id, rented_at, updated_at, expires_at, price, false as is_in_base from landed_since
    union all
    select
        replay_rental_versions.user_id, replay_rental_versions.stream_id, replay_rental_versions.rented_at,
        replay_rental_versions.updated_at, replay_rental_versions.expires_at, replay_rental_versions.price,
        true as is_in_base
    from replay_rental_versions
    semi join changed
        on replay_rental_versions.user_id = changed.user_id
        and replay_rental_versions.stream_id = changed.stream_id
        and replay_rental_versions.rented_at = changed.rented_at
),

erased as (
    select distinct user_id from raw_erasures
)

select
    versions.user_id                    as user_id,    -- who rents
    versions.stream_id                  as stream_id,  -- which stream's recording
    versions.rented_at                  as rented_at,  -- UTC
    versions.updated_at                 as updated_at, -- UTC; the version's age
    versions.expires_at                 as expires_at, -- UTC, exclusive
    versions.price                      as price,      -- in credits
    max(case when versions.is_in_base then 1 else 0 end) = 1 as is_in_base, -- the base has it
    count(erased.user_id) > 0 as is_erased -- it counts as never landed
from versions
left join erased on versions.user_id = erased.user_id
group by 1, 2, 3, 4, 5, 6
