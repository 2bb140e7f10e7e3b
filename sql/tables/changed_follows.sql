-- Gather all versions of the follows of which the base does not have the last word: something landed since, or their
-- user is erased.
-- grain:   one row per distinct version
-- keys:    user_id, creator_id, updated_at, deleted, followed_at
-- sources: follow_versions, raw_follows (what landed since), raw_erasures
-- params:  none
with landed_since as (
    select distinct user_id, creator_id, updated_at, deleted, followed_at from raw_follows
),

changed as (
    select user_id, creator_id from landed_since
    union
    select follow_versions.user_id, follow_versions.creator_id
    from follow_versions
    -- safeguard: erased-keys-are-worked-out-again
    semi join raw_erasures on follow_versions.user_id = raw_erasures.user_id
),

versions as (
    select user_id, creator_id, updated_at, deleted, followed_at, false as is_in_base from landed_since
    union all
    select
        follow_versions.user_id, follow_versions.creator_id, follow_versions.updated_at, follow_versions.deleted,
        follow_versions.followed_at, true as is_in_base
    from follow_versions
    semi join changed
        on follow_versions.user_id = changed.user_id and follow_versions.creator_id = changed.creator_id
),

erased as (
    select distinct user_id from raw_erasures
)

select
    versions.user_id                    as user_id,     -- who follows
    versions.creator_id                 as creator_id,  -- whom
    versions.updated_at                 as updated_at,  -- UTC; the version's age
    versions.deleted                    as deleted,     -- no longer
    versions.followed_at                as followed_at, -- UTC
    max(case when versions.is_in_base then 1 else 0 end) = 1 as is_in_base, -- the base has it
    count(erased.user_id) > 0 as is_erased -- it counts as never landed
from versions
left join erased on versions.user_id = erased.user_id
group by 1, 2, 3, 4, 5
