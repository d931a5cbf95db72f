-- The choice that counts for each touched profile, purpose and channel: the newest, and of two at one instant the no.
-- grain: one profile, purpose and channel
with ranked as (
    select
        m.profile_id, c.purpose, c.channel, c.status, c.decided_at, c.record_id,
        row_number() over (
            partition by m.profile_id, c.purpose, c.channel
            order by c.decided_at desc, (c.status = 'denied') desc, c.seq desc, c.record_id desc
        ) as place
    from known_choices as c
    join cluster_members as m on m.member = c.profile_id
)
select profile_id, purpose, channel, status, decided_at, record_id
from ranked
where place = 1
