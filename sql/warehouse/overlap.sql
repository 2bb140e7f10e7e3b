-- How many viewers of a creator's day were there on the next day as well?
-- Viewers of both days are counted once in the range of both: so the overlap is the one day and the other, less the two
-- as a range. The same holds for any two ranges that touch, such as two weeks. Of days that lie apart no counts can tell.
select
    creator_id,
    monday.viewers                                              as monday,
    tuesday.viewers                                             as tuesday,
    either.viewers                                              as either,
    monday.viewers + tuesday.viewers - either.viewers           as both_days
from reach('2013-06-24', '2013-06-25') as monday
inner join reach('2013-06-25', '2013-06-26') as tuesday using (creator_id)
inner join reach('2013-06-24', '2013-06-26') as either using (creator_id)
order by either desc, creator_id
limit 8;
