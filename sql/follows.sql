-- Say who follows whom, as it was known at as_of.
-- grain:   one row per follow that stands
-- keys:    user_id, creator_id
-- sources: raw_follows, raw_erasures
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by user_id, creator_id
            order by updated_at desc nulls last, followed_at desc nulls last, deleted desc
        ) as age
    from raw_follows
    where updated_at is null or updated_at < $as_of_instant
)

select
    user_id,   -- who follows
    creator_id -- whom
from newest_first
anti join raw_erasures on newest_first.user_id = raw_erasures.user_id
where age = 1 and not deleted
