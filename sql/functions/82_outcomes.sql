-- Outcomes for clients that wait.

-- The outcome of each invocation that has one; 'P' pending, 'U' unknown for the others.
-- Locks: none. Called by: worker/clients.py.
create or replace function howdah_core.read_outcomes(p_ids uuid[])
returns table (what "char", id uuid, outcome text, value bytea, code int, message text,
               metadata jsonb, expires_at timestamptz, handler int)
language plpgsql stable
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
    select case when o.id is not null then 'O' when i.id is not null then 'P' else 'U' end::"char",
           u.id, o.outcome, o.value, o.code, o.message, o.metadata, o.expires_at, i.handler
      from unnest(p_ids) u(id)
      left join lateral (select x.* from howdah_core.outcome x where x.id = u.id offset 0) o on true
      left join lateral (select x.id, x.handler from howdah_core.invocation x
                          where x.id = u.id offset 0) i on true;
end
$$;

-- A process asks to be told when an invocation completes. Returns as read_outcomes: when the
-- outcome is there already, nothing is left behind.
-- Locks: none; a completion that this misses is found by the sweep. Called by: worker/clients.py.
create or replace function howdah_core.watch(p_worker int, p_id uuid)
returns table (what "char", id uuid, outcome text, value bytea, code int, message text,
               metadata jsonb, expires_at timestamptz, handler int)
language plpgsql
as $$
#variable_conflict use_column
begin
  if exists (select from howdah_core.invocation i where i.id = p_id)
     and not exists (select from howdah_core.outcome o where o.id = p_id) then
    insert into howdah_core.sink (target_id, worker) values (p_id, p_worker);
  end if;
  return query select * from howdah_core.read_outcomes(array[p_id]);
end
$$;

-- The invocation that has this idempotency key, or null.
create or replace function howdah_core.find_idempotent(
  p_handler int, p_key text, p_idem text, p_scope text)
returns uuid
language sql stable
return (select i.id from howdah_core.idem i
         where i.handler = p_handler and i.key = coalesce(p_key, p_scope, '') and i.idempotency_key = p_idem);

-- Which of these invocations exist: after a lost reply, was the request accepted?
create or replace function howdah_core.existing(p_ids uuid[]) returns setof uuid
language sql stable
set enable_seqscan = off
as $$
  select i.id from howdah_core.invocation i where i.id = any (p_ids)
$$;
