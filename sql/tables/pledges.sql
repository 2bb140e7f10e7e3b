-- Keep the newest version of every pledge to a stream that a changed pledge names, and say what of it was collected by
-- as_of: what the base says, but for what has changed. What is collected for all other streams is as in the base.
-- A record in another currency than its stream's is rejected here, since the stream may land after it: it is no
-- version. Nor is one of an erased user: it counts as never landed.
-- grain:   one row per pledge to a stream of which a pledge has changed
-- keys:    stream_id, pledge_id
-- sources: base_pledges, changed_pledges, live_streams
-- params:  as_of_instant (exclusive)
-- Of two versions of one age the later stage of a pledge's life is the newer; then the greater content.
with newest_first as (
    select
        changed_pledges.*,
        row_number() over (
            partition by changed_pledges.pledge_id
            order by
                changed_pledges.updated_at desc nulls last,
                case changed_pledges.status
                    when 'pending' then 0 when 'failed' then 1 when 'captured' then 2 else 3
                end desc,
                changed_pledges.user_id desc, changed_pledges.stream_id desc, changed_pledges.amount desc,
                changed_pledges.currency desc nulls last, changed_pledges.status desc,
                changed_pledges.captured_at desc nulls last, changed_pledges.refunded_at desc nulls last,
                changed_pledges.refunded_amount desc nulls last
        ) as age
    from changed_pledges
    left join live_streams on changed_pledges.stream_id = live_streams.stream_id
    where not changed_pledges.is_erased and (changed_pledges.currency <> live_streams.currency) is not true
),

judged as (
    select
        *,
        status in ('captured', 'refunded') and captured_at < $as_of_instant as is_captured,
        -- refunded without an amount is refunded in full; without an instant, from the beginning
        (refunded_at is null or refunded_at < $as_of_instant)
        and (status = 'refunded' or (status = 'captured' and refunded_amount is not null)) as is_refunded,
        coalesce(refunded_amount, amount) as amount_to_refund
    from newest_first
    where age = 1
),

current_pledges as (
    select
        stream_id, pledge_id, user_id, currency,
        case when is_captured then amount else 0 end as captured_amount,
        case when is_captured and is_refunded then amount_to_refund else 0 end as refunded_amount,
        is_captured is true and not (is_refunded and amount_to_refund >= amount) as is_backing
    from judged
    union all
    select
        base_pledges.stream_id, base_pledges.pledge_id, base_pledges.user_id, base_pledges.currency,
        base_pledges.captured_amount, base_pledges.refunded_amount, base_pledges.is_backing
    from base_pledges
    semi join changed_pledges as of_their_streams on base_pledges.stream_id = of_their_streams.stream_id
    anti join changed_pledges as themselves on base_pledges.pledge_id = themselves.pledge_id
)

select
    stream_id, -- for which stream
    pledge_id, -- the platform's id
    user_id,   -- who pledged
    currency,  -- null: the stream's
    cast(captured_amount as decimal(18, 2)) as captured_amount, -- by as_of
    cast(refunded_amount as decimal(18, 2)) as refunded_amount, -- by as_of
    is_backing -- captured, not all refunded
from current_pledges
