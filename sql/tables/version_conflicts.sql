-- Count the versions of everything but sessions that only their content could put in order: the same age, the same
-- stage of a life cycle, other fields. Records of erased users count as never landed.
-- grain:   one row per entity that has any
-- keys:    entity
-- sources: creator_conflicts, live_stream_conflicts, lls_stream_conflicts
-- sources: pledge_conflicts, follow_conflicts, replay_rental_conflicts
-- sources: changed_pledges, changed_follows, changed_replay_rentals, live_streams
-- params:  none
with counted as (
    select entity, conflicts from creator_conflicts
    union all
    select entity, conflicts from live_stream_conflicts
    union all
    select entity, conflicts from lls_stream_conflicts
    union all
    select entity, conflicts from pledge_conflicts
    union all
    select entity, conflicts from follow_conflicts
    union all
    select entity, conflicts from replay_rental_conflicts
    -- Of keys that have changed what they are now counts, and not what they were in the base.
    union all
    select
        'pledges' as entity,
        -- A record in another currency than its stream's is rejected, and no version: it is not lost twice.
        greatest(
            count(case
                when not changed_pledges.is_erased
                    and (changed_pledges.currency <> live_streams.currency) is not true then 1
            end) - 1, 0
        )
        - greatest(count(case when changed_pledges.is_in_base then 1 end) - 1, 0) as conflicts
    from changed_pledges
    left join live_streams on changed_pledges.stream_id = live_streams.stream_id
    group by changed_pledges.pledge_id, changed_pledges.updated_at, changed_pledges.status
    union all
    select
        'follows' as entity,
        greatest(count(case when not is_erased then 1 end) - 1, 0)
        - greatest(count(case when is_in_base then 1 end) - 1, 0) as conflicts
    from changed_follows
    group by user_id, creator_id, updated_at, deleted
    union all
    select
        'replay_rentals' as entity,
        greatest(count(case when not is_erased then 1 end) - 1, 0)
        - greatest(count(case when is_in_base then 1 end) - 1, 0) as conflicts
    from changed_replay_rentals
    group by user_id, stream_id, rented_at, updated_at
)

select
    entity, -- of the contract
    cast(sum(conflicts) as bigint) as conflicts -- versions beyond the first of their key, age and stage
from counted
group by entity
having sum(conflicts) > 0
