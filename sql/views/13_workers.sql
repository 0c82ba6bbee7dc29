-- Every start of a process that executes, accepts or administers. "alive" is what the database
-- knows: whether a silent worker is dead is decided by those that watch its beats, never by an age.
create view howdah.workers as
select
  w.no as worker,
  case
    when w.stopped_at is not null then 'stopped'
    when w.fenced_at is not null then 'fenced'
    else 'alive'
  end as status,
  w.host,
  w.pid,
  w.roles,
  (select count(*) from howdah_core.live l where l.worker = w.no) as running,
  w.slots,
  (select d.name from howdah_core.deployment d where d.no = w.deployment) as deployment,
  w.version,
  w.started_at,
  w.beat_at,
  w.beat,
  w.fenced_at,
  w.stopped_at,
  w.id,
  w.gen as generation,
  w.backend_pid
from howdah_core.worker w;

comment on view howdah.workers is
  'Workers: one row for each start of a process. A process that starts again is a new worker.';
comment on column howdah.workers.worker is
  'Its number, never used twice; invocations and locks name it.';
comment on column howdah.workers.status is
  'alive, fenced (others took its right to write, because it was silent for a lease) or stopped (it signed off).';
comment on column howdah.workers.host is
  'The machine''s name, for people: it identifies nothing.';
comment on column howdah.workers.pid is 'The process id on that machine.';
comment on column howdah.workers.roles is 'What the process does: ingress, admin, worker.';
comment on column howdah.workers.running is
  'How many invocations it holds now. More than 0 for a fenced worker means they are about to be taken over.';
comment on column howdah.workers.slots is 'How many invocations it may hold at once.';
comment on column howdah.workers.deployment is 'The version of the code that it serves.';
comment on column howdah.workers.version is 'The version of howdah that it runs.';
comment on column howdah.workers.started_at is 'When it registered.';
comment on column howdah.workers.beat_at is
  'When it last beat. A hint for people: nobody is fenced by a time in a table.';
comment on column howdah.workers.beat is 'The heartbeat counter that the others watch.';
comment on column howdah.workers.fenced_at is 'When it lost its right to write; null while it has it.';
comment on column howdah.workers.stopped_at is 'When it signed off in good order.';
comment on column howdah.workers.id is 'The random id of this start of the process.';
comment on column howdah.workers.generation is
  'Rises each time a reply of the database was lost; batches of earlier generations are refused.';
comment on column howdah.workers.backend_pid is
  'The Postgres backend of the connection that beats: pg_stat_activity.pid.';
