-- Events whose messageId was taken before.
-- grain: one repeated event
select v.ordinal, v.event_id, v.source, v.message_id, d.cause
from found_duplicates as d
join event_verdicts as v on v.ordinal = d.ordinal
