-- Keep the newest version of every pledge and say what of it was collected by as_of.
-- A record in another currency than its stream's is rejected here, since the stream may land after it: it is no version.
-- grain:   one row per pledge
-- keys:    pledge_id
-- sources: raw_pledges, raw_erasures, live_streams
-- params:  as_of_instant (exclusive)
with newest_first as (
    select
        raw_pledges.*,
        row_number() over (
            partition by raw_pledges.pledge_id
            order by
                raw_pledges.updated_at desc nulls last, raw_pledges.user_id desc, raw_pledges.stream_id desc,
                raw_pledges.amount desc, raw_pledges.currency desc nulls last, raw_pledges.status desc,
                raw_pledges.captured_at desc nulls last, raw_pledges.refunded_at desc nulls last,
                raw_pledges.refunded_amount desc nulls last
        ) as age
    from raw_pledges
    left join live_streams on raw_pledges.stream_id = live_streams.stream_id
    where (raw_pledges.currency <> live_streams.currency) is not true
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
            when raw_erasures.user_id is not null then 'erased'
            when live_streams.stream_id is null then 'unknown_stream'
            when newest.is_captured is not true then 'not_captured'
            else 'counted'
        end as outcome
    from newest
    left join live_streams on newest.stream_id = live_streams.stream_id
    left join (select distinct user_id from raw_erasures) as raw_erasures on newest.user_id = raw_erasures.user_id
)

select
    pledge_id, -- the platform's id
    case when outcome = 'erased' then null else user_id end as user_id, -- who pledged; null: erased
    stream_id, -- for which stream
    outcome,   -- counted, or why not
    amount,    -- pledged
    currency,  -- null: the stream's
    cast(case when outcome = 'counted' then amount else 0 end as decimal(18, 2)) as captured_amount, -- by as_of
    cast(case when outcome = 'counted' and is_refunded then amount_to_refund else 0 end as decimal(18, 2))
        as refunded_amount, -- by as_of
    outcome = 'counted' and not (is_refunded and amount_to_refund >= amount) as is_backing -- captured, not all refunded
from judged
