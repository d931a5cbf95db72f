-- The verdict on every event before repeats are taken out: null reason means that its promise is kept.
-- grain: one event as received
with judged as (
    select
        j.* exclude (violations, undeclared),
        nullif(concat_ws(chr(10), j.violations, j.undeclared, b.violations), '') as violations,
        case
            when j.barred is not null then j.barred
            when j.violations is not null then 'contract_violation'
            when b.violations is not null then 'envelope_violation'
            when j.undeclared is not null then 'undeclared_property'
            when j.is_late then 'too_late'
        end as reason
    from judged_events as j
    left join envelope_breaches as b on b.ordinal = j.ordinal
),
others as (
    select
        u.* exclude (violations, fault, is_kept)
            replace (case when c.contract is null and u.is_kept then 'unknown_event' else c.contract end as contract),
        b.violations,
        case
            when u.fault is not null then u.fault
            when c.contract is not null then 'unknown_version'
            when not u.is_kept then 'unknown_event'
            when b.violations is not null then 'envelope_violation'
        end as reason
    from unjudged_events as u
    left join envelope_breaches as b on b.ordinal = u.ordinal
    left join contracts as c
        on u.fault is null and c.call = u.event_type
        and c.name = case when u.event_type = 'track' then u.event_name else u.event_type end
)
select * exclude (barred, is_late)
from judged
union all by name
select * exclude (undeclared, barred, is_late)
from others
