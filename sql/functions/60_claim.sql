-- Takes invocations whose rows the caller has locked, and loads what is needed to execute them: their
-- mail moves into their journals. Parameters as of claim. Returns the rows of load_attempts.
-- The ids are an array: the planner takes a limited CTE for a large one and would join it to the
-- whole table.
-- Locks: none beyond the caller's. Called by: claim, claim_limited.
create or replace function howdah_core.take(
  p_worker int, p_ids uuid[], p_queues int[], p_deployments int[], p_pinned int[], p_state int)
returns table (
  what "char", id uuid, idx int, kind smallint, cid int, name text, value bytea, ref uuid,
  detail jsonb, at timestamptz, handler int, key text, epoch int, attempts int,
  attempts_total int, parent_id uuid, parent_cid int, origin int, idempotency_key text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_again uuid[];
  v_mail uuid[];
begin
  with taken as (
    update howdah_core.live l
       set status = 'running', worker = p_worker, run_at = null, wait_ids = null,
           wait_note = null, q = coalesce(p_pinned[array_position(p_queues, l.q)], l.q),
           epoch = l.epoch + 1, attempts = l.attempts + 1, attempts_total = l.attempts_total + 1,
           deployment = p_deployments[array_position(p_queues, l.q)], modified_at = howdah_core.clock(),
           started_at = coalesce(l.started_at, howdah_core.clock())
     where l.id = any (p_ids)
    returning l.id, l.created_at, l.epoch)
  select array_agg(taken.id order by taken.created_at),
         array_agg(taken.id) filter (where taken.epoch > 1)
    into v_ids, v_again
    from taken;
  -- Signals may have come before the first attempt.
  select array_agg(distinct m.id) into v_mail from howdah_core.mailbox m where m.id = any (v_ids);
  if v_mail is not null then
    perform howdah_core.absorb_mail(v_mail);
    select array_agg(u.id) into v_again
      from (select * from unnest(v_again) union select * from unnest(v_mail)) u(id);
  end if;
  return query select * from howdah_core.load_attempts(v_ids, coalesce(v_again, '{}'), p_state);
end
$$;

-- Takes up to p_limit invocations that are due in the queues that this worker serves, and loads
-- what it needs to execute them. Their mail moves into their journals in the same transaction:
-- the lease is this worker's from here on, and so is the right to write the journal.
--
-- Returns the rows of load_attempts, then 'N' (at = when the next row of these queues is due, null
-- when none is known) and 'T' (at = the clock); 'F' alone when the worker is fenced or the
-- generation is old.
--
-- p_deployments and p_pinned: for each of p_queues the deployment that executes it, and the queue of what
-- that deployment has begun; what is taken goes into it, so that the same version goes on with it. p_state: as for commit_batch.
--
-- Locks: advisory (1, worker) shared; live rows, skip locked. now() is the index condition: a
-- volatile clock is not one. Raises: WD010. Called by: worker/claiming.py.
create or replace function howdah_core.claim(
  p_worker int, p_gen int, p_queues int[], p_deployments int[], p_pinned int[], p_state int,
  p_limit int)
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
  v_ids uuid[];
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock_shared(1, p_worker);
  if not exists (select from howdah_core.worker w
                  where w.no = p_worker and w.gen = p_gen and w.fenced_at is null) then
    what := 'F'; return next; return;
  end if;

  select array_agg(due.id) into v_ids
    from (select x.id
            from unnest(p_queues) u(q)
            cross join lateral (
              select k.id from howdah_core.live k
               where k.q = u.q and k.run_at <= howdah_core.now()
               order by k.q, k.run_at limit p_limit for update skip locked) x
           limit p_limit) due;
  if v_ids is not null then
    return query select * from howdah_core.take(
      p_worker, v_ids, p_queues, p_deployments, p_pinned, p_state);
  end if;

  what := 'N';
  select min(x.run_at) into at
    from unnest(p_queues) u(q)
    cross join lateral (
      select k.run_at from howdah_core.live k
       where k.q = u.q and k.run_at > howdah_core.now()
       order by k.q, k.run_at limit 1) x;
  return next;
  what := 'T'; at := howdah_core.clock(); return next;
end
$$;
