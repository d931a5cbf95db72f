-- The message ids that the batch's sound events ask for, and the first event that asks for each.
-- grain: one message id of a sound event
select left(to_base64(unhex(md5(message_id))), 22) as key, min(ordinal) as first_ordinal
from event_verdicts
where reason is null
group by message_id
