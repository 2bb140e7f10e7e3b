-- Name the viewers of a day whom an erasure asks to forget.
-- grain:   one row per (UTC day, viewer)
-- keys:    day, viewer_id
-- batched: yes: rows of a day meet those of that day alone
-- sources: raw_viewing_sessions, raw_erasures
-- params:  none
select distinct
    cast(started_at as date) as day,      -- UTC day on which a session of theirs starts
    viewer_id                as viewer_id -- a user_id of erasures
from raw_viewing_sessions
where viewer_id in (select user_id from raw_erasures)
