-- What is known of each touched profile: the newest value of each trait over all profiles it ever was.
-- grain: one profile and trait
select
    m.profile_id,
    t.trait,
    arg_max(t.value, (t.set_at, t.seq, t.value)) as value
from known_traits as t
join cluster_members as m on m.member = t.profile_id
group by m.profile_id, t.trait
