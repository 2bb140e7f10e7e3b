-- Name the sessions that are not counted on a day because their newest version starts on another day.
-- grain:   one row per (UTC day, session) that lost
-- keys:    day, source, session_id
-- sources: raw_viewing_sessions (of every day in session_repeats), session_repeats
-- params:  none
with versions as (
    select distinct
        cast(started_at as date) as day,
        source, session_id, revision, deleted, ended_at, creator_id, started_at, viewer_id, device_id, stream_id
    from raw_viewing_sessions
    where md5_number_lower(concat(source, '/', session_id)) in (select session_key from session_repeats)
),

landed as (
    select cast(started_at as date) as day, source, session_id, count(*) as landed_records
    from raw_viewing_sessions
    where md5_number_lower(concat(source, '/', session_id)) in (select session_key from session_repeats)
    group by 1, 2, 3
),

-- The order of versions is that of sessions.sql: a test compares the two.
ordered as (
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
    select source, session_id, day, revision
    from ordered
    where age = 1
),

losing_days as (
    select
        versions.day, versions.source, versions.session_id,
        newest.day                                                       as newest_day,
        count(*)                                                         as versions,
        sum(case when versions.revision = newest.revision then 1 else 0 end) as conflicts
    from versions
    inner join newest on versions.source = newest.source and versions.session_id = newest.session_id
    where versions.day <> newest.day
    group by 1, 2, 3, 4
)

select
    losing_days.day,                                         -- UTC day on which the session does not count
    losing_days.source,                                      -- as landed
    losing_days.session_id,                                  -- as landed
    losing_days.newest_day,                                  -- UTC day on which it does
    cast(landed.landed_records as bigint)  as landed_records, -- accepted records of it on this day
    cast(losing_days.versions as bigint)   as versions,      -- distinct ones among them
    cast(losing_days.conflicts as bigint)  as conflicts      -- versions with the newest revision and other content
from losing_days
inner join landed
    on losing_days.day = landed.day and losing_days.source = landed.source
    and losing_days.session_id = landed.session_id
