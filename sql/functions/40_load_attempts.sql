-- What a worker needs to execute invocations it has just taken: facts, journal, object state.
--
-- Rows, told apart by `what`: 'I' the invocation (value = input), 'J' a journal entry
-- (idx, kind, cid, name, value, ref, detail, at), 'V' a state entry of its key (name, value; a null
-- value: there is more). An 'I' row's idx is its deployment, and ref whose random numbers it
-- draws, if not its own; cid is how many attempts failed since it last recorded a command, and name
-- for how many milliseconds that lasts already (both null: it never failed).
-- All 'I' rows come first, then the 'J' rows in order, then 'V'.
--
-- Locks: none; the caller holds the leases. Called by: claim, reconcile.
create or replace function howdah_core.load_attempts(
  p_ids uuid[], p_with_journal uuid[], p_state int)
returns table (
  what "char", id uuid, idx int, kind smallint, cid int, name text, value bytea, ref uuid,
  detail jsonb, at timestamptz, handler int, key text, epoch int, attempts int,
  attempts_total int, parent_id uuid, parent_cid int, origin int, idempotency_key text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
    select 'I'::"char", i.id, l.deployment, null::smallint, f.since::int, f.ms, i.input,
           i.seed,
           i.headers, i.created_at, i.handler, i.key, l.epoch, l.attempts,
           l.attempts_total, i.parent_id, i.parent_cid, i.origin, i.idempotency_key
      from unnest(p_ids) with ordinality u(id, o)
      cross join lateral (select * from howdah_core.invocation x where x.id = u.id offset 0) i
      cross join lateral (select k.epoch, k.attempts, k.attempts_total, k.deployment
                            from howdah_core.live k where k.id = u.id offset 0) l
      left join lateral (
        select count(*) filter (where x.failed_at >= c.at) as since,
               floor(extract(epoch from howdah_core.now() - c.at) * 1000)::bigint::text as ms
          from (select coalesce((select j.at from howdah_core.journal j
                                  where j.id = i.id and j.kind < 100
                                  order by j.idx desc limit 1), i.created_at) as at offset 0) c
          join howdah_core.failure x on x.id = i.id
         group by c.at) f on l.attempts_total > 1
     order by u.o;

  if cardinality(p_with_journal) > 0 then
    return query
      select 'J'::"char", j.id, j.idx, j.kind, j.cid, j.name, j.value, j.ref,
             j.detail, j.at, null::int, null::text, null::int, null::int,
             null::int, null::uuid, null::int, null::int, null::text
        from unnest(p_with_journal) u(id)
        cross join lateral (select * from howdah_core.journal x
                             where x.id = u.id order by x.id, x.idx) j;
  end if;

  return query
    select 'V'::"char", i.id, null::int, null::smallint, null::int, s.name, s.value, null::uuid,
           null::jsonb, null::timestamptz, null::int, null::text, null::int, null::int,
           null::int, null::uuid, null::int, null::int, null::text
      from unnest(p_ids) u(id)
      cross join lateral (select x.id, x.service, x.key from howdah_core.invocation x
                           where x.id = u.id and x.key is not null offset 0) i
      cross join lateral howdah_core.eager_state(i.service, i.key, p_state) s;
end
$$;

-- The scopes of those invocations that have one: rows 'S' (name = scope, key = limit key), with the columns of
-- load_attempts, and after its rows.
-- Locks: none. Called by: claim_limited, reconcile.
create or replace function howdah_core.load_scopes(p_ids uuid[])
returns table (
  what "char", id uuid, idx int, kind smallint, cid int, name text, value bytea, ref uuid,
  detail jsonb, at timestamptz, handler int, key text, epoch int, attempts int,
  attempts_total int, parent_id uuid, parent_cid int, origin int, idempotency_key text)
language sql stable
set enable_seqscan = off
as $$
  select 'S'::"char", i.id, null::int, null::smallint, null::int, i.scope, null::bytea, null::uuid,
         null::jsonb, null::timestamptz, null::int, i.limit_key, null::int, null::int,
         null::int, null::uuid, null::int, null::int, null::text
    from unnest(p_ids) u(id)
    cross join lateral (select x.id, x.scope, x.limit_key from howdah_core.invocation x
                         where x.id = u.id offset 0) i
   where i.scope is not null
$$;
