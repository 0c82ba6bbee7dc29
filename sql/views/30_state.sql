-- The state of objects. Written by the exclusive invocation that holds the key, read by all.
create view howdah.state as
select
  v.name as service,
  s.key,
  s.name,
  howdah.as_text(s.value) as value,
  howdah.as_json(s.value) as value_json,
  octet_length(s.value) as value_bytes,
  s.service as service_no
from howdah_core.state s
join howdah_core.service v on v.no = s.service;

comment on view howdah.state is
  'State of objects: one row for each entry of each key. Fast by service and key.';
comment on column howdah.state.service is 'The object''s service.';
comment on column howdah.state.key is 'The object''s key.';
comment on column howdah.state.name is 'The entry''s name.';
comment on column howdah.state.value is 'The value as text; bytes that are no text are escaped.';
comment on column howdah.state.value_json is 'The value as jsonb; null where it is not JSON.';
comment on column howdah.state.value_bytes is 'The value''s size in bytes.';
comment on column howdah.state.service_no is 'The service''s number: howdah.services.';
