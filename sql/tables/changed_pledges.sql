-- Gather all versions of the pledges of which the base does not have the last word: something landed since, a version
-- is rejected for its currency, or a user is erased.
-- grain:   one row per distinct version
-- keys:    pledge_id, updated_at, status, user_id, stream_id, amount, currency, captured_at, refunded_at, refunded_amount
-- sources: pledge_versions, base_rejected_pledges, raw_pledges (what landed since), raw_erasures
-- params:  none
with changed as (
    select pledge_id from raw_pledges
    union
    select pledge_id from base_rejected_pledges
    union
    select pledge_versions.pledge_id
    from pledge_versions
    semi join raw_erasures on pledge_versions.user_id = raw_erasures.user_id
),

versions as (
    select
        pledge_id, user_id, stream_id, amount, currency, status, captured_at, refunded_at, refunded_amount, updated_at,
        false as is_in_base
    from raw_pledges
    union all
    select
        pledge_versions.pledge_id, pledge_versions.user_id, pledge_versions.stream_id, pledge_versions.amount,
        pledge_versions.currency, pledge_versions.status, pledge_versions.captured_at, pledge_versions.refunded_at,
        pledge_versions.refunded_amount, pledge_versions.updated_at, true as is_in_base
    from pledge_versions
    semi join changed on pledge_versions.pledge_id = changed.pledge_id
),

erased as (
    select distinct user_id from raw_erasures
)

select
    versions.pledge_id                  as pledge_id,       -- the platform's id
    versions.user_id                    as user_id,         -- who pledged
    versions.stream_id                  as stream_id,       -- for which stream
    versions.amount                     as amount,          -- pledged
    versions.currency                   as currency,        -- null: the stream's
    versions.status                     as status,          -- pending, captured, refunded or failed
    versions.captured_at                as captured_at,     -- UTC
    versions.refunded_at                as refunded_at,     -- UTC
    versions.refunded_amount            as refunded_amount, -- null: not refunded, or in full
    versions.updated_at                 as updated_at,      -- UTC; the version's age
    max(case when versions.is_in_base then 1 else 0 end) = 1 as is_in_base, -- the base has it
    count(erased.user_id) > 0 as is_erased -- it counts as never landed
from versions
left join erased on versions.user_id = erased.user_id
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
