-- Appends journal entries of invocations that this worker holds: the short path of
-- commit_batch for batches in which nothing else happens (the steps of running handlers).
--
-- u_*: one row for each unit (an invocation's slice of the batch); j_u names a unit by position.
-- Returns 'F' when the worker is fenced or the generation is old (nothing was written),
-- 'L' with the unit's position for each unit whose lease is gone (its slice was not written).
--
-- Locks: advisory (1, worker) shared. Ownership is a plain read: whoever takes an owned row away
-- holds the exclusive lock on its worker. Raises: WD010. Called by: store/lane.py.
create or replace function howdah_core.append_batch(
  p_worker int, p_gen int,
  u_id uuid[], u_epoch int[],
  j_u int[], j_idx int[], j_kind smallint[], j_cid int[], j_name text[], j_value bytea[],
  j_ref uuid[], j_detail jsonb[])
returns table (what "char", unit int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_ok boolean[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform howdah_core.assert_read_committed();
  end if;
  perform pg_advisory_xact_lock_shared(1, p_worker);
  if not exists (select from howdah_core.worker w
                  where w.no = p_worker and w.gen = p_gen and w.fenced_at is null) then
    what := 'F'; unit := 0; return next; return;
  end if;

  select array_agg(coalesce(l.worker = p_worker and l.epoch = u.epoch, false) order by u.o)
    into v_ok
    from unnest(u_id, u_epoch) with ordinality u(id, epoch, o)
    left join lateral (select k.worker, k.epoch from howdah_core.live k
                        where k.id = u.id offset 0) l on true;

  insert into howdah_core.journal (id, idx, kind, cid, name, value, ref, detail, at)
  select u_id[j.u], j.idx, j.kind, j.cid, j.name, j.value, j.ref, j.detail, c.at
    from unnest(j_u, j_idx, j_kind, j_cid, j_name, j_value, j_ref, j_detail)
         j(u, idx, kind, cid, name, value, ref, detail)
    cross join (select howdah_core.clock() at offset 0) c
   where v_ok[j.u];

  if false = any (v_ok) then
    return query select 'L'::"char", o::int from unnest(v_ok) with ordinality x(ok, o) where not ok;
  end if;
end
$$;
