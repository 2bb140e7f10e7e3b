-- Count the versions of everything but sessions that only their content could put in order: the same age, the same
-- stage of a life cycle, other fields. Records of erased users count as never landed.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: raw_creators, raw_live_streams, raw_pledges, raw_follows, raw_replay_rentals, raw_lls_streams, raw_erasures
-- params:  none
select
    'creators' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key, age and stage
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_creators)
    group by creator_id, updated_at
)
having sum(versions - 1) > 0

union all

select 'live_streams' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_live_streams)
    group by
        stream_id, updated_at,
        case status when 'scheduled' then 1 when 'active' then 2 when 'ended' then 3 else 0 end
)
having sum(versions - 1) > 0

union all

select 'pledges' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (
        select distinct * exclude (line)
        from raw_pledges
        anti join raw_erasures on raw_pledges.user_id = raw_erasures.user_id
    )
    group by pledge_id, updated_at, status
)
having sum(versions - 1) > 0

union all

select 'follows' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (
        select distinct * exclude (line)
        from raw_follows
        anti join raw_erasures on raw_follows.user_id = raw_erasures.user_id
    )
    group by user_id, creator_id, updated_at, deleted
)
having sum(versions - 1) > 0

union all

select 'replay_rentals' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (
        select distinct * exclude (line)
        from raw_replay_rentals
        anti join raw_erasures on raw_replay_rentals.user_id = raw_erasures.user_id
    )
    group by user_id, stream_id, rented_at, updated_at
)
having sum(versions - 1) > 0

union all

select 'lls_streams' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_lls_streams)
    group by stream_id, coalesce(updated_at, created_at)
)
having sum(versions - 1) > 0
