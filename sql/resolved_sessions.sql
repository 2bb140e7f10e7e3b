-- Keep the newest version of every session of which there is more than one record.
-- A session whose newest version starts on another day is not a session of this day; session_moves names it.
-- grain:   one row per session, on the UTC day on which its newest version starts
-- keys:    day, source, session_id
-- sources: repeated_session_versions (of every part of the day), session_moves
-- params:  none
with versions as (
    select
        day, source, session_id, revision, deleted, ended_at, creator_id, started_at, viewer_id, device_id, stream_id,
        sum(landed_records) as landed_records
    from repeated_session_versions
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
),

-- The order of versions: the highest revision; then the greater content, in contract order with nulls lowest.
ordered as (
    select
        *,
        sum(landed_records) over (partition by day, source, session_id)               as all_records,
        count(*) over (partition by day, source, session_id)                          as versions,
        dense_rank() over (partition by day, source, session_id order by revision)    as revisions, -- up to its own
        row_number() over (
            partition by day, source, session_id
            order by
                revision desc, deleted desc, ended_at desc nulls last, creator_id desc, started_at desc,
                viewer_id desc nulls last, device_id desc nulls last, stream_id desc nulls last
        ) as age
    from versions
)

select
    newest.day                          as day,            -- UTC day on which the session starts
    newest.source                       as source,         -- as landed
    newest.session_id                   as session_id,     -- as landed
    newest.creator_id                   as creator_id,     -- the creator who was watched
    newest.viewer_id                    as viewer_id,      -- as landed
    newest.device_id                    as device_id,      -- as landed
    newest.stream_id                    as stream_id,      -- as landed
    newest.started_at                   as started_at,     -- UTC
    newest.ended_at                     as ended_at,       -- UTC; null: still open
    newest.revision                     as revision,       -- of the newest version
    newest.deleted                      as deleted,        -- whether it was retracted
    cast(newest.all_records as bigint)  as landed_records, -- accepted records of it on this day
    newest.versions                     as versions,       -- distinct ones among them
    newest.versions - newest.revisions  as conflicts       -- of those, beyond the first of their revision
from ordered as newest
anti join session_moves
    on newest.day = session_moves.day and newest.source = session_moves.source
    and newest.session_id = session_moves.session_id
where newest.age = 1
