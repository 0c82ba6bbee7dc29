-- After a lost reply nobody knows which invocations this worker holds: the database does.
-- Compares its leases with the attempts that are resident in the process (p_ids, p_epochs).
--
-- Returns 'X' (id) for each resident attempt whose lease is gone, then, for each lease without a
-- resident attempt, the rows of load_attempts and load_scopes (under a new epoch, so that nothing of the attempt
-- that was lost can be written any more), then 'T'. 'F' alone: fenced or an old generation.
--
-- Locks: advisory (1, worker) exclusive: it waits out a batch that a vanished connection left
-- behind. Live rows, waiting. Raises: WD010, 55P03. Called by: worker/recovery.py, with the commit
-- lane and claims at rest.
create or replace function howdah_core.reconcile(
  p_worker int, p_gen int, p_state int, p_ids uuid[], p_epochs int[])
returns table (
  what "char", id uuid, idx int, kind smallint, cid int, name text, value bytea, ref uuid,
  detail jsonb, at timestamptz, handler int, key text, epoch int, attempts int,
  attempts_total int, parent_id uuid, parent_cid int, origin int, idempotency_key text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  v_ids uuid[];
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(1, p_worker);
  if not exists (select from howdah_core.worker w
                  where w.no = p_worker and w.gen = p_gen and w.fenced_at is null) then
    what := 'F'; return next; return;
  end if;

  return query
    select 'X'::"char", u.id, null::int, null::smallint, null::int, null::text, null::bytea,
           null::uuid, null::jsonb, null::timestamptz, null::int, null::text, null::int, null::int,
           null::int, null::uuid, null::int, null::int, null::text
      from unnest(p_ids, p_epochs) u(id, epoch)
      left join lateral (select k.worker, k.epoch from howdah_core.live k
                          where k.id = u.id offset 0) l on true
     where (l.worker = p_worker and l.epoch = u.epoch) is not true;

  with mine as materialized (
    select k.id from howdah_core.live k
     where k.worker = p_worker
       and not exists (select from unnest(p_ids, p_epochs) r(id, epoch)
                        where r.id = k.id and r.epoch = k.epoch)
     order by k.id for update),
  taken as (
    update howdah_core.live l
       set epoch = l.epoch + 1, attempts_total = l.attempts_total + 1,
           modified_at = howdah_core.clock()
     where l.id = any (array(select mine.id from mine))
    returning l.id)
  select array_agg(taken.id) into v_ids from taken;

  if v_ids is not null then
    perform howdah_core.absorb_mail(v_ids);
    return query select * from howdah_core.load_attempts(v_ids, v_ids, p_state);
    return query select * from howdah_core.load_scopes(v_ids);
  end if;
  what := 'T'; at := howdah_core.clock(); return next;
end
$$;
