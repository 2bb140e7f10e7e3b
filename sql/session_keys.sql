-- Shorten the identity of every session that landed for a day to 64 bits, so that later days can ask cheaply
-- whether they have seen it before. Two sessions may share a key (about 1 in 10^10 at 60 million sessions): a key
-- only ever narrows down where to look, never decides.
-- grain:   one row per (UTC day of the start, key)
-- keys:    day, session_key
-- sources: raw_viewing_sessions
-- params:  none
select distinct
    cast(started_at as date)                          as day,         -- UTC day on which the session starts
    md5_number_lower(concat(source, '/', session_id)) as session_key  -- 64 bits of md5 of (source, session_id)
from raw_viewing_sessions
