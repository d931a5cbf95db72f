-- Every entry, exit and renewal that the batch brings, with what was measured and the consent that was found.
-- grain: one audience and profile that changed
with changed as (
    select
        n.*,
        case
            when n.is_member and not n.was_member then 'entered'
            when n.was_member and not n.is_member then 'exited'
            when n.is_member and (not n.was_member_itself or d.profile_id is not null) then 'kept'
        end as change
    from memberships_now as n
    left join due_profiles as d on d.profile_id = n.profile_id
)
select
    c.audience_id || ':' || c.profile_id || ':' || b.batch_id as change_id,
    c.audience_id,
    c.profile_id,
    c.change,
    c.entry_no,
    c.entry_key,
    case when c.is_member then least(c.review_day * 86400000000, c.consent_expires_at) end as review_at,
    b.as_of as validated_at,
    c.consent_reason is null as consent_checked,
    to_json({
        'is_match': c.is_match, 'measured': c.measured::json, 'region': c.region, 'consent': c.consent_reason,
        'records': c.records
    })::varchar as evidence
from changed as c
cross join batch as b
where c.change is not null
