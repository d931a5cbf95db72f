-- The region each touched profile falls under; the default, which is the strictest, where no country is known.
-- grain: one profile
select
    p.profile_id,
    coalesce(max(c.region), max(d.region)) as region
from touched_profiles as p
left join current_traits as t on t.profile_id = p.profile_id and t.trait = '$country'
left join region_countries as c on c.country = json_extract_string(t.value::json, '$')
cross join default_region as d
group by p.profile_id
