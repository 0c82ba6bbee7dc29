-- The state of objects and workflows.
create view restate.state as
select
  0::bigint as partition_key,
  null::text as scope,
  v.name as service_name,
  s.key as service_key,
  s.name as key,
  octet_length(s.name)::bigint as key_length,
  howdah_core.utf8(s.value) as value_utf8,
  s.value as value,
  octet_length(s.value)::bigint as value_length
from howdah_core.state s
join howdah_core.service v on v.no = s.service;

comment on view restate.state is
  'State: one row for each entry of each key. Fast by service_name and service_key.';
comment on column restate.state.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.state.scope is 'Always null: there are no scopes.';
comment on column restate.state.service_name is 'The object''s service.';
comment on column restate.state.service_key is 'The object''s key.';
comment on column restate.state.key is 'The entry''s name.';
comment on column restate.state.key_length is 'The size of the entry''s name in bytes.';
comment on column restate.state.value_utf8 is 'The value as text; null where it is none.';
comment on column restate.state.value is 'The value.';
comment on column restate.state.value_length is 'The value''s size in bytes.';
