-- Keep the newest version of every stream of the List Streams API that was known at as_of.
-- grain:   one row per stream
-- keys:    stream_id
-- sources: raw_lls_streams
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        *,
        row_number() over (
            partition by stream_id
            order by
                coalesce(updated_at, created_at) desc,
                domain desc, app desc, stream desc, created_at desc, updated_at desc nulls last,
                latest_streaming_at desc nulls last, status desc
        ) as age
    from raw_lls_streams
    where coalesce(updated_at, created_at) < $as_of_instant
)

select
    stream_id,           -- the platform's id
    domain,              -- as landed
    app,                 -- as landed
    stream,              -- name of the stream
    created_at,          -- UTC
    updated_at,          -- UTC; null: never
    latest_streaming_at, -- UTC; null: never on air
    status               -- active or banned
from newest_first
where age = 1
