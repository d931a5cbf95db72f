-- Events that keep their contract and whose messageId nobody had taken before.
-- grain: one accepted event
select
    e.ordinal,
    e.event_id,
    e.source,
    e.landed_at,
    v.contract,
    v.contract_version,
    e.event_type,
    e.event_name,
    e.message_id,
    e.user_id,
    e.anonymous_id,
    e.occurred_at,
    e.received_at,
    v.used_properties,
    v.measured
from event_verdicts as v
join ingested_events as e on e.ordinal = v.ordinal
anti join found_duplicates as d on d.ordinal = v.ordinal
where v.reason is null
