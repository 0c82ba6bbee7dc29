-- Invariants 1 and 9: an invocation is in exactly one place, and nothing is without its invocation.
create view howdah_core.check_places as
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
-- Mail is only for those that can still take it into their journal.
select 'mail is for a live invocation', m.id, howdah.entry_type(m.kind) || ', mail ' || m.seq
  from howdah_core.mailbox m
 where not exists (select from howdah_core.live l where l.id = m.id);

comment on view howdah_core.check_places is
  'Invocations in no or several places, rows without an invocation. Part of howdah.violations.';
