-- Calls in lines of traffic, with who spoke and what the call says; a line that is no JSON object says nothing.
-- grain: one call
with read as (
    select
        ordinal,
        json_transform(line, '{"type": "VARCHAR", "event": "VARCHAR", "userId": "VARCHAR", "anonymousId": "VARCHAR",
            "properties": "JSON", "traits": "JSON"}') as e
    from traffic_lines
    where json_valid(line) and starts_with(ltrim(line), '{')
),
named as (
    select
        ordinal,
        e.type as call,
        case when e.type = 'track' then e.event else e.type end as event_name,
        coalesce(e."userId", e."anonymousId") as speaker,
        case when e.type in ('identify', 'group') then e.traits else e.properties end as said
    from read
    where e.type in ('identify', 'track', 'page', 'screen', 'group', 'alias')
)
select
    ordinal,
    call,
    event_name,
    speaker,
    case when starts_with(said, '{') then said else '{}' end as said
from named
where event_name is not null and event_name <> ''
