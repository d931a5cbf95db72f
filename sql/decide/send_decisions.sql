-- The decision on every candidate: send, or refuse with a reason; of those that compete the highest priority is sent,
-- unless one of them was decided when the same trigger came before: then that one has won, and it is not sent again.
-- grain: one candidate
with competing as (
    select *, coalesce(reason, 'already_decided') = 'already_decided' as competes
    from judged_candidates
),
ranked as (
    select
        * exclude (competes),
        first_value(workflow_id) over (
            partition by profile_id, channel, competes_on, competes
            order by reason is null, priority desc, workflow_id
            rows between unbounded preceding and unbounded following
        ) as best_workflow,
        list(workflow_id) over (
            partition by profile_id, channel, competes_on, competes
            rows between unbounded preceding and unbounded following
        ) as rivals
    from competing
)
select
    r.* exclude (reason, best_workflow, rivals),
    case when r.reason is null and r.workflow_id = r.best_workflow then 'send' else 'refuse' end as outcome,
    coalesce(r.reason, case when r.workflow_id <> r.best_workflow then 'lost_to:' || r.best_workflow else '' end)
        as reason,
    to_json({
        'contract': r.trigger_contract, 'region': r.region, 'records': r.records, 'measured': r.measured::json,
        'entry_no': r.entry_no, 'as_of': strftime(b.as_of, '%Y-%m-%dT%H:%M:%SZ'),
        'rivals': case when r.reason is null then list_sort(r.rivals) end
    })::varchar as evidence
from ranked as r
cross join batch as b
