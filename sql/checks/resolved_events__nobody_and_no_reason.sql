-- Accepted events that have neither a profile nor a reason for having none, or that resolving lost.
-- grain: one offending event
select v.event_id
from validated_events as v
left join resolved_events as r on r.ordinal = v.ordinal
where r.ordinal is null or (r.profile_id is null) = (r.unresolved_reason is null)
