-- Members whose consent was not granted at the instant of the snapshot.
-- grain: one offending membership
select a.audience_id, a.profile_id, a.change
from audience_memberships as a
join audiences as u on u.audience_id = a.audience_id
join consent_verdicts as v on v.profile_id = a.profile_id and v.purpose = u.purpose and v.channel = u.channel
where a.change <> 'exited' and (v.reason is not null or not a.consent_checked)
