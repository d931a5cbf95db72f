-- Where each touched profile stood in each audience before the batch; a profile merged just now brings its membership.
-- grain: one audience and profile that ever was in it
with newest as (
    select
        k.audience_id, k.profile_id as member, m.profile_id, k.change, k.entry_no, k.entry_key, k.seq,
        row_number() over (partition by k.audience_id, k.profile_id order by k.seq desc) as place
    from known_memberships as k
    join cluster_members as m on m.member = k.profile_id
    left join merged_now as g on g.profile_id = k.profile_id
    where k.profile_id = m.profile_id or g.profile_id is not null
)
select
    audience_id,
    profile_id,
    bool_or(change <> 'exited') as was_member,
    coalesce(bool_or(change <> 'exited') filter (where member = profile_id), false) as was_member_itself,
    max(entry_no) as entry_no,
    arg_max(entry_key, (change <> 'exited', member = profile_id, seq)) as entry_key
from newest
where place = 1
group by audience_id, profile_id
