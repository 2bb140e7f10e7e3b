-- check: every stream has one row   severity: fail
select live_streams.stream_id, count(live_stream_funding.stream_id) as times
from live_streams
left join live_stream_funding on live_streams.stream_id = live_stream_funding.stream_id
group by live_streams.stream_id
having count(live_stream_funding.stream_id) <> 1

-- check: what was collected fits its column and is not negative   severity: fail
select stream_id, collected_funding, funding_percentage
from live_stream_funding
where collected_funding < 0 or collected_funding is null and (currency is not null or backers = 0)

-- check: the pledges of a stream without a currency are in one, or nothing is added up   severity: warn
select stream_id, collected_funding, backers
from live_stream_funding
where collected_funding is null and currency is null

-- check: there is a percentage exactly where there is a goal   severity: fail
select stream_id, funding_goal, collected_funding, funding_percentage
from live_stream_funding
where (funding_percentage is null) <> (coalesce(funding_goal, 0) = 0 or collected_funding is null)

-- check: nobody backs a stream for which nothing was collected   severity: warn
select stream_id, collected_funding, backers
from live_stream_funding
where backers > 0 and collected_funding = 0

-- check: what was collected is for streams that are known   severity: warn
with backed as (
    select stream_id, count(distinct user_id) as backers
    from pledges
    where is_backing
    group by stream_id
    union all
    select base_stream_funding.stream_id, base_stream_funding.backers
    from base_stream_funding
    anti join changed_pledges on base_stream_funding.stream_id = changed_pledges.stream_id
    where base_stream_funding.backers > 0
)

select backed.stream_id, backed.backers
from backed
anti join live_streams on backed.stream_id = live_streams.stream_id
order by backed.stream_id

-- check: a stream's status is spelled as the contract spells it   severity: warn
select stream_id, status
from live_streams
where status in ('Scheduled', 'SCHEDULED', 'Active', 'ACTIVE', 'Ended', 'ENDED')
order by stream_id
