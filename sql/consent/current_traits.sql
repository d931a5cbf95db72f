-- What is known of each touched profile, over all it ever was: of each trait what its policy chose, else the newest.
-- grain: one profile and trait
with newest as (
    select
        m.profile_id,
        t.trait,
        arg_max(t.value, (t.set_at, t.seq, t.event_id)) as value
    from known_traits as t
    join cluster_members as m on m.member = t.profile_id
    group by m.profile_id, t.trait
)
select n.profile_id, n.trait, coalesce(c.value, n.value) as value
from newest as n
left join chosen_traits as c on c.profile_id = n.profile_id and c.trait = n.trait
