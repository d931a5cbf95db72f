-- The message ids that stand more than once in the batch, and the first sound event that asks for each.
-- grain: one message id
select key, min(ordinal) filter (where is_sound) as first_ordinal
from message_keys
group by key
having count(*) > 1
