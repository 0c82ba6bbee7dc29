-- Invariants 1 and 7: who waits is woken, for something that can come; timers are neither early nor
-- lost. What speaks of progress allows five seconds, and needs somebody to make it.
create view howdah_core.check_waits as
with
somebody as (
  select from howdah_core.worker w
   where w.fenced_at is null and w.stopped_at is null
     and w.started_at < howdah_core.now() - interval '5 s'
   limit 1),
suspended as (
  select l.id, l.wait_ids, l.wait_all, l.run_at, l.modified_at
    from howdah_core.live l where l.status = 'suspended'),
-- What came for them more than five seconds ago, delivered or still in the mailbox.
came as (
  select s.id, m.cid from suspended s join howdah_core.mailbox m on m.id = s.id
   where m.at < howdah_core.now() - interval '5 s'
  union all
  select s.id, j.cid from suspended s
    join howdah_core.journal j on j.id = s.id and j.kind > 100 and j.cid = any (s.wait_ids)
   where j.at < howdah_core.now() - interval '5 s'),
-- The commands whose completions they may wait for.
awaited as (
  select s.id, j.kind, j.cid from suspended s
    join howdah_core.journal j on j.id = s.id and j.kind < 100 and j.cid is not null
  union all
  select s.id, 106, j.cid + 1 from suspended s
    join howdah_core.journal j on j.id = s.id and j.kind = 5 and j.detail ? 'idempotency_key')
-- Nobody is deaf: what came has woken it. Mail with a negative id wakes always.
select 'a wait ends when its answer is there' as invariant, s.id as invocation_id,
       'waits for ' || coalesce(s.wait_ids::text, 'mail') as detail
  from suspended s, somebody
 where s.modified_at < howdah_core.now() - interval '5 s'
   and case
     when s.wait_ids is null then exists (select from came c where c.id = s.id)
     else exists (select from came c where c.id = s.id and c.cid < 0)
       or case when s.wait_all
         then not exists (
           select from unnest(s.wait_ids) w (cid)
            where not exists (select from came c where c.id = s.id and c.cid = w.cid))
         else exists (select from came c where c.id = s.id and c.cid = any (s.wait_ids))
       end
   end
union all
-- A wait is for something that can come from outside: a command of its journal, and no step, which
-- only a running attempt completes.
select 'a wait is for something that can come', s.id,
       'waits for ' || case when s.wait_all then 'all of ' else 'one of ' end || s.wait_ids::text
  from suspended s
 where s.wait_ids is not null
   and case when s.wait_all then cardinality(s.wait_ids) = 0 or exists (
         select from unnest(s.wait_ids) w (cid)
          where not exists (select from awaited a
                             where a.id = s.id and a.cid = w.cid and a.kind <> 3))
       else not exists (
         select from unnest(s.wait_ids) w (cid)
           join awaited a on a.id = s.id and a.cid = w.cid and a.kind <> 3)
       end
union all
-- A suspended invocation that waits for a timer is due no later than the timer.
select 'a sleep has its timer', s.id, 'sleeps until ' || w.due_at
  from suspended s
  join howdah.waits w on w.invocation_id = s.id and w.due_at is not null
 where not w.is_all_needed and (s.run_at is null or s.run_at > w.due_at)
    or w.is_all_needed and s.run_at is null
union all
-- Timers are not lost: what is due is taken up.
select 'a timer is not late', l.id, l.status || ', due at ' || l.run_at
  from howdah_core.live l, somebody
 where l.status in ('scheduled', 'suspended', 'backing_off')
   and l.run_at < howdah_core.now() - interval '5 s'
union all
-- Timers are not early: sleeps,
select 'a timer is not early', j.id, 'entry ' || j.idx || ', sleep until ' || j.due_at
  from (select j.id, j.idx, j.cid,
               j.at + make_interval(secs => (j.detail->>'delay_ms')::float8 / 1000) as due_at
          from howdah_core.journal j where j.kind = 4) j
  join howdah_core.journal c on c.id = j.id and c.kind = 104 and c.cid = j.cid
 where c.at < j.due_at
union all
-- and delayed sends.
select 'a timer is not early', i.id, 'scheduled for ' || i.scheduled_at
  from howdah_core.invocation i
  join (select l.id, l.started_at from howdah_core.live l
        union all select o.id, o.started_at from howdah_core.outcome o) t on t.id = i.id
 where i.scheduled_at is not null and t.started_at < i.scheduled_at;

comment on view howdah_core.check_waits is
  'Deaf waits, waits for nothing, timers early or late. Part of howdah.violations.';
