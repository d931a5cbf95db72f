-- Message ids that stand more than once in the batch, or that an earlier batch has taken.
-- grain: one message id
select message_id
from event_verdicts
group by message_id
having count(*) > 1
union
select v.message_id
from event_verdicts as v
semi join taken_keys as t on t.key = left(to_base64(unhex(md5(v.message_id))), 22)
where (select count(*) from taken_keys) > 0
