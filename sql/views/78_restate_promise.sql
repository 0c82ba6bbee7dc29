-- Durable promises of workflows.
create view restate.sys_promise as
select
  0::bigint as partition_key,
  null::text as scope,
  v.name as service_name,
  s.key as service_key,
  s.name as key,
  s.completed_at is not null as completed,
  case when s.completed_at is not null and s.detail is null then s.value end as completion_success_value,
  case when s.completed_at is not null and s.detail is null then howdah_core.utf8(s.value)
    end as completion_success_value_utf8,
  howdah.failure_text((s.detail->>'code')::int, s.detail->>'message') as completion_failure
from howdah_core.promise s
join howdah_core.service v on v.no = s.service;

comment on view restate.sys_promise is
  'Durable promises: one row each. Fast by service_name and service_key.';
comment on column restate.sys_promise.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_promise.scope is 'Always null: there are no scopes.';
comment on column restate.sys_promise.service_name is 'The workflow''s name.';
comment on column restate.sys_promise.service_key is 'The workflow''s key.';
comment on column restate.sys_promise.key is 'The promise''s name.';
comment on column restate.sys_promise.completed is 'Whether it was resolved or rejected.';
comment on column restate.sys_promise.completion_success_value is 'What it was resolved with.';
comment on column restate.sys_promise.completion_success_value_utf8 is
  'What it was resolved with, as text; null where it is none.';
comment on column restate.sys_promise.completion_failure is
  'Code and message with which it was rejected.';
