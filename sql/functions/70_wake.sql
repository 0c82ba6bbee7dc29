-- Makes suspended invocations ready whose mailbox holds what they wait for.
-- A separate statement after the commit that delivered the mail: the deliverer holds the row
-- `for share`, so a suspension either saw the mail or is seen here. Repeated by the sweep.
--
-- Returns (id, q) of those that are ready now.
-- Locks: live rows, skip locked. Raises: WD010. Called by: worker/delivering.py, sweep.
create or replace function howdah_core.wake(p_ids uuid[])
returns table (id uuid, q int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform howdah_core.assert_read_committed();
  return query
    update howdah_core.live l
       set status = 'ready', run_at = howdah_core.clock(), modified_at = howdah_core.clock(),
           wait_ids = null
      from (select x.id
              from (select distinct i.id from unnest(p_ids) i(id)) u
              cross join lateral (
                select k.id from howdah_core.live k
                 where k.id = u.id and k.status = 'suspended'
                   and howdah_core.is_satisfied(k.id, k.wait_ids, k.wait_all, k.wait_tree)
                   for no key update skip locked) x) z
     where l.id = z.id
    returning l.id, l.q;
end
$$;
