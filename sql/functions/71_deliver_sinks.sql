-- Passes outcomes on to those that attached to an invocation: mail for invocations, a hint for
-- processes that hold HTTP clients. The sink row is the durable order; it goes with the delivery.
--
-- p_ids null: all sinks whose target has an outcome (the sweep).
-- Returns 'W' (id suspended: wake it), 'M' (id running on worker n), 'C' (process n waits for id).
-- Locks: sink rows, skip locked; live rows of the waiters, for share, skip locked.
-- Raises: WD010. Called by: worker/delivering.py, sweep.
create or replace function howdah_core.deliver_sinks(p_ids uuid[], p_limit int)
returns table (what "char", id uuid, n int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_target uuid[];
  v_seq bigint[];
begin
  perform howdah_core.assert_read_committed();
  select array_agg(s.target_id), array_agg(s.seq) into v_target, v_seq
    from (select k.target_id, k.seq
            from howdah_core.sink k
           where (p_ids is null or k.target_id = any (p_ids))
             and exists (select from howdah_core.outcome o where o.id = k.target_id)
           order by k.target_id, k.seq limit p_limit
             for update of k skip locked) s;
  if v_target is null then
    return;
  end if;
  return query
    with orders as materialized (
      select s.target_id, s.seq, s.waiter_id, s.cid, s.kind, s.worker, l.status, l.owner,
             -- delivered now, or nobody is left to deliver to
             s.worker is not null or l.locked is true
             or not exists (select from howdah_core.live x where x.id = s.waiter_id) as settled
        from unnest(v_target, v_seq) t(id, seq)
        cross join lateral (select x.* from howdah_core.sink x
                             where x.target_id = t.id and x.seq = t.seq offset 0) s
        left join lateral (select k.status, k.worker as owner, true as locked
                             from howdah_core.live k where k.id = s.waiter_id
                              for share skip locked) l on true),
    sent as (
      insert into howdah_core.mailbox (id, kind, cid, value, detail, at)
      select s.waiter_id, s.kind, s.cid, o.value,
             case when o.outcome <> 'succeeded' then jsonb_strip_nulls(jsonb_build_object(
               'code', o.code, 'message', o.message, 'metadata', o.metadata)) end,
             howdah_core.clock()
        from orders s
        cross join lateral (select x.* from howdah_core.outcome x
                             where x.id = s.target_id offset 0) o
       where s.waiter_id is not null and s.status is not null),
    gone as (
      delete from howdah_core.sink k using orders s
       where k.target_id = s.target_id and k.seq = s.seq and s.settled)
    select case when s.worker is not null then 'C' when s.status = 'suspended' then 'W' else 'M'
           end::"char",
           case when s.worker is not null then s.target_id else s.waiter_id end,
           case when s.worker is not null then s.worker else s.owner end
      from orders s
     where s.worker is not null or s.status is not null;
end
$$;
