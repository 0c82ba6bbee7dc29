-- Whether a suspended invocation's mailbox holds what it waits for.
-- p_wait_ids null: any mail. Otherwise completion ids (negative: signals), any or all of them. A
-- cancellation, -1, always counts.
-- Locks: none; callers hold the invocation's live row. Called by: commit_batch, wake.
create or replace function howdah_core.is_satisfied(p_id uuid, p_wait_ids int[], p_wait_all boolean)
returns boolean
language sql stable
return case
  when p_wait_ids is null or not p_wait_all then exists (
    select from howdah_core.mailbox m
     where m.id = p_id and (p_wait_ids is null or m.cid = -1 or m.cid = any (p_wait_ids)))
  else (
    select coalesce(bool_or(m.cid = -1), false)
           or count(distinct m.cid) filter (where m.cid = any (p_wait_ids))
              >= cardinality(p_wait_ids)
      from howdah_core.mailbox m where m.id = p_id)
  end;
