-- The message ids that the batch's sound events ask for, and the first event that asks for each.
-- grain: one message id of a sound event
select unhex(md5(message_id)) as key, min(ordinal) as first_ordinal
from event_verdicts
where reason is null
group by message_id
