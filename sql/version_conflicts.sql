-- Count the versions of everything but sessions that only their content could put in order: the same age, other fields.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: raw_creators, raw_live_streams, raw_pledges, raw_follows, raw_replay_rentals, raw_lls_streams
-- params:  none
select
    'creators' as entity, -- of the contract
    cast(sum(versions - 1) as bigint) as conflicts -- versions beyond the first of their key and age
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
    group by stream_id, updated_at
)
having sum(versions - 1) > 0

union all

select 'pledges' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_pledges)
    group by pledge_id, updated_at
)
having sum(versions - 1) > 0

union all

select 'follows' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_follows)
    group by user_id, creator_id, updated_at
)
having sum(versions - 1) > 0

union all

select 'replay_rentals' as entity, cast(sum(versions - 1) as bigint) as conflicts
from (
    select count(*) as versions
    from (select distinct * exclude (line) from raw_replay_rentals)
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
