-- Say of every session whether it counts: those that landed once, as they landed, and the newest version of the others.
-- What landed for a day comes in parts, and the versions of repeated sessions are a part of their own: a late file leaves
-- the parts that landed before it as they are. Records of erased viewers count as never landed.
-- grain:   one row per session, on the UTC day on which it starts
-- keys:    day, source, session_id
-- stored:  no: it is held while its readers are built, and made again for the next ones
-- batched: yes: rows of a day meet those of that day alone
-- sources: raw_viewing_sessions, repeated_session_versions (of the same part), session_versions, erased_viewers
-- params:  min_watched_milliseconds (inclusive), max_session_milliseconds (inclusive), leave_out_own_views
with repeated as (
    select distinct day, source, session_id from repeated_session_versions
),

landed as (
    select cast(started_at as date) as day, * from raw_viewing_sessions
),

newest as (
    select
        landed.day, landed.source, landed.session_id, landed.creator_id, landed.viewer_id, landed.device_id,
        landed.stream_id, landed.started_at, landed.ended_at, landed.revision, landed.deleted
    from landed
    -- safeguard: erased-viewer-not-counted
    anti join erased_viewers on landed.day = erased_viewers.day and landed.viewer_id = erased_viewers.viewer_id
    anti join repeated  -- safeguard: session-counts-once
        on landed.day = repeated.day and landed.source = repeated.source and landed.session_id = repeated.session_id
    union all
    select
        day, source, session_id, creator_id, viewer_id, device_id, stream_id, started_at, ended_at, revision, deleted
    from session_versions
    where is_newest  -- safeguard: moved-session-leaves-its-day
),

-- An end that is not believed is no end: the session is open.
believed as (
    select
        * exclude (ended_at),
        case when epoch_ms(ended_at) - epoch_ms(started_at) <= $max_session_milliseconds then ended_at end as ended_at
    from newest
)

select
    day                                            as day,            -- UTC day on which the session starts
    source                                         as source,         -- as landed, '' when it names none
    session_id                                     as session_id,     -- as landed
    creator_id                                     as creator_id,     -- the creator who was watched
    viewer_id                                      as viewer_id,      -- signed-in viewer; null: anonymous
    device_id                                      as device_id,      -- the device, where it named one
    stream_id                                      as stream_id,      -- the stream, where it named one
    started_at                                     as started_at,     -- UTC
    ended_at                                       as ended_at,       -- UTC; null: still open, or an end not believed
    revision                                       as revision,       -- of the newest version
    case
        when deleted then 'deleted'  -- safeguard: deleted-session-retracted
        when $leave_out_own_views and viewer_id = creator_id then 'own_view'
        when coalesce(epoch_ms(ended_at) - epoch_ms(started_at), 0) < $min_watched_milliseconds then 'under_minimum'
        else 'counted'
    end                                            as outcome         -- what the policy says of it
from believed
