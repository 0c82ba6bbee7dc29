-- Writes what running invocations of a worker wait for, as their attempts said, into their rows; null: nothing
-- any more. It is for views: nobody is woken by it.
--
-- Returns the ids of the rows that were written. Rows of other leases are left alone, and so are those that
-- somebody holds: they are written another time.
-- Locks: live rows, skip locked. Raises: WD010. Called by: worker/showing.py.
create or replace function howdah_core.show_waits(
  p_worker int, p_ids uuid[], p_epochs int[], p_wait_ids text[], p_all boolean[], p_trees text[],
  p_notes text[])
returns table (id uuid)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform howdah_core.assert_read_committed();
  return query
    update howdah_core.live l
       set wait_ids = z.wait_ids, wait_all = z.wait_all, wait_tree = z.tree, wait_note = z.note
      from (select x.id, u.wait_ids::int[] as wait_ids, u.wait_all, u.tree::int[] as tree, u.note
              from unnest(p_ids, p_epochs, p_wait_ids, p_all, p_trees, p_notes)
                   u(id, epoch, wait_ids, wait_all, tree, note)
              cross join lateral (
                select k.id from howdah_core.live k
                 where k.id = u.id and k.status = 'running' and k.worker = p_worker
                   and k.epoch = u.epoch
                   for no key update skip locked) x) z
     where l.id = z.id
    returning l.id;
end
$$;
