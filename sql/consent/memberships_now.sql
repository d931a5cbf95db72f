-- Where each touched profile stands in each audience after the batch: it satisfies the rule and consent is granted.
-- grain: one audience and touched profile
select
    a.audience_id,
    p.profile_id,
    m.profile_id is not null and v.reason is null as is_member,
    m.profile_id is not null as is_match,
    v.reason as consent_reason,
    v.expires_at as consent_expires_at,
    v.region,
    v.records,
    m.measured,
    m.review_day,
    coalesce(w.was_member, false) as was_member,
    coalesce(w.was_member_itself, false) as was_member_itself,
    case
        when m.profile_id is not null and v.reason is null and not coalesce(w.was_member, false)
            then coalesce(w.entry_no, 0) + 1
        else coalesce(w.entry_no, 0)
    end as entry_no,
    case when coalesce(w.was_member, false) then w.entry_key else p.first_key end as entry_key
from touched_profiles as p
cross join audiences as a
join consent_verdicts as v on v.profile_id = p.profile_id and v.purpose = a.purpose and v.channel = a.channel
left join audience_matches as m on m.audience_id = a.audience_id and m.profile_id = p.profile_id
left join memberships_before as w on w.audience_id = a.audience_id and w.profile_id = p.profile_id
