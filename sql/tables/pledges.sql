-- Keep the newest version of every pledge and say what of it was collected by as_of.
-- A record in another currency than its stream's is rejected here, since the stream may land after it: it is no
-- version. Nor is one of an erased user: it counts as never landed.
-- grain:   one row per pledge
-- keys:    pledge_id
-- sources: raw_pledges, raw_erasures, live_streams
-- params:  as_of_instant (exclusive)
with landed as (
    select
        raw_pledges.*,
        case raw_pledges.status when 'pending' then 0 when 'failed' then 1 when 'captured' then 2 else 3 end as stage
    from raw_pledges
    anti join raw_erasures on raw_pledges.user_id = raw_erasures.user_id
),

-- Of two versions of one age the later stage of a pledge's life is the newer; then the greater content.
newest_first as (
    select
        landed.*,
        row_number() over (
            partition by landed.pledge_id
            order by
                landed.updated_at desc nulls last, landed.stage desc, landed.user_id desc, landed.stream_id desc,
                landed.amount desc, landed.currency desc nulls last, landed.status desc,
                landed.captured_at desc nulls last, landed.refunded_at desc nulls last,
                landed.refunded_amount desc nulls last
        ) as age
    from landed
    left join live_streams on landed.stream_id = live_streams.stream_id
    where (landed.currency <> live_streams.currency) is not true
),

newest as (
    select
        newest_first.*,
        status in ('captured', 'refunded') and captured_at < $as_of_instant as is_captured,
        -- refunded without an amount is refunded in full; without an instant, from the beginning
        (refunded_at is null or refunded_at < $as_of_instant)
        and (status = 'refunded' or (status = 'captured' and refunded_amount is not null)) as is_refunded,
        coalesce(refunded_amount, amount) as amount_to_refund
    from newest_first
    where age = 1
),

judged as (
    select
        newest.*,
        case
            when live_streams.stream_id is null then 'unknown_stream'
            when newest.is_captured is not true then 'not_captured'
            else 'counted'
        end as outcome
    from newest
    left join live_streams on newest.stream_id = live_streams.stream_id
)

select
    pledge_id, -- the platform's id
    user_id,   -- who pledged
    stream_id, -- for which stream
    outcome,   -- counted, or why not
    amount,    -- pledged
    currency,  -- null: the stream's
    cast(case when outcome = 'counted' then amount else 0 end as decimal(18, 2)) as captured_amount, -- by as_of
    cast(case when outcome = 'counted' and is_refunded then amount_to_refund else 0 end as decimal(18, 2))
        as refunded_amount, -- by as_of
    outcome = 'counted' and not (is_refunded and amount_to_refund >= amount) as is_backing -- captured, not all refunded
from judged
