-- Name the sessions that are not counted on a day because their newest version starts on another day.
-- grain:   one row per (UTC day, session) that lost
-- keys:    day, source, session_id
-- sources: repeated_session_versions (of this day and of those that share a session with it)
-- params:  none
with versions as (
    select
        day, source, session_id, revision, deleted, ended_at, creator_id, started_at, viewer_id, device_id, stream_id,
        sum(landed_records) as landed_records
    from repeated_session_versions
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
),

ordered as (
    -- The order of versions is that of resolved_sessions.sql: a test compares the two.
    select
        *,
        row_number() over (
            partition by source, session_id
            order by
                revision desc, deleted desc, ended_at desc nulls last, creator_id desc, started_at desc,
                viewer_id desc nulls last, device_id desc nulls last, stream_id desc nulls last
        ) as age
    from versions
),

newest as (
    select source, session_id, day
    from ordered
    where age = 1
),

-- The versions of a revision, those of the day on which the session counts before those of other days.
numbered as (
    select
        versions.*,
        newest.day as newest_day,
        row_number() over (
            partition by versions.source, versions.session_id, versions.revision
            order by case when versions.day = newest.day then 0 else 1 end, versions.day
        ) as number
    from versions
    inner join newest on versions.source = newest.source and versions.session_id = newest.session_id
)

select
    day                                                     as day,            -- UTC day on which it does not count
    source                                                  as source,         -- as landed
    session_id                                              as session_id,     -- as landed
    newest_day                                              as newest_day,     -- UTC day on which it does
    cast(sum(landed_records) as bigint)                     as landed_records, -- accepted records of it on this day
    count(*)                                                as versions,       -- distinct ones among them
    cast(sum(case when number > 1 then 1 else 0 end) as bigint)
        as conflicts -- of those, beyond the first of their revision on any day
from numbered
where day <> newest_day
group by 1, 2, 3, 4
