-- The invariants, each a query that returns no row in a healthy database at rest. Those that speak
-- of progress allow five seconds. Locks: none. Called by: `howdah check`, people, tests.
create or replace function howdah.check()
returns table (invariant text, invocation_id uuid, detail text)
language sql stable
as $$
  -- A journal has no gaps and no doubles.
  select 'the journal is dense', j.id, 'entries 1 to ' || max(j.idx) || ', but ' || count(*)
    from howdah_core.journal j group by j.id
  having min(j.idx) <> 1 or count(*) <> max(j.idx)
  union all
  -- An invocation is in exactly one of live, inbox, outcome.
  select 'an invocation is in exactly one place', i.id, 'found in ' || count(p.id)
    from howdah_core.invocation i
    left join (select l.id from howdah_core.live l union all
               select b.id from howdah_core.inbox b union all
               select o.id from howdah_core.outcome o) p on p.id = i.id
   group by i.id having count(p.id) <> 1
  union all
  -- A key is held by a live exclusive invocation of that key.
  select 'a key is held by a live invocation of its own', k.holder, k.key
    from howdah_core.keylock k
    left join howdah_core.live l on l.id = k.holder
    left join howdah_core.invocation i on i.id = k.holder
   where k.holder is not null
     and (l.id is null or not i.is_exclusive or (i.service, i.key) is distinct from (k.service, k.key))
  union all
  -- A live exclusive invocation holds its key, unless it is scheduled.
  select 'a live exclusive invocation holds its key', l.id, i.key
    from howdah_core.live l
    join howdah_core.invocation i on i.id = l.id and i.is_exclusive
    left join howdah_core.keylock k on k.service = i.service and k.key = i.key
   where not (l.status = 'scheduled' and l.q = 0) and k.holder is distinct from l.id
  union all
  -- Who waits in an inbox waits behind a holder.
  select 'an inbox has a holder in front of it', b.id, b.key
    from howdah_core.inbox b
    left join howdah_core.keylock k on k.service = b.service and k.key = b.key
   where k.holder is null
  union all
  -- A call or send has its callee; with an idempotency key an earlier one may stand for it.
  select 'a call has its callee', j.id, 'entry ' || j.idx || ' calls ' || j.ref
    from howdah_core.journal j
   where j.kind in (5, 6) and (j.detail->>'idempotency_key') is null
     and not exists (select from howdah_core.invocation i where i.id = j.ref)
  union all
  -- A completed callee's result is at its live caller: in the journal or in the mailbox.
  select 'a caller has its callee''s result', i.parent_id, 'callee ' || i.id
    from howdah_core.live l
    join howdah_core.invocation i on i.parent_id = l.id and i.parent_cid is not null
    join howdah_core.outcome o on o.id = i.id
   where not exists (select from howdah_core.journal j
                      where j.id = l.id and j.kind = 105 and j.cid = i.parent_cid)
     and not exists (select from howdah_core.mailbox m
                      where m.id = l.id and m.kind = 105 and m.cid = i.parent_cid)
  union all
  -- No completion comes twice.
  select 'a call is completed once', j.id, 'completion ' || j.cid || ' came ' || count(*) || ' times'
    from howdah_core.journal j where j.kind > 100 and j.cid > 0
   group by j.id, j.kind, j.cid having count(*) > 1
  union all
  -- Nothing is orphaned.
  select 'mail has its invocation', m.id, 'mail ' || m.seq
    from howdah_core.mailbox m where not exists (select from howdah_core.live l where l.id = m.id)
  union all
  select 'a journal has its invocation', j.id, null
    from howdah_core.journal j
   where not exists (select from howdah_core.invocation i where i.id = j.id) group by j.id
  union all
  select 'an idempotency key has its invocation', d.id, d.idempotency_key
    from howdah_core.idem d where not exists (select from howdah_core.invocation i where i.id = d.id)
  union all
  -- Object state is what the journals of its key wrote last.
  select 'state is what the journals wrote', w.id, w.service || '/' || w.key || ' ' || w.name
    from (select distinct on (i.service, i.key, j.name)
                 i.service, i.key, j.name, j.id, j.kind, j.value, j.at
            from howdah_core.journal j join howdah_core.invocation i on i.id = j.id
           where j.kind in (9, 10)
           order by i.service, i.key, j.name, j.at desc, j.idx desc) w
    left join howdah_core.state s
      on s.service = w.service and s.key = w.key and s.name = w.name
   where (case when w.kind = 9 then w.value end) is distinct from s.value
     and not exists (select from howdah_core.journal c join howdah_core.invocation i on i.id = c.id
                      where c.kind = 11 and i.service = w.service and i.key = w.key and c.at >= w.at)
  union all
  -- Nobody is deaf: what a suspended invocation waits for wakes it.
  select 'a satisfied wait ends', l.id, null
    from howdah_core.live l
   where l.status = 'suspended' and l.modified_at < clock_timestamp() - interval '5 s'
     and howdah_core.is_satisfied(l.id, l.wait_ids, l.wait_all)
     and (select max(m.at) from howdah_core.mailbox m where m.id = l.id)
         < clock_timestamp() - interval '5 s'
  union all
  -- A fenced worker holds nothing for long.
  select 'a fenced worker holds nothing', l.id, 'worker ' || w.no
    from howdah_core.worker w join howdah_core.live l on l.worker = w.no
   where w.fenced_at < clock_timestamp() - interval '5 s'
$$;
comment on function howdah.check() is
  'The invariants of this database: no row when it is healthy and at rest.';
