-- What an invocation waits for, in the words of Restate's introspection: helpers of the views in the schema
-- restate. None of them reads a table, and none raises.

-- A leaf: a completion, or a signal by its number or by its name.
-- p_note: the names of signals, as in live.wait_note.
-- Called by: tree_json, awaited_json.
create or replace function howdah_core.leaf_json(p_id int, p_note text)
returns jsonb
language sql
immutable parallel safe
as $$
  select jsonb_build_object('Single', case
    when p_id > 0 then jsonb_build_object('CompletionId', p_id)
    when p_id > -268435456 then jsonb_build_object('SignalIndex', -p_id)
    else jsonb_build_object('SignalName', (
      select substr(n, 8) from unnest(string_to_array(p_note, ', ')) n
       where howdah_core.signal_cid(substr(n, 8)) = p_id limit 1)) end)
$$;

comment on function howdah_core.leaf_json(int, text) is
  'A completion or a signal that is waited for, as in awaited_json.';

-- A tree of futures: the column wait_tree of live, whose form is described at is_resolved.
-- Called by: awaited_json.
create or replace function howdah_core.tree_json(p_tree int[], p_note text)
returns jsonb
language plpgsql
immutable parallel safe
as $$
declare
  v_nodes jsonb[] := '{}';
  v_at int := 1;
  v_operands jsonb;
begin
  while v_at < cardinality(p_tree) loop
    select coalesce(jsonb_agg(
             case when x.id <= -1000000000 then v_nodes[-999999999 - x.id]
                  else howdah_core.leaf_json(x.id, p_note) end order by x.n), '[]')
      into v_operands
      from unnest(p_tree[v_at + 2 : v_at + 1 + p_tree[v_at + 1]]) with ordinality x(id, n);
    v_nodes := v_nodes || jsonb_build_object(
      case p_tree[v_at] when 1 then 'FirstCompleted' when 2 then 'AllCompleted'
        when 3 then 'FirstSucceededOrAllFailed' when 4 then 'AllSucceededOrFirstFailed'
        else 'Unknown' end, v_operands);
    v_at := v_at + 2 + p_tree[v_at + 1];
  end loop;
  return v_nodes[cardinality(v_nodes)];
end
$$;

comment on function howdah_core.tree_json(int[], text) is
  'A tree of futures, as in awaited_json.';

-- All that an invocation waits for: the columns wait_ids, wait_all, wait_tree and wait_note of live. A
-- cancellation wakes always.
-- Called by: the views.
create or replace function howdah_core.awaited_json(p_ids int[], p_all boolean, p_tree int[], p_note text)
returns text
language sql
immutable parallel safe
as $$
  select json_build_object('Unknown', case
    when p_tree is not null then json_build_array(
      howdah_core.tree_json(p_tree, p_note), howdah_core.leaf_json(-1, null))
    when p_all then json_build_array(
      json_build_object('AllCompleted', z.leaves), howdah_core.leaf_json(-1, null))
    else z.leaves end)::text
    from (select json_agg(howdah_core.leaf_json(x.id, p_note)
                          order by case when x.id > 0 then 1 when x.id > -268435456 then 2 else 3 end,
                                   abs(x.id)) as leaves
            from (select unnest(p_ids) as id
                  union select -1 where not p_all and p_tree is null) x) z
$$;

comment on function howdah_core.awaited_json(int[], boolean, int[], text) is
  'What an invocation waits for, as JSON.';
