-- The verdict on every event before repeats are taken out: null reason means that its promise is kept.
-- grain: one event as received
select
    j.* exclude (violations, undeclared, barred, is_late),
    case when j.undeclared is null then j.violations else concat_ws(chr(10), j.violations, j.undeclared) end as violations,
    case
        when j.barred is not null then j.barred
        when j.violations is not null then 'contract_violation'
        when j.undeclared is not null then 'undeclared_property'
        when j.is_late then 'too_late'
    end as reason
from judged_events as j
union all
select
    u.* exclude (violations, undeclared, barred, is_late, fault) replace (c.contract as contract),
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
