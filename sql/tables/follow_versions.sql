-- Keep every version of a follow that landed in the base, each content once, however often it landed.
-- grain:   one row per distinct version in the base
-- keys:    user_id, creator_id, updated_at, deleted, followed_at
-- keyed:   by raw of the base: it is found without looking at the versions that it was folded from
-- sources: earlier_follow_versions (of less of the base), raw_follows (the rest of it)
-- params:  none
with versions as (
    select user_id, creator_id, updated_at, deleted, followed_at from earlier_follow_versions
    union
    select user_id, creator_id, updated_at, deleted, followed_at from raw_follows
)

select
    user_id,    -- who follows
    creator_id, -- whom
    updated_at, -- UTC; the version's age
    deleted,    -- no longer
    followed_at -- UTC
from versions
