-- Each event that can be routed, with the contract and the version that judge it.
-- grain: one event without a fault
select
    e.ordinal,
    c.contract,
    case when e.event_version is null then c.newest_version else v.version end as contract_version,
    e.properties,
    e.traits
from ingested_events as e
left join contracts as c
    on c.call = e.event_type and c.name = case when e.event_type = 'track' then e.event_name else e.event_type end
left join contract_versions as v
    on v.contract = c.contract and (v.version = e.event_version or v.version = 'v' || e.event_version)
where e.fault is null
