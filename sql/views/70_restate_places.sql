-- Where every invocation is, one row each: what the views of the schema restate are made of.
--
-- place is howdah's own word for the status: a filter on it reads one index of live and leaves the other
-- tables alone. Facts and names are left joins on unique columns, as in howdah.invocations.
create view howdah_core.restate_places as
select
  s.*, i.service, i.key, i.scheduled_at, i.invoked_by, i.parent_id, i.idempotency_key,
  i.restarted_from, i.scope, i.limit_key, v.name as service_name, v.kind as service_kind, h.name as handler_name,
  h.kind as handler_kind, h.idempotency_retention, h.journal_retention, h.workflow_retention,
  d.name as deployment_name, d.max_protocol_version, d.sdk_version
from (
  select
    l.id, l.status as place, l.created_at, l.started_at, l.modified_at,
    null::timestamptz as completed_at, null::timestamptz as expires_at, l.run_at, l.attempts,
    l.deployment, l.worker, l.wait_ids, l.wait_all, l.wait_tree, l.wait_note,
    null::text as outcome, null::int as code, null::text as message
  from howdah_core.live l
  union all
  select
    b.id, 'inbox', b.created_at, null, b.created_at,
    null, null, null, null,
    null, null, null, null, null, null,
    null, null, null
  from howdah_core.inbox b
  union all
  select
    o.id, 'completed', o.created_at, o.started_at, o.completed_at,
    o.completed_at, o.expires_at, null, null,
    o.deployment, o.worker, null, null, null, null,
    o.outcome, o.code, o.message
  from howdah_core.outcome o
) s
left join howdah_core.invocation i on i.id = s.id
left join howdah_core.service v on v.no = i.service
left join howdah_core.handler h on h.no = i.handler
left join howdah_core.deployment d on d.no = s.deployment;

comment on view howdah_core.restate_places is
  'Where every invocation is. Part of restate.sys_invocation_status and restate.sys_invocation.';
