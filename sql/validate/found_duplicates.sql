-- Events whose messageId was taken before: by an earlier batch inside the window, or by an earlier event of this batch.
-- grain: one repeated event
with keyed as (
    select v.ordinal, v.message_id, left(to_base64(unhex(md5(v.message_id))), 22) as key
    from event_verdicts as v
    where v.message_id in (select message_id from repeated_ids)
)
select
    k.ordinal,
    case when t.key is not null then 'in_window' else 'in_batch' end as cause
from keyed as k
left join taken_keys as t on t.key = k.key
left join claimed_keys as c on c.key = k.key
where t.key is not null or c.first_ordinal < k.ordinal
