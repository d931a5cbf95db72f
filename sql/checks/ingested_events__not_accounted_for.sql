-- Events as received that are in none, or in several, of accepted, quarantined, duplicate and shed.
-- grain: one offending event
with places as (
    select ordinal from validated_events
    union all
    select ordinal from quarantined_events
    union all
    select ordinal from duplicate_events
    union all
    select ordinal from shed_events
),
counted as (
    select ordinal, count(*) as place_count
    from places
    group by ordinal
)
select e.event_id
from ingested_events as e
left join counted as c on c.ordinal = e.ordinal
where coalesce(c.place_count, 0) <> 1
