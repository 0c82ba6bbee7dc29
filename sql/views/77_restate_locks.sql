-- The same in the words of flow control.
create view restate.sys_locks as
select
  0::bigint as partition_key,
  null::text as scope,
  v.name || '/' || s.key as lock_name,
  (select l.started_at from howdah_core.live l where l.id = s.holder) as acquired_at,
  howdah_core.restate_id(s.holder) as acquired_by
from howdah_core.keylock s
join howdah_core.service v on v.no = s.service
where s.holder is not null;

comment on view restate.sys_locks is
  'Held keys as locks: one row each.';
comment on column restate.sys_locks.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_locks.scope is 'Always null: there are no scopes.';
comment on column restate.sys_locks.lock_name is 'Service/key.';
comment on column restate.sys_locks.acquired_at is 'When the holder began.';
comment on column restate.sys_locks.acquired_by is 'Who holds the key.';
