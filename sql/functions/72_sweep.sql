-- The truth behind every hint, once a second: wakes that were lost, mail of running invocations,
-- outcomes that somebody still waits for.
--
-- Returns 'Q' (n = a queue with ready work), 'M' (id = an invocation running on this worker that
-- has mail), 'C' (process n waits for the outcome of id).
-- Locks: those of wake and deliver_sinks. Raises: WD010. Called by: worker/sweeping.py.
create or replace function howdah_core.sweep(p_worker int, p_limit int)
returns table (what "char", id uuid, n int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_wake uuid[];
begin
  perform howdah_core.assert_read_committed();
  if exists (select from howdah_core.sink) then
    return query
      select d.what, d.id, d.n from howdah_core.deliver_sinks(null, p_limit) d where d.what = 'C';
  end if;
  select array_agg(l.id) into v_wake
    from (select distinct m.id from howdah_core.mailbox m) u
    cross join lateral (select k.id, k.status from howdah_core.live k
                         where k.id = u.id offset 0) l
   where l.status = 'suspended';
  if v_wake is not null then
    return query select distinct 'Q'::"char", null::uuid, w.q from howdah_core.wake(v_wake) w;
  end if;
  return query
    select 'M'::"char", l.id, null::int
      from (select distinct m.id from howdah_core.mailbox m) u
      cross join lateral (select k.id, k.worker from howdah_core.live k
                           where k.id = u.id offset 0) l
     where l.worker = p_worker;
end
$$;
