-- Shorten the identity of every session that landed for a day to 60 bits, so that others can ask cheaply whether
-- they have seen it as well. Two sessions may share a key (about 1 in 10^9 at 60 million sessions): a key only ever
-- narrows down where to look, never decides.
-- grain:   one row per (UTC day of the start, key) in a part of what landed
-- keys:    day, session_key
-- batched: yes: rows of a day meet those of that day alone
-- sources: raw_viewing_sessions
-- params:  none
select
    cast(started_at as date) as day, -- UTC day on which the session starts
    cast(concat('0x', substr(sha256(concat(source, '/', session_id)), 1, 15)) as bigint)
        as session_key, -- 60 bits of sha256 of (source, session_id)
    count(*) as landed_records -- accepted records of it in this part
from raw_viewing_sessions
group by 1, 2
