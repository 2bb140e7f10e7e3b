-- Find the sessions of a day of which there is more than one record: on the day itself, or on one of the revision_days
-- before it, from which a correction may have moved it.
-- grain:   one row per (later day, earlier day or the same, key)
-- keys:    day, session_key, earlier_day
-- batched: yes, by its reach: rows of a day meet those of the revision_days before it alone
-- sources: session_keys (of this day), earlier_session_keys (session_keys of the revision_days before it)
-- params:  revision_days
with repeated as (
    select distinct later.day, later.session_key, earlier.day as earlier_day
    from earlier_session_keys as earlier
    inner join session_keys as later on earlier.session_key = later.session_key
    where earlier.day >= later.day - $revision_days and earlier.day < later.day -- safeguard: repeats-within-their-reach
    union all
    select day, session_key, day as earlier_day
    from session_keys
    group by day, session_key
    having sum(landed_records) > 1
)

select
    day,         -- UTC day
    session_key, -- as in session_keys
    earlier_day  -- a UTC day that holds another record with the same key; `day` itself, or before it
from repeated
