create view howdah.locks as
select v.name as service, k.key, k.holder as held_by, l.status, l.worker,
       (select count(*) from howdah_core.inbox b where b.service = k.service and b.key = k.key)
         as waiting
  from howdah_core.keylock k
  join howdah_core.service v on v.no = k.service
  left join howdah_core.live l on l.id = k.holder
 where k.holder is not null;

comment on view howdah.locks is 'Keys that are held: the one exclusive invocation of each.';
comment on column howdah.locks.service is 'The object''s service.';
comment on column howdah.locks.key is 'The object''s key.';
comment on column howdah.locks.held_by is 'The invocation that holds it, suspended ones included.';
comment on column howdah.locks.status is 'That invocation''s status.';
comment on column howdah.locks.worker is 'The worker that executes it.';
comment on column howdah.locks.waiting is 'How many wait behind it.';
