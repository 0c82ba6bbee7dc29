create view howdah.inbox as
select v.name as service, b.key, b.seq as position, b.id as invocation_id, h.name as handler,
       k.holder as held_by, b.created_at
  from howdah_core.inbox b
  join howdah_core.service v on v.no = b.service
  join howdah_core.invocation i on i.id = b.id
  join howdah_core.handler h on h.no = i.handler
  left join howdah_core.keylock k on k.service = b.service and k.key = b.key;

comment on view howdah.inbox is 'Exclusive invocations that wait for their key, in the order in which they will have it.';
comment on column howdah.inbox.service is 'The object''s service.';
comment on column howdah.inbox.key is 'The object''s key.';
comment on column howdah.inbox.position is 'Order of arrival at the key; the lowest is next.';
comment on column howdah.inbox.invocation_id is 'Who waits.';
comment on column howdah.inbox.handler is 'For which handler.';
comment on column howdah.inbox.held_by is 'The invocation that holds the key.';
comment on column howdah.inbox.created_at is 'When it was accepted.';
