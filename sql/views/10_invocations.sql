-- Every invocation, one row each. The status branches are single tables that carry id, status and
-- created_at, so that a filter on status or time reads one index and prunes the other branches;
-- facts are joined by id, and expensive columns are subqueries, computed only when asked for.
create view howdah.invocations as
select
  s.id,
  v.name || coalesce('/' || i.key, '') || '/' || h.name as target,
  v.name as service,
  h.name as handler,
  i.key,
  s.status,
  s.outcome,
  s.created_at,
  i.scheduled_at,
  s.started_at,
  s.modified_at,
  s.completed_at,
  s.attempts,
  (select '[' || f.code || '] ' || f.message from howdah_core.failure f
    where f.id = s.id order by f.n desc limit 1) as last_failure,
  case when s.status = 'completed' and s.code is not null
       then '[' || s.code || '] ' || s.message end as failure,
  case when s.status = 'backing_off' then s.run_at end as next_retry_at,
  howdah.waiting_for(s.id, s.status, s.run_at, s.wait_ids, s.wait_all, i.service, i.key)
    as waiting_for,
  s.worker,
  (select d.name from howdah_core.deployment d where d.no = s.deployment) as deployment,
  i.invoked_by,
  i.parent_id,
  i.idempotency_key,
  (select coalesce(max(j.idx), 0) + 1 from howdah_core.journal j where j.id = s.id)
    as journal_length,
  howdah.as_text(i.input) as input,
  howdah.as_json(i.input) as input_json,
  howdah.as_text(s.value) as output,
  howdah.as_json(s.value) as output_json
from (
  select l.id, l.status, l.created_at, null::text as outcome, l.started_at, l.modified_at,
         null::timestamptz as completed_at, l.attempts_total as attempts, l.run_at, l.worker,
         l.deployment, l.wait_ids, l.wait_all, null::int as code, null::text as message,
         null::bytea as value
    from howdah_core.live l
  union all
  select b.id, 'inbox', b.created_at, null, null, b.created_at, null, 0, null, null, null, null,
         false, null, null, null
    from howdah_core.inbox b
  union all
  select o.id, 'completed', o.created_at, o.outcome, o.started_at, o.completed_at, o.completed_at,
         o.attempts_total, null, o.worker, o.deployment, null, false, o.code, o.message, o.value
    from howdah_core.outcome o
) s
join howdah_core.invocation i on i.id = s.id
join howdah_core.handler h on h.no = i.handler
join howdah_core.service v on v.no = i.service;

comment on view howdah.invocations is 'Every invocation with its status, times, failure and payloads.';
comment on column howdah.invocations.id is 'The invocation id, a UUID: the same in HTTP, logs and SQL.';
comment on column howdah.invocations.target is 'Service/handler, or Service/key/handler.';
comment on column howdah.invocations.service is 'The service''s name.';
comment on column howdah.invocations.handler is 'The handler''s name.';
comment on column howdah.invocations.key is 'The virtual object''s key; null for plain services.';
comment on column howdah.invocations.status is 'scheduled, inbox (another holds the key), ready, running, suspended, backing_off, paused or completed.';
comment on column howdah.invocations.outcome is 'succeeded, failed or killed once completed.';
comment on column howdah.invocations.created_at is 'When it was accepted.';
comment on column howdah.invocations.scheduled_at is 'For a delayed send: when it is due.';
comment on column howdah.invocations.started_at is 'When its first attempt began.';
comment on column howdah.invocations.modified_at is 'When its status last changed.';
comment on column howdah.invocations.completed_at is 'When its outcome was stored.';
comment on column howdah.invocations.attempts is 'How often it was executed, resumptions included.';
comment on column howdah.invocations.last_failure is 'Code and message of the last failed attempt.';
comment on column howdah.invocations.failure is 'Code and message with which it ended.';
comment on column howdah.invocations.next_retry_at is 'When a failed attempt is tried again.';
comment on column howdah.invocations.waiting_for is 'What it waits for, in words.';
comment on column howdah.invocations.worker is 'The worker that executes it, or that completed it.';
comment on column howdah.invocations.deployment is 'The version of the code that ran it last.';
comment on column howdah.invocations.invoked_by is 'ingress, service (another handler: see parent_id) or sql.';
comment on column howdah.invocations.parent_id is 'The invocation that called or sent it.';
comment on column howdah.invocations.idempotency_key is 'The key that the request carried.';
comment on column howdah.invocations.journal_length is 'Entries in its journal, the input included.';
comment on column howdah.invocations.input is 'The input as text.';
comment on column howdah.invocations.input_json is 'The input as jsonb, null where it is not JSON.';
comment on column howdah.invocations.output is 'The output as text.';
comment on column howdah.invocations.output_json is 'The output as jsonb, null where it is not JSON.';
