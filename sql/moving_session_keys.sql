-- List, for every day, the sessions of which another day holds a version too: the other end of session_repeats as well.
-- grain:   one row per (UTC day, key)
-- keys:    day, session_key
-- sources: session_repeats
-- params:  none
with both_ends as (
    select day, session_key from session_repeats
    union all
    select earlier_day as day, session_key from session_repeats
)

select distinct
    day,        -- UTC day that holds the key
    session_key -- as in session_keys; another day holds it too
from both_ends
