-- Events that keep their contract and whose messageId nobody had taken before.
-- grain: one accepted event
select v.* exclude (reason, violations)
from event_verdicts as v
anti join found_duplicates as d on d.ordinal = v.ordinal
where v.reason is null
