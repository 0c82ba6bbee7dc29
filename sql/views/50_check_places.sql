-- Invariants 1 and 9: an invocation is in exactly one place, and nothing is without its invocation.
create view howdah_core.check_places as
with somebody as (
  select from howdah_core.worker w
   where w.fenced_at is null and w.stopped_at is null
     and w.started_at < howdah_core.now() - interval '5 s'
   limit 1)
-- In exactly one of live, inbox and outcome.
select 'an invocation is in exactly one place' as invariant, i.id as invocation_id,
       case count(p.place) when 0 then 'it is nowhere'
         else 'it is in ' || string_agg(p.place, ' and ' order by p.place) end as detail
  from howdah_core.invocation i
  left join (select l.id, 'live' as place from howdah_core.live l
             union all select b.id, 'inbox' from howdah_core.inbox b
             union all select o.id, 'outcome' from howdah_core.outcome o) p on p.id = i.id
 group by i.id
having count(p.place) <> 1
union all
-- No row of any table without its invocation.
select 'nothing is without its invocation', t.id, t.what
  from (select l.id, 'a live row' as what from howdah_core.live l
        union all select b.id, 'an inbox row at key ' || b.key from howdah_core.inbox b
        union all select o.id, 'an outcome' from howdah_core.outcome o
        union all select j.id, 'a journal' from howdah_core.journal j where j.idx = 1
        union all select f.id, 'failure ' || f.n from howdah_core.failure f
        union all select d.id, 'idempotency key ' || d.idempotency_key from howdah_core.idem d
        union all select k.target_id, 'somebody who waits for it' from howdah_core.sink k) t
 where not exists (select from howdah_core.invocation i where i.id = t.id)
union all
-- Who waits for a promise is not completed.
select 'nothing is without its invocation', w.waiter_id, 'a wait for promise ' || w.name
  from howdah_core.promise_waiter w
 where not exists (select from howdah_core.live l where l.id = w.waiter_id)
union all
-- A promise goes with the last invocation of its key.
select 'nothing is without its invocation', null, 'promise ' || p.name || ' at key ' || p.key
  from howdah_core.promise p
 where not exists (select from howdah_core.invocation i where i.service = p.service and i.key = p.key)
union all
-- An order whose invocation went meanwhile is dropped by the next worker that looks.
select 'nothing is without its invocation', n.id, 'order ' || n.seq || ', ' || n.verb
  from howdah_core.nudge n cross join somebody
 where n.at < howdah_core.now() - interval '5 s'
   and not exists (select from howdah_core.invocation i where i.id = n.id)
union all
-- Mail is only for those that can still take it into their journal. What others send without a
-- lock may come too late; the sweep removes it.
select 'mail is for a live invocation', m.id, howdah.entry_type(m.kind) || ', mail ' || m.seq
  from howdah_core.mailbox m cross join somebody
 where m.at < howdah_core.now() - interval '5 s'
   and not exists (select from howdah_core.live l where l.id = m.id)
   and not exists (select from howdah_core.inbox b where b.id = m.id)
union all
-- The queue of a version is for what that version began.
select 'a queue has its version', l.id,
       'queue ' || l.q || coalesce(', deployment ' || l.deployment, '')
  from howdah_core.live l
  left join howdah_core.invocation i on i.id = l.id
  left join howdah_core.deployment_service d on d.q = abs(l.q)
 where abs(l.q) >= 1000000
   and (d.service is distinct from i.service or d.deployment is distinct from l.deployment);

comment on view howdah_core.check_places is
  'Invocations in no or several places, rows without an invocation. Part of howdah.violations.';
