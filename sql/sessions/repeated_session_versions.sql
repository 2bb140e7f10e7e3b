-- Gather the versions that a part of a day holds of sessions of which there is more than one record.
-- Records of erased viewers count as never landed: they are no versions.
-- grain:   one row per (UTC day, distinct version) in a part of what landed
-- keys:    day, source, session_id, revision, deleted, ended_at, creator_id, started_at, viewer_id, device_id, stream_id
-- batched: yes: rows of a day meet those of that day alone
-- sources: raw_viewing_sessions, repeated_session_keys, erased_viewers
-- params:  none
select
    repeated_session_keys.day,        -- UTC day on which the version starts
    landed.source,                    -- as landed
    landed.session_id,                -- as landed
    landed.revision,                  -- as landed
    landed.deleted,                   -- as landed
    landed.ended_at,                  -- UTC
    landed.creator_id,                -- as landed
    landed.started_at,                -- UTC
    landed.viewer_id,                 -- as landed
    landed.device_id,                 -- as landed
    landed.stream_id,                 -- as landed
    count(*) as landed_records        -- accepted records of it in this part
from raw_viewing_sessions as landed
inner join repeated_session_keys
    on cast(concat('0x', substr(sha256(concat(landed.source, '/', landed.session_id)), 1, 15)) as bigint)
    = repeated_session_keys.session_key
    and cast(landed.started_at as date) = repeated_session_keys.day
anti join erased_viewers
    on cast(landed.started_at as date) = erased_viewers.day and landed.viewer_id = erased_viewers.viewer_id
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
