-- Keep the newest profile of every creator that was known at as_of.
-- grain:   one row per creator
-- keys:    creator_id
-- sources: raw_creators
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by creator_id
            order by
                updated_at desc nulls last, username desc nulls last, name desc nulls last,
                surname desc nulls last, availability_status desc nulls last,
                profile_photo_id desc nulls last, profile_photo_url desc nulls last,
                profile_photo_type desc nulls last, profile_photo_variants desc nulls last,
                profile_photo_created_at desc nulls last, profile_photo_updated_at desc nulls last,
                expertise desc nulls last, status desc nulls last
        ) as age
    from raw_creators
    where updated_at is null or updated_at < $as_of_instant
)

select
    creator_id,               -- the platform's id
    username,                 -- handle
    name,                     -- given name
    surname,                  -- family name
    availability_status,      -- as landed, such as available
    profile_photo_id,         -- id of the profile photo; null: none
    profile_photo_url,        -- where the photo is
    profile_photo_type,       -- as landed, such as image
    profile_photo_variants,   -- JSON object from size to address
    profile_photo_created_at, -- UTC
    profile_photo_updated_at, -- UTC
    expertise,                -- as landed, such as Photography
    status,                   -- active, banned or deleted; null: not said, active
    updated_at                -- UTC; the version's age
from newest_first
where age = 1
