-- Keys of objects and who holds them: the holder is the one exclusive invocation of its key that
-- was started or may start, until it is completed, suspensions and retries included.
create view howdah.locks as
select
  v.name as service,
  k.key,
  k.holder as held_by,
  (select l.status from howdah_core.live l where l.id = k.holder) as status,
  (select l.worker from howdah_core.live l where l.id = k.holder) as worker,
  (select count(*)
     from howdah_core.inbox b where b.service = k.service and b.key = k.key) as waiting,
  k.tail as arrived,
  k.service as service_no
from howdah_core.keylock k
join howdah_core.service v on v.no = k.service
where k.holder is not null;

comment on view howdah.locks is
  'Held keys: one row for each key of an object that an exclusive invocation holds. Fast by service and key.';
comment on column howdah.locks.service is 'The object''s service.';
comment on column howdah.locks.key is 'The object''s key.';
comment on column howdah.locks.held_by is
  'The invocation that holds the key, until it is completed: also while it is suspended or backs off.';
comment on column howdah.locks.status is 'That invocation''s status.';
comment on column howdah.locks.worker is 'The worker that executes it now.';
comment on column howdah.locks.waiting is 'How many invocations wait behind it: howdah.inbox.';
comment on column howdah.locks.arrived is
  'How many exclusive invocations ever arrived at this key.';
comment on column howdah.locks.service_no is 'The service''s number: howdah.services.';
