-- Keep the newest version of every live stream that was known at as_of.
-- grain:   one row per stream
-- keys:    stream_id
-- sources: raw_live_streams
-- params:  as_of_instant (exclusive)
-- Of two versions of one age the later stage of a stream's life is the newer; then the greater content.
with newest_first as (
    select
        *,
        row_number() over (
            partition by stream_id
            order by
                updated_at desc nulls last,
                case status when 'scheduled' then 1 when 'active' then 2 when 'ended' then 3 else 0 end desc,
                creator_id desc nulls last, status desc nulls last,
                title desc nulls last, live_stream_type desc nulls last, channel_name desc nulls last,
                broadcasters desc nulls last, guests desc nulls last, thumbnail_url desc nulls last,
                recording desc nulls last, recording_url desc nulls last, access_type desc nulls last,
                price desc nulls last, interest desc nulls last, duration_goal desc nulls last,
                motivation desc nulls last, is_active_replay_on_creator_profile desc nulls last,
                replay_credit_price desc nulls last, started_at desc nulls last,
                planned_start_date desc nulls last, ended_at desc nulls last,
                planned_end_date desc nulls last, created_at desc nulls last,
                funding_goal desc nulls last, currency desc nulls last,
                mini_crowd_fundings desc nulls last
        ) as age
    from raw_live_streams
    where updated_at is null or updated_at < $as_of_instant
)

select
    stream_id,                           -- the platform's id
    creator_id,                          -- who holds it
    status,                              -- as landed, such as scheduled
    title,                               -- as landed
    live_stream_type,                    -- as landed, such as solo
    channel_name,                        -- as landed
    broadcasters,                        -- JSON array; who else is on air
    guests,                              -- JSON array; invited guests
    thumbnail_url,                       -- as landed
    recording,                           -- is it recorded?
    recording_url,                       -- where the recording is
    access_type,                         -- as landed, such as free
    price,                               -- of a ticket
    interest,                            -- as landed, such as music
    duration_goal,                       -- minutes
    motivation,                          -- what the creator says of it
    is_active_replay_on_creator_profile, -- as landed
    replay_credit_price,                 -- credits that a replay costs; null: cannot be rented
    started_at,                          -- UTC
    planned_start_date,                  -- UTC
    ended_at,                            -- UTC
    planned_end_date,                    -- UTC
    created_at,                          -- UTC
    updated_at,                          -- UTC; the version's age
    funding_goal,                        -- in currency; null or 0: no goal
    currency,                            -- of goal and pledges, such as TRY
    mini_crowd_fundings                  -- JSON array, as landed
from newest_first
where age = 1
