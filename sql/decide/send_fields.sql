-- The declared fields of every message to be sent, as two JSON objects; a field that nobody filled is left out.
-- grain: one decision to send
with filled as (
    select
        d.send_key,
        f.target,
        f.field,
        case
            when f.section = 'properties' then json_extract(d.used_properties::json, f.path)
            else t.value::json
        end as value
    from send_decisions as d
    join workflow_fields as f on f.workflow_id = d.workflow_id
    left join current_traits as t on t.profile_id = d.profile_id and t.trait = f.name and f.section = 'traits'
    where d.outcome = 'send'
)
select
    send_key,
    coalesce(to_json(map(
        list(field order by field) filter (where target = 'data'),
        list(value order by field) filter (where target = 'data')
    ))::varchar, '{}') as data_fields,
    coalesce(to_json(map(
        list(field order by field) filter (where target = 'profile'),
        list(value order by field) filter (where target = 'profile')
    ))::varchar, '{}') as profile_fields
from filled
where value is not null and value::varchar <> 'null'
group by send_key
