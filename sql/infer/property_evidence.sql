-- How often each property is there and what it looks like; of an event's properties the most frequent ones.
-- grain: one property of one event
select
    call,
    event_name,
    property,
    count(leaf) as present,
    count(*) filter (where leaf is null) as nulls,
    count(text) as texts,
    count(*) filter (where leaf >= '-' and leaf < ':') as numbers,
    count(*) filter (where number = trunc(number) and abs(number) <= $max_integer) as integers,
    count(*) filter (where leaf in ('true', 'false')) as booleans,
    count(*) filter (where starts_with(leaf, '{')) as objects,
    count(*) filter (where starts_with(leaf, '[')) as arrays,
    count(*) filter (where regexp_full_match(text, $instant_pattern)) as timestamps,
    count(*) filter (where regexp_full_match(text, $date_pattern)) as dates,
    count(*) filter (where regexp_full_match(text, $email_pattern)) as emails,
    count(*) filter (where regexp_full_match(text, $uuid_pattern)) as uuids,
    count(*) filter (where regexp_full_match(text, $uri_pattern) and contains(text, '://')) as uris,
    count(*) filter (where regexp_full_match(text, $phone_pattern)) as phones,
    count(*) filter (where regexp_full_match(text, $country_pattern)) as countries,
    count(*) filter (where regexp_full_match(text, $currency_pattern)) as currencies,
    count(*) filter (where regexp_full_match(text, $personal_pattern)) as personal_texts,
    min(number) as least,
    max(number) as greatest,
    max(length(text)) as longest,
    approx_count_distinct(text) as different_texts
from observed_values
group by call, event_name, property
qualify row_number() over (partition by call, event_name order by count(*) desc, property) <= $most_properties
