-- Whether a touched profile may be messaged for a purpose over a channel, until when or why not, and what says so.
-- grain: one profile, purpose and channel that an audience or a workflow asks for
with required as (
    select r.profile_id, r.region, a.purpose, a.channel, q.required_purpose, q.valid_for_days
    from profile_regions as r
    cross join asked_purposes as a
    join consent_requirements as q on q.region = r.region and q.purpose = a.purpose
),
judged as (
    select
        r.profile_id, r.region, r.purpose, r.channel, r.required_purpose, c.record_id,
        case
            when c.status is null then 'consent_unknown'
            when c.status = 'denied' then 'consent_denied'
            when c.decided_at + r.valid_for_days * 86400000000 <= b.as_of_micros then 'consent_expired'
        end as reason,
        c.decided_at + r.valid_for_days * 86400000000 as expires_at
    from required as r
    cross join batch as b
    left join current_choices as c
        on c.profile_id = r.profile_id and c.purpose = r.required_purpose and c.channel = r.channel
)
select
    profile_id, region, purpose, channel,
    case
        when bool_or(reason = 'consent_denied') then 'consent_denied'
        when bool_or(reason = 'consent_unknown') then 'consent_unknown'
        when bool_or(reason = 'consent_expired') then 'consent_expired'
    end as reason,
    min(expires_at) as expires_at,
    list_sort(list(record_id) filter (where record_id is not null)) as records
from judged
group by profile_id, region, purpose, channel
