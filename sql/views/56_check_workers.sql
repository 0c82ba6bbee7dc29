-- Invariants 3 and 9: leases are of workers that may write; who waits for an outcome gets it.
create view howdah_core.check_workers as
with somebody as (
  select from howdah_core.worker w
   where w.fenced_at is null and w.stopped_at is null
     and w.started_at < howdah_core.now() - interval '5 s'
   limit 1)
-- A lease has its worker.
select 'a lease has its worker' as invariant, l.id as invocation_id,
       'worker ' || l.worker as detail
  from howdah_core.live l
 where l.worker is not null
   and not exists (select from howdah_core.worker w where w.no = l.worker)
union all
-- What a fenced worker held is taken over.
select 'a fenced worker holds nothing', l.id,
       'worker ' || w.no || ', fenced ' || w.fenced_at
  from howdah_core.worker w
  join howdah_core.live l on l.worker = w.no
  cross join somebody
 where w.fenced_at < howdah_core.now() - interval '5 s'
union all
-- A fenced worker's heart has stopped: it wrote nothing since.
select 'a fenced worker writes nothing', null,
       'worker ' || w.no || ' beat ' || w.beat_at - w.fenced_at || ' after it was fenced'
  from howdah_core.worker w
 where w.beat_at > w.fenced_at
union all
-- Outcomes reach those that attached.
select 'an outcome reaches who waits for it', k.target_id,
       coalesce('invocation ' || k.waiter_id, 'worker ' || k.worker)
  from howdah_core.sink k
  join howdah_core.outcome o on o.id = k.target_id
  cross join somebody
 where o.completed_at < howdah_core.now() - interval '5 s';

comment on view howdah_core.check_workers is
  'Leases of workers that may not hold them, undelivered outcomes. Part of howdah.violations.';
