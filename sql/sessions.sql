-- Say of every session whether it counts: those that landed once, as they landed, and the newest version of the others.
-- What landed for a day comes in parts, and its resolved sessions are a part of their own: a late file leaves the
-- parts that landed before it as they are.
-- grain:   one row per session, on the UTC day on which its newest version starts
-- keys:    day, source, session_id
-- stored:  no: it is held while its readers are built, and made again for the next ones
-- sources: raw_viewing_sessions, repeated_session_versions (of the same part), resolved_sessions, erased_viewers
-- params:  min_watched_milliseconds (inclusive), max_session_milliseconds (inclusive), leave_out_own_views
with repeated as (
    select distinct day, source, session_id from repeated_session_versions
),

newest as (
    select
        cast(landed.started_at as date) as day, landed.source, landed.session_id, landed.creator_id, landed.viewer_id,
        landed.device_id, landed.stream_id, landed.started_at, landed.ended_at, landed.revision, landed.deleted,
        1 as landed_records, 1 as versions, 0 as conflicts
    from raw_viewing_sessions as landed
    anti join repeated
        on cast(landed.started_at as date) = repeated.day and landed.source = repeated.source
        and landed.session_id = repeated.session_id
    union all
    select
        day, source, session_id, creator_id, viewer_id, device_id, stream_id, started_at, ended_at, revision, deleted,
        landed_records, versions, conflicts
    from resolved_sessions
),

judged as (
    select
        newest.*,
        erased_viewers.viewer_id is not null                    as erased,
        epoch_ms(newest.ended_at) - epoch_ms(newest.started_at) as milliseconds -- null while open
    from newest
    left join erased_viewers on newest.day = erased_viewers.day and newest.viewer_id = erased_viewers.viewer_id
)

select
    day                                            as day,            -- UTC day on which the session starts
    source                                         as source,         -- as landed, '' when it names none
    session_id                                     as session_id,     -- as landed
    creator_id                                     as creator_id,     -- the creator who was watched
    case when erased then null else viewer_id end  as viewer_id,      -- signed-in viewer; null: anonymous or erased
    case when erased then null else device_id end  as device_id,      -- the device, where it named one
    stream_id                                      as stream_id,      -- the stream, where it named one
    started_at                                     as started_at,     -- UTC
    ended_at                                       as ended_at,       -- UTC; null: still open
    revision                                       as revision,       -- of the newest version
    case
        when deleted then 'deleted'
        when erased then 'erased'
        when $leave_out_own_views and viewer_id = creator_id then 'own_view'
        when coalesce(milliseconds, 0) < $min_watched_milliseconds then 'under_minimum'
        when milliseconds > $max_session_milliseconds then 'too_long'
        else 'counted'
    end                                            as outcome,        -- what the policy says of it
    cast(landed_records as bigint)                 as landed_records, -- accepted records of it on this day
    cast(versions as bigint)                       as versions,       -- distinct ones among them
    cast(conflicts as bigint)                      as conflicts       -- of those, beyond the first of their revision
from judged
