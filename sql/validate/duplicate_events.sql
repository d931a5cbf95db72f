-- Events whose messageId was taken before.
-- grain: one repeated event
select e.ordinal, e.event_id, e.source, e.message_id, d.cause
from found_duplicates as d
join ingested_events as e on e.ordinal = d.ordinal
