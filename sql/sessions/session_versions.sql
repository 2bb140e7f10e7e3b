-- Say of every version of a session of which there is more than one record whether it is the newest.
-- Records of one session start at most revision_days apart: what starts farther away is another session. So this day
-- rests on the days within that reach alone, and a version counts unless a newer one lies within it, wherever that starts.
-- grain:   one row per distinct version that starts on this day
-- keys:    day, source, session_id, revision, deleted, ended_at, creator_id, started_at, viewer_id, device_id, stream_id
-- sources: repeated_session_versions (of this day, and of the days that share a session with it), days (this one)
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
        row_number() over (
            partition by source, session_id  -- safeguard: sources-apart
            order by
                revision desc, deleted desc, ended_at desc nulls last, creator_id desc, started_at desc,
                viewer_id desc nulls last, device_id desc nulls last, stream_id desc nulls last
        ) as age,
        row_number() over (
            partition by source, session_id, revision
            order by
                deleted desc, ended_at desc nulls last, creator_id desc, started_at desc,
                viewer_id desc nulls last, device_id desc nulls last, stream_id desc nulls last
        ) as age_in_revision
    from versions
),

-- Of another creator, start, viewer or device than the version that won is another viewing, which is lost; of the same,
-- as where an open session lands again closed, nothing is. Nor where it was retracted, or a later revision settled it.
judged as (
    select
        *,
        min(age_in_revision) over (
            partition by source, session_id, revision, creator_id, started_at, viewer_id, device_id
        ) > 1
        and max(case when deleted then 1 else 0 end) over (partition by source, session_id, revision) = 0
        and revision = max(revision) over (partition by source, session_id) as is_lost
    from ordered
)

select
    judged.day                             as day,            -- UTC day on which the version starts
    judged.source                          as source,         -- as landed
    judged.session_id                      as session_id,     -- as landed
    judged.revision                        as revision,       -- as landed
    judged.deleted                         as deleted,        -- as landed
    judged.ended_at                        as ended_at,       -- UTC; as landed
    judged.creator_id                      as creator_id,     -- as landed
    judged.started_at                      as started_at,     -- UTC
    judged.viewer_id                       as viewer_id,      -- as landed
    judged.device_id                       as device_id,      -- as landed
    judged.stream_id                       as stream_id,      -- as landed
    cast(judged.landed_records as bigint)  as landed_records, -- accepted records of it
    judged.age = 1                         as is_newest,      -- no newer version lies within reach
    judged.age_in_revision > 1             as is_conflict,    -- one of the same revision does, of greater content
    judged.is_lost                         as is_lost         -- and it is of another creator, start, viewer or device
from judged
inner join days on judged.day = days.day
