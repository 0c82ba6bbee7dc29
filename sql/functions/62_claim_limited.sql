-- Takes up to p_limit invocations that have a scope, as far as the rules allow: at each place where one
-- is counted (its scope, and the components of its limit key) no more may run than the most specific
-- rule for that place says. What runs is what a worker holds; whoever is suspended, backs off or is
-- paused is not counted, and waits for its turn again.
--
-- Paths (scope and limit key) take turns: a call looks at some hundreds of them, from the one after
-- p_after on, and at the oldest invocations of each. So one with much that waits costs as much as one
-- with little, and of many none is left out.
--
-- p_queues and p_pinned: as for claim, negative. Returns the rows of claim, 'S' (name = scope,
-- key = limit key) for each that was taken, and 'L' (name = where the next call goes on; none: from
-- the beginning).
--
-- Nobody but this function makes such an invocation run, one call of it at a time: what it counts
-- under the lock can only become less. How many are offered is bounded by what is free at each of
-- their places as it was before; so those of one call may hold each other up, and the first never:
-- the caller asks again until nothing comes.
--
-- Locks: advisory (1, worker) shared; advisory (2, 3); live rows, skip locked.
-- Raises: WD010, 55P03. Called by: worker/limiting.py.
create or replace function howdah_core.claim_limited(
  p_worker int, p_gen int, p_queues int[], p_deployments int[], p_pinned int[], p_state int,
  p_limit int, p_after text)
returns table (
  what "char", id uuid, idx int, kind smallint, cid int, name text, value bytea, ref uuid,
  detail jsonb, at timestamptz, handler int, key text, epoch int, attempts int,
  attempts_total int, parent_id uuid, parent_cid int, origin int, idempotency_key text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  c_again constant interval := '1 s';  -- a slot that became free without a word is found then
  c_paths constant int := 200;         -- looked at in one call
  v_is_due boolean := false;
  v_places text[];
  v_running bigint[];
  v_full text[];
  v_queues int[];
  v_paths text[];
  v_last text;
  v_ids uuid[];
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock_shared(1, p_worker);
  if not exists (select from howdah_core.worker w
                  where w.no = p_worker and w.gen = p_gen and w.fenced_at is null) then
    what := 'F'; return next; return;
  end if;

  if exists (select from unnest(p_queues) u(q)
              cross join lateral (select from howdah_core.live k
                                   where k.q = u.q and k.run_at <= howdah_core.now() limit 1) x) then
    v_is_due := true;
    perform pg_advisory_xact_lock(2, 3);
    -- What runs, at each place, and which scopes have no room at all.
    select array_agg(x.place), array_agg(x.n) into v_places, v_running
      from (select p.place, count(*) as n
              from howdah_core.live k
              cross join lateral howdah_core.limit_places(k.limit_path) p
             where k.q < 0 and k.worker is not null
             group by p.place) x;
    select array_agg(x.scope) into v_full
      from (select r.pattern as scope, 0 as n
              from howdah_core.limit_rule r where r.level = 1 and r.concurrency = 0
            union all
            select u.place, u.n from unnest(v_places, v_running) u(place, n)
             where position('/' in u.place) = 0) x
      cross join lateral (
        select r.concurrency from howdah_core.limit_rule r
         where r.level = 1 and x.scope like r.likeness and not r.is_disabled
         order by r.rank limit 1) r
     where x.n >= r.concurrency;

    -- Which paths have something, by skipping through the index, and over scopes without room.
    with recursive paths (q, path, n) as (
      select u.q, x.path, 1
        from unnest(p_queues) u(q)
        cross join lateral (
          select k.limit_path as path from howdah_core.live k
           where k.q = u.q and k.q < 0 and k.run_at is not null
             and k.limit_path > coalesce(p_after, '')
           order by k.q, k.limit_path limit 1) x
      union all
      select p.q, x.path, p.n + 1
        from paths p
        cross join lateral (
          select k.limit_path as path from howdah_core.live k
           where k.q = p.q and k.q < 0 and k.run_at is not null
             and k.limit_path > case
               when position('/' in p.path) > 0 and split_part(p.path, '/', 1) = any (v_full)
               then split_part(p.path, '/', 1) || '/~' else p.path end
           order by k.q, k.limit_path limit 1) x
       where p.n < c_paths)
    select array_agg(p.q), array_agg(p.path), case when count(*) = c_paths then max(p.path) end
      into v_queues, v_paths, v_last
      from (select p.q, p.path from paths p order by p.path limit c_paths) p;
  end if;

  if v_paths is not null then
    with places as materialized (
      select w.path, p.level, p.place
        from (select distinct path from unnest(v_paths) u(path)) w
        cross join lateral howdah_core.limit_places(w.path) p),
    free as materialized (
      select p.place, r.concurrency - coalesce(x.n, 0) as n
        from (select distinct level, place from places) p
        cross join lateral (
          select r.concurrency from howdah_core.limit_rule r
           where r.level = p.level and p.place like r.likeness and not r.is_disabled
           order by r.rank limit 1) r
        left join unnest(v_places, v_running) x(place, n) on x.place = p.place
       where r.concurrency is not null),
    rooms as materialized (
      select p.path, min(f.n) as least,
             min(f.n) filter (where p.level = 1) as free_1,
             min(f.n) filter (where p.level = 2) as free_2,
             min(f.n) filter (where p.level = 3) as free_3
        from places p left join free f on f.place = p.place
       group by p.path
      having coalesce(min(f.n), 1) > 0),
    offered as materialized (
      select x.id, x.run_at, r.path, r.free_1, r.free_2, r.free_3
        from unnest(v_queues, v_paths) w(q, path)
        join rooms r on r.path = w.path
        cross join lateral (
          select k.id, k.run_at from howdah_core.live k
           where k.q = w.q and k.q < 0 and k.limit_path = w.path and k.run_at <= howdah_core.now()
           order by k.q, k.limit_path, k.run_at
           limit least(r.least, p_limit) for update skip locked) x),
    ranked as (
      select o.*,
             row_number() over (partition by split_part(o.path, '/', 1)
                                order by o.run_at, o.id) as rank_1,
             row_number() over (partition by split_part(o.path, '/', 1), split_part(o.path, '/', 2)
                                order by o.run_at, o.id) as rank_2,
             row_number() over (partition by o.path order by o.run_at, o.id) as rank_3
        from offered o)
    select array_agg(t.id) into v_ids
      from (select r.id from ranked r
             where (r.rank_1 > r.free_1) is not true
               and (r.rank_2 > r.free_2) is not true
               and (r.rank_3 > r.free_3) is not true
             order by r.run_at, r.id limit p_limit) t;
  end if;

  if v_ids is not null then
    return query select * from howdah_core.take(
      p_worker, v_ids, p_queues, p_deployments, p_pinned, p_state);
    return query select * from howdah_core.load_scopes(v_ids);
  end if;
  if v_last is not null then
    what := 'L'; name := v_last; return next; name := null;
  end if;

  what := 'N';
  select min(x.run_at) into at
    from unnest(p_queues) u(q)
    cross join lateral (
      select k.run_at from howdah_core.live k
       where k.q = u.q and k.run_at > howdah_core.now()
       order by k.q, k.run_at limit 1) x;
  if v_is_due then
    at := least(at, howdah_core.clock() + c_again);
  end if;
  return next;
  what := 'T'; at := howdah_core.clock(); return next;
end
$$;
