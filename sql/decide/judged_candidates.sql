-- Each candidate with the first reason to refuse it that has nothing to do with other candidates.
-- grain: one candidate
select
    c.*,
    w.version as workflow_version,
    w.audience_id,
    w.purpose,
    w.channel,
    w.priority,
    w.destination,
    w.endpoint,
    w.subject,
    w.reentry_seconds,
    w.expires_after_micros,
    k.value as profile_key,
    v.region,
    v.records,
    n.measured,
    n.entry_no,
    case
        when c.is_state_only then 'too_late'
        when c.profile_id is null then coalesce(c.unresolved_reason, 'no_profile')
        when k.value is null then 'no_profile_key'
        when s.profile_id is not null then 'suppressed'
        when v.reason is not null then v.reason
        when not coalesce(n.is_member, false) then 'not_in_audience'
        when epoch_us(c.triggered_at) + w.expires_after_micros <= b.as_of_micros then 'too_old'
        when d.send_key is not null then 'already_decided'
    end as reason
from candidates as c
join workflows as w on w.workflow_id = c.workflow_id
cross join batch as b
left join consent_verdicts as v on v.profile_id = c.profile_id and v.purpose = w.purpose and v.channel = w.channel
left join memberships_now as n on n.audience_id = w.audience_id and n.profile_id = c.profile_id
left join profile_keys as k on k.profile_id = c.profile_id and k.kind = w.profile_key
left join decided_keys as d on d.send_key = c.send_key
left join (
    select distinct m.profile_id, s.channel
    from known_suppressions as s
    join cluster_members as m on m.member = s.profile_id
) as s on s.profile_id = c.profile_id and s.channel in ('*', w.channel)
qualify row_number() over (partition by c.send_key order by c.trigger_event_id, s.channel) = 1
