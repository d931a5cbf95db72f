-- Items of the arrays of one level, each as the only key of an object, named by the event and the path of its array.
-- grain: one item
with items as (
    select call, event_name, speaker, property, unnest(from_json(leaf, '["JSON"]')) as item
    from observed_values
    where starts_with(leaf, '[')
)
select
    call,
    event_name || chr(31) || property || '[]' as event_name,
    speaker,
    '{"item":' || coalesce(item::varchar, 'null') || '}' as said
from items
