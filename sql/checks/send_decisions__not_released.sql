-- Candidates decided as sends for somebody who is no consented member of the workflow's audience at this snapshot.
-- grain: one offending decision
select d.decision_id
from send_decisions as d
left join memberships_now as n on n.audience_id = d.audience_id and n.profile_id = d.profile_id
where d.outcome = 'send' and not coalesce(n.is_member, false)
