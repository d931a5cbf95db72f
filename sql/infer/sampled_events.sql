-- At most so many calls of each event, spread over the traffic and the same ones each time.
-- grain: one call
select call, event_name, speaker, said
from observed_events
qualify row_number() over (partition by call, event_name order by md5(ordinal::varchar), ordinal) <= $sample
