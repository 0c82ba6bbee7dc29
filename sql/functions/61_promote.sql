-- Delayed sends to exclusive handlers that are due enter their key's inbox (or take the key).
-- They are not claimed: arrival order at a key is the order in which the key's row was locked.
--
-- Returns (q) for each queue that has ready work now, and one row with at = when the next is due.
--
-- Locks: advisory (1, worker) shared; keylock inserts, sorted; keylock rows, sorted, waiting;
-- then live rows, skip locked (so that nothing waits for a live row while it holds keys).
-- Raises: WD010, 55P03. Called by: worker/promoting.py.
create or replace function howdah_core.promote(p_worker int, p_gen int, p_limit int)
returns table (q int, at timestamptz)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_holders uuid[];
  v_ts timestamptz;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock_shared(1, p_worker);
  if not exists (select from howdah_core.worker w
                  where w.no = p_worker and w.gen = p_gen and w.fenced_at is null) then
    return;
  end if;

  select array_agg(d.id) into v_ids
    from (select k.id from howdah_core.live k
           where k.q = 0 and k.run_at <= howdah_core.now()
           order by k.q, k.run_at limit p_limit) d;
  if v_ids is not null then
    insert into howdah_core.keylock (service, key)
    select distinct i.service, i.key
      from unnest(v_ids) u(id)
      cross join lateral (select x.service, x.key from howdah_core.invocation x
                           where x.id = u.id offset 0) i
     order by 1, 2
        on conflict do nothing;
    perform from (
        select distinct i.service, i.key
          from unnest(v_ids) u(id)
          cross join lateral (select x.service, x.key from howdah_core.invocation x
                               where x.id = u.id offset 0) i
         order by 1, 2) s
      cross join lateral (select from howdah_core.keylock k
                           where k.service = s.service and k.key = s.key for no key update) l;
    -- Another process may have promoted some of them meanwhile.
    select array_agg(l.id) into v_ids
      from unnest(v_ids) u(id)
      cross join lateral (select k.id from howdah_core.live k
                           where k.id = u.id and k.status = 'scheduled' and k.q = 0
                             for update skip locked) l;
  end if;

  if v_ids is not null then
    v_ts := howdah_core.clock();
    with due as materialized (
      select l.id, i.service, i.key, l.run_at, l.created_at,
             row_number() over (partition by i.service, i.key order by l.run_at, l.id) as rank,
             count(*) over (partition by i.service, i.key) as n
        from unnest(v_ids) u(id)
        cross join lateral (select x.service, x.key from howdah_core.invocation x
                             where x.id = u.id offset 0) i
        cross join lateral (select k.id, k.run_at, k.created_at from howdah_core.live k
                             where k.id = u.id offset 0) l),
    locks as (
      update howdah_core.keylock k
         set holder = coalesce(k.holder, z.first), tail = k.tail + z.n
        from (select d.id as first, d.n, l.ct from due d
               cross join lateral (select x.ctid ct from howdah_core.keylock x
                                    where x.service = d.service and x.key = d.key offset 0) l
               where d.rank = 1) z
       where k.ctid = z.ct
      returning k.service, k.key, k.holder, k.tail),
    placed as (
      select due.*, locks.holder, locks.tail - due.n + due.rank as seq
        from due join locks on locks.service = due.service and locks.key = due.key),
    queued as (
      insert into howdah_core.inbox (service, key, seq, id, q, created_at)
      select p.service, p.key, p.seq, p.id, p.service, p.created_at
        from placed p where p.holder <> p.id),
    gone as (
      delete from howdah_core.live l
       where l.id = any (array(select p.id from placed p where p.holder <> p.id)))
    select array_agg(p.id) into v_holders from placed p where p.holder = p.id;
    if v_holders is not null then
      return query
        with ready as (
          update howdah_core.live l
             set status = 'ready', run_at = v_ts, modified_at = v_ts, q = z.service
            from (select o.ct, i.service from unnest(v_holders) u(id)
                   cross join lateral (select x.service from howdah_core.invocation x
                                        where x.id = u.id offset 0) i
                   cross join lateral (select k.ctid ct from howdah_core.live k
                                        where k.id = u.id offset 0) o) z
           where l.ctid = z.ct
          returning l.q)
        select distinct ready.q, null::timestamptz from ready;
    end if;
  end if;

  q := null;
  select k.run_at into at from howdah_core.live k
   where k.q = 0 and k.run_at > howdah_core.now() order by k.q, k.run_at limit 1;
  return next;
end
$$;
