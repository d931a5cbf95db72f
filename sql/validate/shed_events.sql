-- Events that the collector shed: all that is left of them is a line that says so.
-- grain: one shed event
select v.ordinal, v.event_id, v.source, v.message_id, v.reason, v.event_type, v.event_name, c.contract
from event_verdicts as v
left join contracts as c
    on c.call = v.event_type and c.name = case when v.event_type = 'track' then v.event_name else v.event_type end
where v.reason in ('shed_overload', 'shed_rate_limit')
