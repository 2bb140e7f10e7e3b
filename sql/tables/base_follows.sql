-- Say who follows whom by the base alone, erased users and all, as it was known at as_of.
-- grain:   one row per follow that stands
-- keys:    user_id, creator_id
-- sliced:  yes
-- sources: follow_versions
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by user_id, creator_id
            order by updated_at desc nulls last, deleted desc, followed_at desc nulls last
        ) as age
    from follow_versions
    where updated_at is null or updated_at < $as_of_instant
)

select
    user_id,   -- who follows
    creator_id -- whom
from newest_first
where age = 1 and not deleted
