-- A worker's life: register, beat, be fenced, be reclaimed. One row for each start of a process;
-- ids are never used again. Staleness is what an observer saw unchanged on its own clock, never
-- an age in the table.

-- A process starts. Returns its number.
create or replace function howdah_core.register_worker(
  p_id uuid, p_host text, p_pid int, p_roles text[], p_slots int, p_deployment int, p_version text)
returns int
language sql
as $$
  with started as (
    insert into howdah_core.worker (id, host, pid, roles, slots, deployment, version)
    values (p_id, p_host, p_pid, p_roles, p_slots, p_deployment, p_version)
    returning no)
  select started.no
    from started
    -- Who serves what may have changed.
    cross join lateral (select pg_notify('howdah_registry', '') offset 0) told
$$;

-- One beat, from the worker's own connection (whose end others may see). Returns the counter;
-- null: fenced, stop everything. Locks: the worker's row.
create or replace function howdah_core.beat(p_worker int) returns bigint
language sql
as $$
  update howdah_core.worker w
     set beat = w.beat + 1, beat_at = clock_timestamp(), backend_pid = pg_backend_pid(),
         backend_start = (select a.backend_start from pg_catalog.pg_stat_activity a
                           where a.pid = pg_backend_pid())
   where w.no = p_worker and w.fenced_at is null
  returning w.beat
$$;

-- What an observer looks at: the beats of all workers that are not fenced, and whether the
-- connection that beats is still there.
create or replace function howdah_core.observe_workers()
returns table (no int, beat bigint, is_connected boolean)
language sql stable
as $$
  select w.no, w.beat,
         exists (select from pg_catalog.pg_stat_activity a
                  where a.pid = w.backend_pid and a.backend_start = w.backend_start)
    from howdah_core.worker w where w.fenced_at is null
$$;

-- Takes a worker's right to write, unless it beat since it was seen. Waits half a second for a
-- batch in flight; on 55P03 the caller ends the backends that hold the lock and tries again.
-- Returns whether it is fenced now. Locks: advisory (1, worker) exclusive, the worker's row.
create or replace function howdah_core.fence(p_worker int, p_seen_beat bigint) returns boolean
language plpgsql
set lock_timeout = '500ms'
as $$
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(1, p_worker);
  update howdah_core.worker w set fenced_at = clock_timestamp()
   where w.no = p_worker and w.beat = p_seen_beat and w.fenced_at is null;
  if found then
    perform pg_notify('howdah_registry', '');
    return true;
  end if;
  return false;
end
$$;

-- Ends the backends that hold a worker's shared lock. Returns how many.
create or replace function howdah_core.terminate_holders(p_worker int) returns int
language sql
as $$
  select count(pg_terminate_backend(l.pid))::int
    from pg_catalog.pg_locks l
   where l.locktype = 'advisory' and l.classid = 1 and l.objid = p_worker::oid and l.objsubid = 2
     and l.database = (select d.oid from pg_catalog.pg_database d
                        where d.datname = current_database())
     and l.granted and l.pid <> pg_backend_pid()
$$;

-- The next generation of this worker's batches: waits out whatever an earlier connection left
-- running, after which nothing of the old generation can be written. Null: fenced.
-- Locks: advisory (1, worker) exclusive, the worker's row. Raises: 55P03.
create or replace function howdah_core.next_generation(p_worker int) returns int
language plpgsql
set lock_timeout = '5s'
as $$
declare
  v_gen int;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(1, p_worker);
  update howdah_core.worker w set gen = w.gen + 1
   where w.no = p_worker and w.fenced_at is null
  returning w.gen into v_gen;
  return v_gen;
end
$$;

-- A process ends in good order: what it still holds (nothing, after a drain) is free at once.
-- Locks: advisory (1, worker) exclusive, the worker's row.
create or replace function howdah_core.unregister_worker(p_worker int) returns void
language plpgsql
set lock_timeout = '5s'
as $$
begin
  perform pg_advisory_xact_lock(1, p_worker);
  update howdah_core.worker w
     set stopped_at = clock_timestamp(), fenced_at = coalesce(w.fenced_at, clock_timestamp())
   where w.no = p_worker;
  perform pg_notify('howdah_registry', '');
end
$$;

-- Invocations of fenced workers become ready again, a batch at a time; every worker calls this
-- for ever. Returns (q, n): the queues concerned and how many. Locks: live rows, skip locked.
create or replace function howdah_core.reclaim(p_limit int)
returns table (q int, n int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform howdah_core.assert_read_committed();
  return query
    with lost as materialized (
      select l.id
        from howdah_core.worker w
        cross join lateral (select k.id from howdah_core.live k
                             where k.worker = w.no limit p_limit for update skip locked) l
       where w.fenced_at is not null
       limit p_limit),
    ready as (
      update howdah_core.live l
         set status = 'ready', worker = null, run_at = howdah_core.clock(),
             modified_at = howdah_core.clock()
       where l.id = any (array(select lost.id from lost))
      returning l.q)
    select ready.q, count(*)::int from ready group by ready.q;
end
$$;
