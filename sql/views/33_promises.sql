-- Durable promises of workflows, from the first time that a handler touches one.
create view howdah.promises as
select
  v.name as service,
  p.key,
  p.name,
  case when p.completed_at is null then 'pending'
       when p.detail is not null then 'rejected' else 'resolved' end as status,
  howdah.as_text(p.value) as value,
  howdah.as_json(p.value) as value_json,
  howdah.failure_text((p.detail->>'code')::int, p.detail->>'message') as failure,
  p.completed_at,
  (select count(*) from howdah_core.promise_waiter w
    where w.service = p.service and w.key = p.key and w.name = p.name) as waiters,
  p.service as service_no
from howdah_core.promise p
left join howdah_core.service v on v.no = p.service;

comment on view howdah.promises is
  'Durable promises: one row for each that a handler of a workflow resolved or waited for.';
comment on column howdah.promises.service is 'The workflow''s name.';
comment on column howdah.promises.key is 'The workflow''s key.';
comment on column howdah.promises.name is 'The promise''s name.';
comment on column howdah.promises.status is 'pending, resolved or rejected.';
comment on column howdah.promises.value is 'What it was resolved with, as text.';
comment on column howdah.promises.value_json is
  'What it was resolved with, as jsonb; null where it is not JSON.';
comment on column howdah.promises.failure is 'Code and message with which it was rejected.';
comment on column howdah.promises.completed_at is 'When it was resolved or rejected.';
comment on column howdah.promises.waiters is 'How many invocations wait for it.';
comment on column howdah.promises.service_no is
  'The workflow''s number (howdah.services): with key, the fastest way to its promises.';
