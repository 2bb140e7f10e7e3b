-- Work out how far each stream has come: what was collected by as_of, and the share of its goal.
-- Where a stream names no currency its pledges may be in several: nothing is added up over those.
-- grain:   one row per stream, without pledges too
-- keys:    stream_id
-- sources: live_streams, base_stream_funding, changed_pledges, pledges
-- params:  none
with collected as (
    select
        stream_id,
        case
            when count(distinct case when captured_amount > refunded_amount then currency end) <= 1
                then cast(sum(captured_amount) - sum(refunded_amount) as decimal(38, 2))
        end                                                   as collected_funding,
        count(distinct case when is_backing then user_id end) as backers
    from pledges
    group by stream_id
    union all
    select base_stream_funding.stream_id, base_stream_funding.collected_funding, base_stream_funding.backers
    from base_stream_funding
    anti join changed_pledges on base_stream_funding.stream_id = changed_pledges.stream_id
),

funded as (
    select
        live_streams.*,
        case when collected.stream_id is null then 0 else collected.collected_funding end as collected_funding,
        coalesce(collected.backers, 0) as backers
    from live_streams
    left join collected on live_streams.stream_id = collected.stream_id
)

select
    stream_id,                                                              -- the platform's id
    creator_id,                                                             -- who holds the stream
    cast(funding_goal as decimal(18, 2))          as funding_goal,          -- in currency; null or 0: no goal
    -- A sum that has no place in the column is -1, which no check lets pass.
    coalesce(
        try_cast(collected_funding as decimal(18, 2)),
        case when collected_funding is not null then cast(-1 as decimal(18, 2)) end
    )                                             as collected_funding,     -- captured - refunded; null: several currencies
    currency,                                                               -- such as TRY
    -- In whole cents, so that rounding down is exact; not capped at 100.
    try_cast(
        cast(collected_funding * 100 as hugeint) * 100 // cast(nullif(funding_goal, 0) * 100 as hugeint) as bigint
    )                                             as funding_percentage,    -- whole, rounded down; null: no goal or no sum
    cast(backers as bigint)                       as backers                -- users with a pledge not refunded in full
from funded
