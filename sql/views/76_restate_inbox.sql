-- Invocations that wait for their key.
create view restate.sys_inbox as
select
  0::bigint as partition_key,
  v.name as service_name,
  s.key as service_key,
  howdah_core.restate_id(s.id) as id,
  s.seq as sequence_number,
  s.created_at as created_at,
  s.id as id_uuid
from howdah_core.inbox s
join howdah_core.service v on v.no = s.service;

comment on view restate.sys_inbox is
  'Inboxes: one row for each invocation that waits for its key. Fast by service_name and service_key.';
comment on column restate.sys_inbox.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_inbox.service_name is 'The object''s service.';
comment on column restate.sys_inbox.service_key is 'The object''s key.';
comment on column restate.sys_inbox.id is 'Who waits.';
comment on column restate.sys_inbox.sequence_number is
  'Its number among all that ever arrived at this key; the lowest has the key next.';
comment on column restate.sys_inbox.created_at is 'When it was accepted.';
comment on column restate.sys_inbox.id_uuid is
  'The id as uuid: what to filter on in SQL of your own.';
