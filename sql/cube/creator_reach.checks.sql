-- check: no row stands twice   severity: fail
select day, creator_id, is_signed_in, gap_days, count(*) as times
from creator_reach
group by day, creator_id, is_signed_in, gap_days
having count(*) > 1

-- check: counts are not negative and a gap is at least a day   severity: fail
select *
from creator_reach
where viewers < 0 or sessions_started < 0 or sessions_carried_in < 0 or watched_milliseconds < 0 or gap_days < 1
    or viewers > sessions_started + sessions_carried_in
