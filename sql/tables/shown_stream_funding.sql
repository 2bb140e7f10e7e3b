-- Leave out the money of streams with fewer than min_cell backers: of one it is what that person gave.
-- grain:   one row per stream
-- keys:    stream_id
-- sources: live_stream_funding
-- params:  min_cell (the least number of people)
select
    stream_id                                                               as stream_id,          -- the platform's id
    creator_id                                                              as creator_id,         -- who holds the stream
    funding_goal                                                            as funding_goal,       -- in currency
    case when backers = 0 or backers >= $min_cell then collected_funding end  as collected_funding, -- null: of too few
    currency                                                                as currency,           -- such as TRY
    case when backers = 0 or backers >= $min_cell then funding_percentage end as funding_percentage, -- null: as well
    case when backers >= $min_cell then backers else 0 end                  as backers             -- 0: none, or fewer
from live_stream_funding
