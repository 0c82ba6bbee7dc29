-- Whether a suspended invocation's mailbox holds what it waits for.
-- p_wait_ids null: any mail. Otherwise completion ids (negative: signals), any or all of them, or as many
-- as p_tree says. A cancellation, -1, always counts.
-- Locks: none; callers hold the invocation's live row. Called by: commit_batch, wake, operate.
create or replace function howdah_core.is_satisfied(
  p_id uuid, p_wait_ids int[], p_wait_all boolean, p_tree int[])
returns boolean
language sql stable
return case
  when p_wait_ids is null or not p_wait_all and p_tree is null then exists (
    select from howdah_core.mailbox m
     where m.id = p_id and (p_wait_ids is null or m.cid = -1 or m.cid = any (p_wait_ids)))
  when p_wait_all then (
    select coalesce(bool_or(m.cid = -1), false)
           or count(distinct m.cid) filter (where m.cid = any (p_wait_ids))
              >= cardinality(p_wait_ids)
      from howdah_core.mailbox m where m.id = p_id)
  else (
    select coalesce(bool_or(m.cid = -1), false)
           or howdah_core.is_resolved(
                p_tree, array_agg(m.cid order by m.seq),
                array_agg(case when m.detail is null then 1 else 2 end order by m.seq))
      from howdah_core.mailbox m
     where m.id = p_id and (m.cid = -1 or m.cid = any (p_wait_ids)))
  end;
