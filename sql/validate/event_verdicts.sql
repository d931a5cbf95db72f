-- The verdict on every event before repeats are taken out: null reason means that its promise is kept.
-- grain: one event as received
select
    e.ordinal,
    e.message_id,
    r.contract,
    r.contract_version,
    case
        when e.fault is not null then e.fault
        when r.contract is null then 'unknown_event'
        when r.contract_version is null then 'unknown_version'
        when j.violations is not null then 'contract_violation'
    end as reason,
    j.violations,
    j.used_properties,
    j.measured
from ingested_events as e
left join routed_events as r on r.ordinal = e.ordinal
left join judged_events as j on j.ordinal = e.ordinal
