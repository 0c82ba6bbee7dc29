-- Whether a tree of futures is resolved by what has come.
-- p_tree: for each node, children first and the root last, its combinator, how many operands it has, and
-- these: completion ids, or -1000000000 - n for the node n, counted from 0. Combinators: 1 one completed, 2 all
-- completed, 3 one succeeded or all failed, 4 all succeeded or one failed, others: any.
-- p_ids, p_results: what has come, the first of each counts: 1 it succeeded, 2 it failed. A node may be
-- 3, either: only the endpoint can say which of the two, so it decides as both.
-- Locks: none. Called by: is_satisfied. Source: remote/futures.py, which makes these trees.
create or replace function howdah_core.is_resolved(p_tree int[], p_ids int[], p_results int[])
returns boolean
language plpgsql
immutable parallel safe
as $$
declare
  v_results int[] := '{}';  -- by node; 0: pending
  v_at int := 1;
  v_id int;
  v_found int;              -- bits: which results operands have
  v_first int;
begin
  while v_at < cardinality(p_tree) loop
    v_found := 0;
    for i in v_at + 2 .. v_at + 1 + p_tree[v_at + 1] loop
      v_id := p_tree[i];
      v_found := v_found | (1 << case
        when v_id <= -1000000000 then v_results[-999999999 - v_id]
        else coalesce(p_results[array_position(p_ids, v_id)], 0) end);
    end loop;
    v_first := p_tree[v_at] - 2;
    v_results := v_results || case
      when v_first = 0 then case when (v_found & 1) = 0 then 1 else 0 end
      when v_first in (1, 2) then case
        when (v_found & (1 << v_first)) <> 0 then v_first
        when (v_found & 8) <> 0 then 3
        when (v_found & 1) <> 0 then 0
        else 3 - v_first end
      when v_first <> -1 then case when v_found > 1 then 3 else 0 end
      else ((v_found >> 1) & 3) | ((v_found >> 3) * 3) end;
    v_at := v_at + 2 + p_tree[v_at + 1];
  end loop;
  return v_results[cardinality(v_results)] <> 0;
end
$$;
