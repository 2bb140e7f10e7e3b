-- Find the sessions of some days that an earlier day holds as well: a correction put them on another day.
-- grain:   one row per (later day, earlier day, key)
-- keys:    day, session_key, earlier_day
-- sources: session_keys (of these days and every earlier one), days
-- params:  none
with these_days as (
    select session_keys.day, session_keys.session_key
    from session_keys
    inner join days on session_keys.day = days.day
)

select distinct
    later.day         as day,         -- UTC day
    later.session_key as session_key, -- as in session_keys
    earlier.day       as earlier_day  -- an earlier UTC day that holds the same key
from session_keys as earlier
inner join these_days as later
    on earlier.session_key = later.session_key and earlier.day < later.day
