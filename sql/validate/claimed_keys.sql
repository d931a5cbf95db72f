-- The message ids that the batch's sound events ask for, each once.
-- grain: one message id of a sound event
select m.key
from message_keys as m
anti join repeated_keys as r on r.key = m.key
where m.is_sound
union all
select key
from repeated_keys
where first_ordinal is not null
