create view howdah.workers as
select w.no as worker, w.host, w.pid, w.roles,
       case when w.stopped_at is not null then 'stopped' when w.fenced_at is not null then 'fenced'
            else 'alive' end as status,
       (select count(*) from howdah_core.live l where l.worker = w.no) as running,
       w.slots, (select d.name from howdah_core.deployment d where d.no = w.deployment) as deployment,
       w.version, w.started_at, w.beat_at, w.beat, w.fenced_at, w.stopped_at
  from howdah_core.worker w;

comment on view howdah.workers is 'Every start of a process, one row each.';
comment on column howdah.workers.worker is 'Its number; never used again.';
comment on column howdah.workers.host is 'The machine''s name, for people: it identifies nothing.';
comment on column howdah.workers.pid is 'The process id there.';
comment on column howdah.workers.roles is 'What the process does: ingress, admin, worker.';
comment on column howdah.workers.status is 'alive, fenced (its right to write was taken) or stopped (in good order).';
comment on column howdah.workers.running is 'Invocations that it executes.';
comment on column howdah.workers.slots is 'How many it may hold at once.';
comment on column howdah.workers.deployment is 'The version of the code that it serves.';
comment on column howdah.workers.version is 'The version of howdah.';
comment on column howdah.workers.started_at is 'When it registered.';
comment on column howdah.workers.beat_at is 'When it last beat.';
comment on column howdah.workers.beat is 'The heartbeat counter.';
comment on column howdah.workers.fenced_at is 'When it was fenced.';
comment on column howdah.workers.stopped_at is 'When it signed off.';
