-- The 22 characters that stand for each event's messageId in state, and whether the event may take it; not of shed ones.
-- grain: one event that was not shed
select ordinal, left(to_base64(unhex(md5(message_id))), 22) as key, reason is null as is_sound
from event_verdicts
where reason is null or reason not in ('shed_overload', 'shed_rate_limit')
