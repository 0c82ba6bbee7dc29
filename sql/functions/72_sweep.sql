-- The truth behind every hint, once a second: wakes that were lost, mail of running invocations,
-- mail of those that are gone, outcomes that somebody still waits for, orders.
--
-- Looks at the mail of up to p_limit invocations, from the one after p_after on, by skipping through
-- the index: an invocation with much mail costs as much as one with little.
--
-- Returns 'Q' (n = a queue with ready work), 'M' (id = an invocation running on this worker that
-- has mail), 'C' (process n waits for the outcome of id), 'O' (orders wait), 'L' (id = where the next
-- sweep goes on; null: from the beginning).
-- Locks: those of wake and deliver_sinks. Raises: WD010. Called by: worker/sweeping.py.
create or replace function howdah_core.sweep(p_worker int, p_after uuid, p_limit int)
returns table (what "char", id uuid, n int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_wake uuid[];
begin
  perform howdah_core.assert_read_committed();
  if exists (select from howdah_core.sink) then
    return query
      select d.what, d.id, d.n from howdah_core.deliver_sinks(null, p_limit) d where d.what = 'C';
  end if;
  if exists (select from howdah_core.nudge) then
    what := 'O'; id := null; n := null; return next;
  end if;
  with recursive having_mail(id, k) as (
    (select m.id, 1 from howdah_core.mailbox m
      where m.id > coalesce(p_after, '00000000-0000-0000-0000-000000000000') order by m.id limit 1)
    union all
    select (select m.id from howdah_core.mailbox m where m.id > h.id order by m.id limit 1), h.k + 1
      from having_mail h where h.id is not null and h.k < p_limit)
  select array_agg(h.id) filter (where h.id is not null) into v_ids from having_mail h;
  what := 'L'; n := null;
  id := case when cardinality(v_ids) = p_limit then v_ids[p_limit] end;
  return next;
  if v_ids is null then
    return;
  end if;
  select array_agg(l.id) into v_wake
    from unnest(v_ids) u(id)
    cross join lateral (select k.id, k.status from howdah_core.live k
                         where k.id = u.id offset 0) l
   where l.status = 'suspended';
  if v_wake is not null then
    return query select distinct 'Q'::"char", null::uuid, w.q from howdah_core.wake(v_wake) w;
  end if;
  -- One snapshot: whatever moves from the inbox into live is in one of the two.
  delete from howdah_core.mailbox m
   where m.id = any (array(
     select u.id from unnest(v_ids) u(id)
      where not exists (select from howdah_core.live k where k.id = u.id)
        and not exists (select from howdah_core.inbox b where b.id = u.id)));
  return query
    select 'M'::"char", l.id, null::int
      from unnest(v_ids) u(id)
      cross join lateral (select k.id, k.worker from howdah_core.live k
                           where k.id = u.id offset 0) l
     where l.worker = p_worker;
end
$$;
