-- Who holds which key.
create view restate.sys_keyed_service_status as
select
  0::bigint as partition_key,
  v.name as service_name,
  s.key as service_key,
  howdah_core.restate_id(s.holder) as invocation_id
from howdah_core.keylock s
join howdah_core.service v on v.no = s.service
where s.holder is not null;

comment on view restate.sys_keyed_service_status is
  'Held keys: one row each. Fast by service_name and service_key.';
comment on column restate.sys_keyed_service_status.partition_key is
  'Always 0: nothing is partitioned.';
comment on column restate.sys_keyed_service_status.service_name is 'The object''s service.';
comment on column restate.sys_keyed_service_status.service_key is 'The object''s key.';
comment on column restate.sys_keyed_service_status.invocation_id is 'Who holds the key.';
