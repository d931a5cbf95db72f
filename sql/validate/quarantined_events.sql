-- Events that wait for repair: the reason, every violation, who answers for them, and the bytes as received.
-- grain: one refused event
with payloads as (
    select ordinal, payload
    from landed_payloads
    where ordinal in (select ordinal from event_verdicts where reason is not null)
)
select
    v.ordinal,
    v.event_id,
    v.source,
    v.reason,
    list_sort(string_split(v.violations, chr(10))) as violations,
    v.contract,
    v.contract_version,
    coalesce(case when v.reason = 'envelope_violation' then (select owner from envelope_owners) else c.owner end, o.owner)
        as owner,
    v.event_type,
    v.event_name,
    v.message_id,
    v.received_at,
    coalesce(f.line, encode(p.payload)) as payload
from event_verdicts as v
left join payloads as p on p.ordinal = v.ordinal
anti join found_duplicates as d on d.ordinal = v.ordinal
left join contracts as c on c.contract = v.contract
left join failure_owners as o on o.reason = v.reason
left join line_faults as f on f.segment_no * 4294967296 + f.line_no = v.ordinal
where v.reason is not null and v.reason not in ('shed_overload', 'shed_rate_limit')
