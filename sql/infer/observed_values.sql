-- What the sampled calls say, property by property; `leaf` is the value as JSON text, null where null was said.
-- grain: one property of one call
with said as (
    select call, event_name, speaker, unnest(map_entries(from_json(said, '"MAP(VARCHAR, JSON)"'))) as entry
    from sampled_events
),
leaves as (
    select call, event_name, speaker, entry.key as property, entry.value::varchar as leaf
    from said
)
select
    call,
    event_name,
    speaker,
    property,
    leaf,
    case when starts_with(leaf, '"') then leaf::json->>'$' end as text,
    case when leaf >= '-' and leaf < ':' then try_cast(leaf as double) end as number
from leaves
