-- The verdict on every event before repeats are taken out: null reason means that its promise is kept.
-- grain: one event as received
select
    e.ordinal,
    e.message_id,
    coalesce(j.contract, c.contract) as contract,
    j.contract_version,
    case
        when e.fault is not null then e.fault
        when j.ordinal is null and c.contract is null then 'unknown_event'
        when j.ordinal is null then 'unknown_version'
        when j.violations is not null then 'contract_violation'
    end as reason,
    j.violations,
    j.used_properties,
    j.measured
from ingested_events as e
left join judged_events as j on j.ordinal = e.ordinal
left join contracts as c
    on j.ordinal is null and e.fault is null and c.call = e.event_type
    and c.name = case when e.event_type = 'track' then e.event_name else e.event_type end
