-- The texts of properties that take few different ones, with how often they occur and how many people say them.
-- grain: one text of one property of one event
with few as (
    select call, event_name, property
    from property_evidence
    where different_texts between 1 and $most_texts
)
select v.call, v.event_name, v.property, v.text, count(*) as events, count(distinct v.speaker) as speakers
from observed_values as v
semi join few as f on v.call = f.call and v.event_name = f.event_name and v.property = f.property
where v.text is not null
group by v.call, v.event_name, v.property, v.text
