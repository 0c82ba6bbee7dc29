-- Moves the mail of invocations into their journals, in the order in which it arrived.
-- One statement, one snapshot: not everybody who sends mail locks the live row (people in SQL,
-- promises), and what comes meanwhile stays in the mailbox, for the sweep at the latest.
-- Locks: none; the caller has just taken the live rows of p_ids (for update). Called by: claim,
-- reconcile.
create or replace function howdah_core.absorb_mail(p_ids uuid[]) returns void
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  if not exists (select from howdah_core.mailbox m where m.id = any (p_ids)) then
    return;
  end if;
  with taken as (
    delete from howdah_core.mailbox m where m.id = any (p_ids)
    returning m.id, m.seq, m.kind, m.cid, m.name, m.value, m.ref, m.detail)
  insert into howdah_core.journal (id, idx, kind, cid, name, value, ref, detail, at)
  select m.id, j.last + row_number() over (partition by m.id order by m.seq),
         m.kind, m.cid, m.name, m.value, m.ref, m.detail, howdah_core.clock()
    from taken m
    cross join lateral (
      select coalesce((select x.idx from howdah_core.journal x where x.id = m.id
                        order by x.id desc, x.idx desc limit 1), 0) as last offset 0) j;
end
$$;
