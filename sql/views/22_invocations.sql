-- Every invocation, one row each, with everything that is known of it.
--
-- Status and time come from single-table branches (live, inbox, outcome), so that a filter or an
-- order on them reads one index and prunes the branches that cannot match. Facts and names are left
-- joins on unique columns: the planner drops those whose columns are not asked for, and turns them
-- into inner joins when they are filtered on. Whatever costs more is a subquery or a function in
-- the select list, computed for returned rows only.
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
  (select howdah.failure_text(f.code, f.message)
     from howdah_core.failure f
    where f.id = s.id order by f.n desc limit 1) as last_failure,
  howdah.failure_text(s.code, s.message) as failure,
  case when s.status = 'backing_off' then s.run_at end as next_retry_at,
  case s.status
    when 'held' then 'room in scope ' || i.scope || coalesce(', limit key ' || i.limit_key, '')
    when 'ready' then coalesce(
      (select 'a worker of deployment ' || d.name || ', or to be moved to another'
         from howdah_core.deployment_service q join howdah_core.deployment d on d.no = q.deployment
        where q.q = abs(s.q)
          and not exists (select from howdah_core.worker w
                           where w.deployment = q.deployment and w.fenced_at is null)),
      case when s.q < 0 then 'room in scope ' || i.scope || coalesce(', limit key ' || i.limit_key, '')
        end,
      'a free worker')
    when 'scheduled' then 'start at ' || date_trunc('milliseconds', s.run_at)
    when 'backing_off' then 'retry at ' || date_trunc('milliseconds', s.run_at)
    when 'paused' then 'an operator'
    when 'inbox' then (
      select 'key ' || k.key || ' held by ' || k.holder
        from howdah_core.keylock k where k.service = i.service and k.key = i.key)
    when 'suspended' then coalesce(
      (select w.words from howdah_core.wait_words w where w.invocation_id = s.id), 'mail')
    when 'running' then
      (select w.words from howdah_core.wait_words w where w.invocation_id = s.id)
  end as waiting_for,
  s.worker,
  (select d.name from howdah_core.deployment d where d.no = s.deployment) as deployment,
  i.invoked_by,
  i.parent_id,
  i.idempotency_key,
  (select coalesce(max(j.idx), 0) + 1
     from howdah_core.journal j where j.id = s.id) as journal_length,
  howdah.as_text(i.input) as input,
  howdah.as_json(i.input) as input_json,
  howdah.as_text(s.value) as output,
  howdah.as_json(s.value) as output_json,
  i.headers,
  s.code as failure_code,
  s.expires_at,
  i.service as service_no,
  i.handler as handler_no,
  i.restarted_from,
  i.scope,
  i.limit_key
from (
  select
    l.id, l.status, null::text as outcome, l.created_at, l.started_at, l.modified_at,
    null::timestamptz as completed_at, l.attempts_total as attempts, l.run_at, l.worker,
    l.deployment, null::int as code, null::text as message, null::bytea as value,
    null::timestamptz as expires_at, l.q
  from howdah_core.live l
  union all
  select
    b.id, 'inbox', null, b.created_at, null, b.created_at,
    null, 0, null, null,
    null, null, null, null,
    null, b.q
  from howdah_core.inbox b
  union all
  select
    o.id, 'completed', o.outcome, o.created_at, o.started_at, o.completed_at,
    o.completed_at, o.attempts_total, null, o.worker,
    o.deployment, o.code, o.message, o.value,
    o.expires_at, null
  from howdah_core.outcome o
) s
left join howdah_core.invocation i on i.id = s.id
left join howdah_core.service v on v.no = i.service
left join howdah_core.handler h on h.no = i.handler;

comment on view howdah.invocations is
  'Invocations: one row for each call of a handler, from its acceptance until its retention ends. Fast by id, service and key, status, created_at, parent_id, service_no and handler_no.';
comment on column howdah.invocations.id is
  'The invocation''s id: the same UUID in HTTP, logs and SQL. Ids are ordered by time.';
comment on column howdah.invocations.target is
  'What is called: Service/handler or Service/key/handler, the key as it is. To search, filter on service, key and handler.';
comment on column howdah.invocations.service is 'The service''s name.';
comment on column howdah.invocations.handler is 'The handler''s name.';
comment on column howdah.invocations.key is 'The object''s key; null for a plain service.';
comment on column howdah.invocations.status is
  'scheduled (starts later), inbox (another invocation holds the key), held (its scope or limit key has no room for it yet), ready, running, suspended (waits, holds no slot), backing_off (retry at next_retry_at), paused (retries are used up) or completed.';
comment on column howdah.invocations.outcome is
  'succeeded, failed (with a terminal error) or killed; null until completed.';
comment on column howdah.invocations.created_at is 'When it was accepted.';
comment on column howdah.invocations.scheduled_at is 'For a delayed send: when it is to start.';
comment on column howdah.invocations.started_at is 'When its first attempt began.';
comment on column howdah.invocations.modified_at is 'When its status last changed.';
comment on column howdah.invocations.completed_at is 'When its outcome was stored.';
comment on column howdah.invocations.attempts is
  'How often it was executed: the first time, after suspensions and after failures.';
comment on column howdah.invocations.last_failure is
  'Code and message of the last attempt that failed and was retried; all of them are in howdah.failures.';
comment on column howdah.invocations.failure is
  'Code and message with which it ended, where it did not succeed.';
comment on column howdah.invocations.next_retry_at is
  'While backing off: when the next attempt is due.';
comment on column howdah.invocations.waiting_for is
  'What it waits for, in words; null when it is completed, or runs and does not say. All of it is in howdah.waits.';
comment on column howdah.invocations.worker is
  'The worker that executes it now, or that completed it: howdah.workers.worker.';
comment on column howdah.invocations.deployment is 'The version of the code that last executed it.';
comment on column howdah.invocations.invoked_by is
  'Where it came from: ingress (HTTP), service (a handler: parent_id), sql or restart (restarted_from).';
comment on column howdah.invocations.parent_id is 'The invocation that called it or sent it.';
comment on column howdah.invocations.idempotency_key is
  'The key that the request carried: later requests with it get this invocation.';
comment on column howdah.invocations.journal_length is
  'Entries in its journal, the input included: howdah.journal.';
comment on column howdah.invocations.input is
  'The input as text; bytes that are no text are escaped.';
comment on column howdah.invocations.input_json is 'The input as jsonb; null where it is not JSON.';
comment on column howdah.invocations.output is
  'The output as text, once it succeeded; bytes that are no text are escaped.';
comment on column howdah.invocations.output_json is
  'The output as jsonb; null where it is not JSON.';
comment on column howdah.invocations.headers is
  'The request''s headers, a JSON array of [name, value].';
comment on column howdah.invocations.failure_code is
  'The code with which it ended, where it did not succeed: as an HTTP status.';
comment on column howdah.invocations.expires_at is
  'Once completed: until when it is kept.';
comment on column howdah.invocations.service_no is
  'The service''s number (howdah.services): with key and order by id, the fastest way into a long history.';
comment on column howdah.invocations.handler_no is
  'The handler''s number (howdah.handlers): with order by id, the fastest way into a long history.';
comment on column howdah.invocations.restarted_from is
  'The completed invocation that this one repeats, where an operator began it again.';
comment on column howdah.invocations.scope is
  'The scope that it was called in: part of its idempotency key, and where its concurrency is limited.';
comment on column howdah.invocations.limit_key is
  'Within its scope, what it is counted under as well: one or two names, as in tenant/user.';
