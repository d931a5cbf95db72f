-- Objects inside the values of one level, and in its arrays, named by the event and the path that leads to them.
-- grain: one object
with items as (
    select call, event_name, speaker, property, unnest(from_json(leaf, '["JSON"]')) as item
    from observed_values
    where starts_with(leaf, '[')
)
select call, event_name || chr(31) || property as event_name, speaker, leaf as said
from observed_values
where starts_with(leaf, '{')
union all
select call, event_name || chr(31) || property || '[]' as event_name, speaker, item::varchar as said
from items
where starts_with(item::varchar, '{')
