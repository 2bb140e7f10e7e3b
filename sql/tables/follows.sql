-- Say who follows whom, as it was known at as_of: what the base says, but for what has changed since. Records of an
-- erased user count as never landed.
-- grain:   one row per follow that stands
-- keys:    user_id, creator_id
-- sliced:  yes
-- sources: base_follows, changed_follows
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by user_id, creator_id
            order by updated_at desc nulls last, deleted desc, followed_at desc nulls last
        ) as age
    from changed_follows
    where not is_erased and (updated_at is null or updated_at < $as_of_instant) -- safeguard: erased-versions-do-not-count
),

current_follows as (
    select base_follows.user_id, base_follows.creator_id
    from base_follows
    anti join changed_follows -- safeguard: changed-keys-are-not-of-the-base
        on base_follows.user_id = changed_follows.user_id and base_follows.creator_id = changed_follows.creator_id
    union all
    select user_id, creator_id from newest_first where age = 1 and not deleted
)

select
    user_id,   -- who follows
    creator_id -- whom
from current_follows
