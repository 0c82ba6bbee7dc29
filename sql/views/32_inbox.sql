-- Exclusive invocations that wait for their key, in the order in which they will have it.
create view howdah.inbox as
select
  v.name as service,
  b.key,
  b.seq as position,
  b.id as invocation_id,
  (select h.name
     from howdah_core.invocation i join howdah_core.handler h on h.no = i.handler
    where i.id = b.id) as handler,
  (select k.holder
     from howdah_core.keylock k where k.service = b.service and k.key = b.key) as held_by,
  b.created_at,
  b.service as service_no
from howdah_core.inbox b
join howdah_core.service v on v.no = b.service;

comment on view howdah.inbox is
  'Inboxes: one row for each exclusive invocation that waits for its key. Fast by service and key.';
comment on column howdah.inbox.service is 'The object''s service.';
comment on column howdah.inbox.key is 'The object''s key.';
comment on column howdah.inbox.position is
  'Its number among all that ever arrived at this key; the lowest has the key next.';
comment on column howdah.inbox.invocation_id is 'Who waits.';
comment on column howdah.inbox.handler is 'The handler that is to run.';
comment on column howdah.inbox.held_by is 'The invocation that holds the key now.';
comment on column howdah.inbox.created_at is 'When it was accepted.';
comment on column howdah.inbox.service_no is 'The service''s number: howdah.services.';
