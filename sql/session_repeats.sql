-- Find the sessions of some days that an earlier day holds as well: a correction put them on another day.
-- grain:   one row per (later day, earlier day, key)
-- keys:    day, session_key, earlier_day
-- sources: session_keys (of these days), earlier_session_keys (session_keys of every earlier day)
-- params:  none
select distinct
    later.day         as day,         -- UTC day
    later.session_key as session_key, -- as in session_keys
    earlier.day       as earlier_day  -- an earlier UTC day that holds the same key
from earlier_session_keys as earlier
inner join session_keys as later
    on earlier.session_key = later.session_key and earlier.day < later.day
