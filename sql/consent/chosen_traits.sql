-- Of traits whose policy asks for more than the newest value: the value that counts, over all profiles a person ever was.
-- grain: one profile and trait that a policy is asked for
with said as (
    select
        m.profile_id, k.trait, k.seq, k.value, k.first_at, k.first_event, k.last_at, k.last_event,
        coalesce(p.policy, d.policy) as policy,
        case when coalesce(p.policy, d.policy) = 'source_priority' then coalesce(s.place, 1000000) end as place,
        case when coalesce(p.policy, d.policy) = 'most_frequent'
            then sum(k.times) over (partition by m.profile_id, k.trait, k.value) end as times
    from known_sayings as k
    join cluster_members as m on m.member = k.profile_id
    cross join default_trait_policy as d
    left join trait_policies as p on p.trait = k.trait
    left join trait_sources as s on s.trait = coalesce(p.trait, '') and s.source = k.source
),
ranked as (
    select
        profile_id, trait, value,
        row_number() over (
            partition by profile_id, trait
            order by
                place, times desc,
                case when policy = 'first' then first_at end,
                case when policy = 'first' then seq end,
                case when policy = 'first' then first_event end,
                last_at desc, seq desc, last_event desc
        ) as rank
    from said
)
select profile_id, trait, value
from ranked
where rank = 1
