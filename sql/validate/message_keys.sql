-- The 22 characters that stand for each event's messageId in state, and whether the event may take it.
-- grain: one event as received
select ordinal, left(to_base64(unhex(md5(message_id))), 22) as key, reason is null as is_sound
from event_verdicts
