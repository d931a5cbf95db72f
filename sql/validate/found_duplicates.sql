-- Events whose messageId was taken before: by an earlier batch inside the window, or by an earlier event of this batch.
-- grain: one repeated event
select
    m.ordinal,
    case when t.key is not null then 'in_window' else 'in_batch' end as cause
from message_keys as m
left join taken_keys as t on t.key = m.key
left join repeated_keys as r on r.key = m.key
where t.key is not null or r.first_ordinal < m.ordinal
