-- Keep the newest version of every pledge by the base alone, erased users, other currencies and all, and say what of it
-- was collected by as_of.
-- grain:   one row per pledge
-- keys:    stream_id, pledge_id
-- sources: pledge_versions
-- params:  as_of_instant (exclusive)
-- Of two versions of one age the later stage of a pledge's life is the newer; then the greater content.
with newest_first as (
    select
        *,
        row_number() over (
            partition by pledge_id
            order by
                updated_at desc nulls last,
                case status when 'pending' then 0 when 'failed' then 1 when 'captured' then 2 else 3 end desc,
                user_id desc, stream_id desc, amount desc, currency desc nulls last, status desc,
                captured_at desc nulls last, refunded_at desc nulls last, refunded_amount desc nulls last
        ) as age
    from pledge_versions
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
)

select
    stream_id, -- for which stream
    pledge_id, -- the platform's id
    user_id,   -- who pledged
    currency,  -- null: the stream's
    cast(case when is_captured then amount else 0 end as decimal(18, 2)) as captured_amount, -- by as_of
    cast(case when is_captured and is_refunded then amount_to_refund else 0 end as decimal(18, 2))
        as refunded_amount, -- by as_of
    is_captured is true and not (is_refunded and amount_to_refund >= amount) as is_backing -- captured, not all refunded
from judged
