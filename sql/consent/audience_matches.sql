-- Which touched profiles satisfy all conditions of an audience, what was measured, and when time alone may change it.
-- grain: one audience and profile that satisfies it
with measured as (
    select
        c.audience_id, c.condition_no, m.profile_id,
        least(greatest(
            sum(case when c.is_sum then a.total_millionths else a.event_count * 1000000 end),
            -9000000000000000000), 9000000000000000000)::bigint as amount,
        min(a.day + c.within_days) as review_day
    from audience_conditions as c
    cross join batch as b
    join known_activity as a on a.measure = c.measure and (c.within_days is null or a.day > b.today - c.within_days)
    join cluster_members as m on m.member = a.profile_id
    where c.kind = 'measure'
    group by c.audience_id, c.condition_no, m.profile_id
),
satisfied as (
    select m.audience_id, m.condition_no, m.profile_id, m.amount, m.review_day
    from measured as m
    join audience_conditions as c on c.audience_id = m.audience_id and c.condition_no = m.condition_no
    where m.amount >= c.at_least_millionths
    union all
    select distinct c.audience_id, c.condition_no, t.profile_id, null::bigint, null::integer
    from audience_conditions as c
    join current_traits as t on t.trait = c.trait
    left join audience_condition_values as v
        on v.audience_id = c.audience_id and v.condition_no = c.condition_no and v.value = t.value
    where c.kind = 'trait'
        and case c.comparison
            when 'is_in' then v.value is not null
            when 'at_least' then regexp_matches(t.value, '^-?[0-9]') and try_cast(t.value as double) >= c.bound
            when 'at_most' then regexp_matches(t.value, '^-?[0-9]') and try_cast(t.value as double) <= c.bound
        end
),
counted as (
    select
        audience_id, profile_id, count(*) as satisfied_count, min(review_day) as review_day,
        list({'condition': condition_no, 'amount_millionths': amount} order by condition_no) as amounts
    from satisfied
    group by audience_id, profile_id
)
select n.audience_id, n.profile_id, n.review_day, to_json(n.amounts)::varchar as measured
from counted as n
join audiences as a on a.audience_id = n.audience_id
where n.satisfied_count = a.condition_count
