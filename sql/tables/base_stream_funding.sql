-- Add up what was collected for each stream by the base alone. Pledges to one stream may be in several currencies
-- where the stream names none: nothing is added up over those.
-- grain:   one row per stream that a pledge of the base names
-- keys:    stream_id
-- sources: base_pledges
-- params:  none
select
    stream_id,                                                                      -- the platform's id
    case
        when count(distinct case when captured_amount > refunded_amount then currency end) <= 1
            then cast(sum(captured_amount) - sum(refunded_amount) as decimal(38, 2))
    end                                                    as collected_funding,    -- null: several currencies
    cast(count(distinct case when is_backing then user_id end) as bigint) as backers -- users with a pledge not all refunded
from base_pledges
group by stream_id
