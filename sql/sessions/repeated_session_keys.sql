-- List, for every part of a day, the sessions of which there is another record anywhere: the other end of
-- session_repeats as well. A part that has none of them rests on nothing that lands elsewhere.
-- grain:   one row per (UTC day, key) in a part of what landed
-- keys:    day, session_key
-- batched: yes: rows of a day meet those of that day alone
-- sources: session_keys, session_repeats
-- params:  none
with both_ends as (
    select day, session_key from session_repeats
    union
    select earlier_day as day, session_key from session_repeats
)

select
    session_keys.day,        -- UTC day that holds the key
    session_keys.session_key -- as in session_keys; there is another record of it
from session_keys
semi join both_ends on session_keys.day = both_ends.day and session_keys.session_key = both_ends.session_key
