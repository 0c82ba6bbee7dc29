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
-- What came for them more than five seconds ago, delivered or still in the mailbox. Signals of one name
-- may come more than once: one that was delivered is not the one that is waited for.
came as (
  select c.id, array_agg(c.cid) as cids
    from (select s.id, m.cid from suspended s join howdah_core.mailbox m on m.id = s.id
           where m.at < howdah_core.now() - interval '5 s'
          union all
          select s.id, j.cid from suspended s
            join howdah_core.journal j on j.id = s.id and j.kind > 100 and j.cid = any (s.wait_ids)
                  and (j.kind <> 150 or j.name is null)
           where j.at < howdah_core.now() - interval '5 s') c
   group by c.id),
-- What can come: completions of the commands of their journals, but not of steps, which only a
-- running attempt completes. A call may have a second one, for the callee's id.
possible as (
  select p.id, array_agg(p.cid) as cids
    from (select s.id, j.cid from suspended s
            join howdah_core.journal j
              on j.id = s.id and j.kind < 100 and j.kind <> 3 and j.cid is not null
          union all
          select s.id, howdah_core.id_cid(j.kind, j.cid, j.detail) from suspended s
            join howdah_core.journal j on j.id = s.id and j.kind in (5, 6)) p
   group by p.id)
-- Nobody is deaf: what came has woken it. A cancellation wakes always.
select 'a wait ends when its answer is there' as invariant, s.id as invocation_id,
       'waits for ' || coalesce(s.wait_ids::text, 'mail') as detail
  from suspended s
  join came c on c.id = s.id
  cross join somebody
 where s.modified_at < howdah_core.now() - interval '5 s'
   and (s.wait_ids is null or -1 = any (c.cids)
        or case when s.wait_all then s.wait_ids <@ c.cids else s.wait_ids && c.cids end)
union all
-- A wait is for something that can come; negative ids are signals, which can always come.
select 'a wait is for something that can come', s.id,
       'waits for ' || case when s.wait_all then 'all of ' else 'one of ' end || s.wait_ids::text
  from suspended s
  left join possible p on p.id = s.id
 where s.wait_ids is not null and (0 > any (s.wait_ids)) is not true
   and case when s.wait_all then s.wait_ids = '{}' or (s.wait_ids <@ p.cids) is not true
            else (s.wait_ids && p.cids) is not true end
union all
-- A suspended invocation that waits for a timer is due no later than the timer.
select 'a sleep has its timer', s.id, 'sleeps until ' || w.due_at
  from suspended s
  join howdah.waits w on w.invocation_id = s.id and w.due_at is not null
 where not w.is_all_needed and (s.run_at is null or s.run_at > w.due_at)
    or w.is_all_needed and s.run_at is null
union all
-- Timers are not lost: what is due is taken up, unless its scope has no room for it.
select 'a timer is not late', l.id, l.status || ', due at ' || l.run_at
  from howdah_core.live l, somebody
 where l.status in ('scheduled', 'suspended', 'backing_off') and l.q >= 0
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
