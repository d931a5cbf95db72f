-- Identifiers that events offered and the ledger does not tell of, though they do not stand on the event's profile; and
-- entries of the ledger that no event of the batch offered.
-- grain: one offending identifier of one event
with told as (
    select
        coalesce(o.event_id, l.event_id) as event_id,
        coalesce(o.kind, l.kind) as kind,
        o.event_id is not null as is_offered,
        l.event_id is not null as is_told
    from offered_links as o
    full join ledger_links as l on l.event_id = o.event_id and l.kind = o.kind
)
select t.event_id, t.kind, t.is_offered
from told as t
left join standing_links as s on s.event_id = t.event_id and s.kind = t.kind
where not t.is_offered or (not t.is_told and not coalesce(s.is_known, false))
