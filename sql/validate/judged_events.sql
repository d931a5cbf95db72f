-- Every event that some version judges, with all violations of those that did not pass the quick test.
-- grain: one event as received
select t.* exclude (judge, is_sound), b.violations
from screened_events as t
left join broken_events as b on b.ordinal = t.ordinal
