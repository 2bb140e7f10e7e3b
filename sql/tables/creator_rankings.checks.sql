-- check: positions of a window are 1..n with no gap   severity: fail
select window_days, min(position) as first_position, max(position) as last_position, count(*) as creators
from creator_rankings
group by window_days
having min(position) <> 1 or max(position) <> count(*) or count(distinct position) <> count(*)

-- check: a creator stands once in a window   severity: fail
select window_days, creator_id, count(*) as times
from creator_rankings
group by window_days, creator_id
having count(*) > 1

-- check: rank follows viewers   severity: fail
select window_days, creator_id, rank, position, viewers
from (
    select *, rank() over (partition by window_days order by viewers desc) as expected_rank
    from creator_rankings
)
where rank <> expected_rank or rank > position

-- check: figures are neither negative nor more than sessions allow   severity: fail
select window_days, creator_id, viewers, anonymous_viewers, sessions, watched_seconds
from creator_rankings
where viewers < 0 or anonymous_viewers < 0 or watched_seconds < 0 or sessions < 1
    or viewers + anonymous_viewers > sessions

-- check: banned and deleted creators are left out   severity: fail
select creator_rankings.window_days, creator_rankings.creator_id, creators.status
from creator_rankings
inner join creators on creator_rankings.creator_id = creators.creator_id
where creators.status in ('banned', 'deleted')

-- check: no creator is called as programs write null   severity: warn
select window_days, creator_id, viewers
from creator_rankings
where
    creator_id in (
        'null', 'NULL', 'Null', '(null)', '(NULL)', '[NULL]', '<null>', 'none', 'None', 'NONE', 'nil', 'nan', 'NaN',
        'n/a', 'N/A', '#N/A', 'undefined', '[object Object]'
    )
order by window_days, creator_id
