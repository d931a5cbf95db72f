-- What asks for a message: an event that a workflow waits for, or an entry into its audience.
-- grain: one workflow and trigger
with triggered as (
    select
        w.workflow_id,
        r.profile_id,
        r.unresolved_reason,
        'message:' || v.message_id as trigger,
        'message:' || v.message_id as competes_on,
        v.event_id as trigger_event_id,
        v.contract || '/' || v.contract_version as trigger_contract,
        v.occurred_at as triggered_at,
        v.landed_at,
        v.is_state_only,
        v.used_properties
    from workflows as w
    join validated_events as v on v.contract = w.trigger_contract
    join resolved_events as r on r.ordinal = v.ordinal
    where not exists (
        select 1
        from workflow_conditions as c
        where c.workflow_id = w.workflow_id
            and coalesce(json_extract(v.used_properties::json, c.path)::varchar, 'null') <> c.value
    )
    union all
    select
        w.workflow_id,
        a.profile_id,
        null,
        'entry:' || lower(hex(a.entry_key)) || ':' || a.entry_no,
        'entry:' || a.audience_id || ':' || lower(hex(a.entry_key)) || ':' || a.entry_no,
        '',
        '',
        b.as_of,
        b.landed_at,
        false,
        null
    from workflows as w
    join audience_memberships as a on a.audience_id = w.audience_id and a.change = 'entered'
    cross join batch as b
    where w.trigger_contract is null
)
select
    substr(sha256(workflow_id || chr(31) || trigger), 1, 40) as send_key,
    substr(sha256(b.batch_id || chr(31) || workflow_id || chr(31) || trigger), 1, 40) as decision_id,
    t.*
from triggered as t
cross join batch as b
