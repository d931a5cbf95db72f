-- The verdict on every event before repeats are taken out: null reason means that its promise is kept.
-- grain: one event as received
select
    j.* exclude (violations),
    j.violations,
    case when j.violations is not null then 'contract_violation' end as reason
from judged_events as j
union all
select
    u.* exclude (violations, fault) replace (c.contract as contract),
    u.violations,
    case
        when u.fault is not null then u.fault
        when c.contract is null then 'unknown_event'
        else 'unknown_version'
    end as reason
from unjudged_events as u
left join contracts as c
    on u.fault is null and c.call = u.event_type
    and c.name = case when u.event_type = 'track' then u.event_name else u.event_type end
