-- The completion id by which a call or send is told the id of its callee; null: it is told none. Remote
-- journals say it; in the others only those with an idempotency key have one: a call the id after its
-- own, a send its own. Called by: the views, restart_as_new, end_early. Plain SQL, inlined.
create or replace function howdah_core.id_cid(p_kind smallint, p_cid int, p_detail jsonb)
returns int
language sql
immutable parallel safe
as $$
  select case
    when p_kind not in (5, 6) or p_detail is null then null
    when p_detail ? 'id_cid' then (p_detail->>'id_cid')::int
    when p_detail ? 'idempotency_key' then case p_kind when 5 then p_cid + 1 else p_cid end
  end
$$;

comment on function howdah_core.id_cid(smallint, int, jsonb) is
  'The completion id by which a call or send is told the id of its callee.';
