-- Keep every version of a pledge that landed in the base, each content once, and how often it landed.
-- grain:   one row per distinct version in the base
-- keys:    pledge_id, updated_at, status, user_id, stream_id, amount, currency, captured_at, refunded_at, refunded_amount
-- keyed:   by raw of the base: it is found without looking at the versions that it was folded from
-- sources: earlier_pledge_versions (of less of the base), raw_pledges (the rest of it)
-- params:  none
with versions as (
    select
        pledge_id, user_id, stream_id, amount, currency, status, captured_at, refunded_at, refunded_amount, updated_at,
        records
    from earlier_pledge_versions
    union all
    select
        pledge_id, user_id, stream_id, amount, currency, status, captured_at, refunded_at, refunded_amount, updated_at,
        cast(1 as bigint) as records
    from raw_pledges
)

select
    pledge_id,                                -- the platform's id
    user_id,                                  -- who pledged
    stream_id,                                -- for which stream
    amount,                                   -- pledged
    currency,                                 -- null: the stream's
    status,                                   -- pending, captured, refunded or failed
    captured_at,                              -- UTC
    refunded_at,                              -- UTC
    refunded_amount,                          -- null: not refunded, or in full
    updated_at,                               -- UTC; the version's age
    cast(sum(records) as bigint) as records   -- accepted records that say exactly this
from versions
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
