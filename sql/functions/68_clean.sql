-- Completed invocations are removed: when their time is over, or because somebody asks for it.
--
-- A journal that was removed before its invocation leaves a mark: journal_expires_at = '-infinity'.

-- One transaction at a time removes anything of a workflow or cleans: who removes the last invocation
-- of a key sees that it is the last. Locks: advisory (2, 2).
create or replace function howdah_core.remove_lock(p_is_waiting boolean) returns boolean
language plpgsql
as $$
begin
  if p_is_waiting then
    perform pg_advisory_xact_lock(2, 2);
    return true;
  end if;
  return pg_try_advisory_xact_lock(2, 2);
end
$$;

comment on function howdah_core.remove_lock(boolean) is
  'One transaction at a time removes workflows, promises and keys: part of clean and purge.';

-- Removes completed invocations with everything that is theirs; the run of a workflow with the state
-- and promises of its key; promises of a workflow's key of which no invocation is left. Where some
-- are left, promises become what they are before anybody touched them: a batch that found the row
-- there and is about to lock it may not miss it, and those who wait for it stay.
-- Locks: promises, sorted, waiting. The caller has the outcomes for update, for workflows remove_lock,
-- and the key of each run. Raises: 55P03. Called by: clean, purge_one.
create or replace function howdah_core.remove(p_ids uuid[]) returns void
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_service int[];
  v_key text[];
  v_is_run boolean[];
begin
  select array_agg(k.service), array_agg(k.key), array_agg(k.is_run)
    into v_service, v_key, v_is_run
    from (select i.service, i.key, bool_or(i.kind = 'workflow') as is_run
            from unnest(p_ids) u(id)
            cross join lateral (
              select x.service, x.key, h.kind
                from howdah_core.invocation x
                join howdah_core.handler h on h.no = x.handler
                join howdah_core.service v on v.no = x.service and v.kind = 'workflow'
               where x.id = u.id offset 0) i
           group by i.service, i.key) k;

  delete from howdah_core.journal j where j.id = any (p_ids);
  delete from howdah_core.failure f where f.id = any (p_ids);
  delete from howdah_core.idem d where d.id = any (p_ids);
  delete from howdah_core.outcome o where o.id = any (p_ids);
  delete from howdah_core.invocation i where i.id = any (p_ids);

  if v_service is not null then
    delete from howdah_core.state s
     using (select x.ct from unnest(v_service, v_key, v_is_run) u(service, key, is_run)
             cross join lateral (select y.ctid ct from howdah_core.state y
                                  where y.service = u.service and y.key = u.key offset 0) x
             where u.is_run) z
     where s.ctid = z.ct;
    perform from (select u.service, u.key from unnest(v_service, v_key) u(service, key)
                   order by 1, 2) u
      cross join lateral (select from howdah_core.promise p
                           where p.service = u.service and p.key = u.key
                           order by p.service, p.key, p.name for update) l;
    with concerned as materialized (
      select x.ct, u.is_run, i.is_used
        from unnest(v_service, v_key, v_is_run) u(service, key, is_run)
        cross join lateral (select y.ctid ct from howdah_core.promise y
                             where y.service = u.service and y.key = u.key offset 0) x
        cross join lateral (select exists (select from howdah_core.invocation i
                                            where i.service = u.service and i.key = u.key)
                              as is_used offset 0) i),
    gone as (
      delete from howdah_core.promise p using concerned c where p.ctid = c.ct and not c.is_used)
    update howdah_core.promise p set value = null, detail = null, completed_at = null
      from concerned c
     where p.ctid = c.ct and c.is_used and c.is_run;
  end if;
end
$$;

comment on function howdah_core.remove(uuid[]) is
  'Removes completed invocations with all that is theirs: part of clean and purge.';

-- Removes one completed invocation now. Who is attached to it gets the outcome first: invocations as
-- mail, without a lock on them (the sweep wakes them), processes as a word to read what is left.
-- Of a workflow's key whose run goes, the row stays when nobody holds it, counting from nothing again:
-- deleting it is for clean, because a batch that found it there is about to lock it.
--
-- Returns 'done', 'not completed', 'unknown'; 'again': it moved meanwhile, or its workflow's key is
-- held just now.
-- Locks: the outcome, waiting; for a workflow remove_lock and the key's row, waiting. Any isolation
-- level, any transaction. Raises: 55P03. Called by: operate, howdah.purge.
create or replace function howdah_core.purge_one(p_id uuid) returns text
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_i record;
  v_s record;
begin
  select i.service, i.key, h.kind, v.kind = 'workflow' as is_workflow
    into v_i
    from howdah_core.invocation i
    join howdah_core.handler h on h.no = i.handler
    join howdah_core.service v on v.no = i.service
   where i.id = p_id;
  if not found then
    return 'unknown';
  end if;
  perform from howdah_core.outcome o where o.id = p_id for update;
  if not found then
    return case when exists (select from howdah_core.live k where k.id = p_id)
                  or exists (select from howdah_core.inbox b where b.id = p_id) then 'not completed'
                when exists (select from howdah_core.invocation i where i.id = p_id) then 'again'
                else 'unknown' end;
  end if;
  if v_i.is_workflow then
    perform howdah_core.remove_lock(true);
  end if;
  if v_i.kind = 'workflow' then
    perform from howdah_core.keylock k
      where k.service = v_i.service and k.key = v_i.key for no key update;
    if exists (select from howdah_core.keylock k
                where k.service = v_i.service and k.key = v_i.key and k.holder is not null) then
      return 'again';
    end if;
  end if;

  for v_s in delete from howdah_core.sink s where s.target_id = p_id
             returning s.waiter_id, s.cid, s.kind, s.worker loop
    if v_s.worker is not null then
      perform pg_notify('howdah_w' || v_s.worker, 'c:' || p_id);
    elsif exists (select from howdah_core.live k where k.id = v_s.waiter_id) then
      insert into howdah_core.mailbox (id, kind, cid, value, detail, at)
      select v_s.waiter_id, v_s.kind, v_s.cid, o.value,
             case when o.outcome <> 'succeeded' then jsonb_strip_nulls(jsonb_build_object(
               'code', o.code, 'message', o.message, 'metadata', o.metadata)) end,
             howdah_core.clock()
        from howdah_core.outcome o where o.id = p_id;
      perform pg_notify('howdah_mail', v_s.waiter_id::text);
    end if;
  end loop;
  perform howdah_core.remove(array[p_id]);
  if v_i.kind = 'workflow' then
    update howdah_core.keylock k set tail = 0
     where k.service = v_i.service and k.key = v_i.key and k.holder is null
       and not exists (select from howdah_core.invocation i
                        where i.service = v_i.service and i.key = v_i.key and i.is_exclusive);
  end if;
  return 'done';
end
$$;

comment on function howdah_core.purge_one(uuid) is
  'Removes a completed invocation: part of howdah_core.operate and howdah.purge.';

-- Removes the journal of a completed invocation; its outcome stays until its own time.
-- Returns 'done' (also when it was gone already), 'not completed', 'unknown', 'again'.
-- Locks: the outcome, waiting. Raises: 55P03. Called by: operate, howdah.purge_journal.
create or replace function howdah_core.purge_journal_of(p_id uuid) returns text
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
#variable_conflict use_column
begin
  perform from howdah_core.outcome o where o.id = p_id for update;
  if not found then
    return case when exists (select from howdah_core.live k where k.id = p_id)
                  or exists (select from howdah_core.inbox b where b.id = p_id) then 'not completed'
                when exists (select from howdah_core.invocation i where i.id = p_id) then 'again'
                else 'unknown' end;
  end if;
  delete from howdah_core.journal j where j.id = p_id;
  update howdah_core.outcome o set journal_expires_at = '-infinity' where o.id = p_id;
  return 'done';
end
$$;

comment on function howdah_core.purge_journal_of(uuid) is
  'Removes a completed invocation''s journal: part of howdah_core.operate and howdah.purge_journal.';

-- One small batch of everything whose time is over. Returns how much it did; 0: nothing is left, or
-- another process cleans, or what is left has to wait. Never touches what is not completed.
--
-- An invocation with an idempotency key loses the key first and the rest five seconds later: who
-- found it by its key meanwhile still gets its outcome. A workflow's run goes at once with the key's
-- state and promises, unless somebody holds the key. Nothing goes within five seconds of its
-- completion or while somebody who waits for its outcome was not told.
--
-- With the last invocation of a key go its promises and, where it has no state, its keylock row. A
-- batch that found such a row there, and finds nothing when it locks it, is refused and sent again
-- (commit_batch). A key whose row is locked stays for the next time.
--
-- Locks: remove_lock, not waiting; outcomes, keys, sinks: skip locked; promises, sorted, waiting.
-- Raises: WD010. Called by: worker/cleaning.py.
create or replace function howdah_core.clean(p_limit int) returns int
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  c_moment constant interval := '5 s';
  v_due uuid[];
  v_frees uuid[];              -- lose their idempotency key
  v_runs uuid[];               -- of workflows
  v_ids uuid[];                -- go
  v_last uuid[];               -- go with their keys
  v_service int[];
  v_key text[];
  v_done int := 0;
begin
  perform howdah_core.assert_read_committed();
  if not howdah_core.remove_lock(false) then
    return 0;
  end if;

  -- 1 Invocations that are due, locked; then what may happen to each.
  select array_agg(d.id) into v_due
    from (select o.id
            from howdah_core.outcome o
            cross join lateral (select exists (select from howdah_core.sink s
                                                where s.target_id = o.id) as is_awaited offset 0) s
           where o.expires_at <= howdah_core.now()
             and o.completed_at <= howdah_core.now() - c_moment and not s.is_awaited
           order by o.expires_at limit p_limit for update of o skip locked) d;
  if v_due is not null then
    select array_agg(d.id) filter (where d.has_key and not d.is_run),
           array_agg(d.id) filter (where d.is_run),
           array_agg(d.id) filter (where not d.has_key and not d.is_run
                                     and (not d.had_key or d.expires_at <= howdah_core.now() - c_moment))
      into v_frees, v_runs, v_ids
      from (select u.id, o.expires_at, h.kind is not distinct from 'workflow' as is_run,
                   i.idempotency_key is not null as had_key,
                   exists (select from howdah_core.idem x where x.id = u.id) as has_key,
                   exists (select from howdah_core.sink s where s.target_id = u.id) as is_awaited
              from unnest(v_due) u(id)
              cross join lateral (select x.expires_at from howdah_core.outcome x
                                   where x.id = u.id offset 0) o
              left join lateral (select x.idempotency_key, x.handler from howdah_core.invocation x
                                  where x.id = u.id offset 0) i on true
              left join lateral (select x.kind from howdah_core.handler x
                                  where x.no = i.handler offset 0) h on true) d
     where not d.is_awaited;
  end if;
  if v_frees is not null then
    delete from howdah_core.idem d where d.id = any (v_frees);
    update howdah_core.outcome o set expires_at = howdah_core.clock() where o.id = any (v_frees);
    v_done := v_done + cardinality(v_frees);
  end if;
  if v_runs is not null then
    select array_agg(i.id) into v_runs
      from (select x.id, x.service, x.key
              from unnest(v_runs) u(id)
              cross join lateral (select y.id, y.service, y.key from howdah_core.invocation y
                                   where y.id = u.id offset 0) x
             order by x.service, x.key) i
      cross join lateral (select from howdah_core.keylock k
                           where k.service = i.service and k.key = i.key
                             for update skip locked) l;
    select v_ids || array_agg(i.id) into v_ids
      from unnest(v_runs) u(id)
      cross join lateral (select x.id, x.service, x.key from howdah_core.invocation x
                           where x.id = u.id offset 0) i
      cross join lateral (select k.holder from howdah_core.keylock k
                           where k.service = i.service and k.key = i.key offset 0) l
     where l.holder is null;
  end if;

  -- 2 Which of them are the last of a key that leaves something behind.
  if v_ids is not null then
    select array_agg(k.service), array_agg(k.key) into v_service, v_key
      from (select i.service, i.key, count(*) as n, bool_or(i.id = any (v_runs)) as is_run
              from unnest(v_ids) u(id)
              cross join lateral (select x.id, x.service, x.key from howdah_core.invocation x
                                   where x.id = u.id and x.key is not null offset 0) i
             group by i.service, i.key) k
      cross join lateral (
        select count(*) as n from (select from howdah_core.invocation x
                                    where x.service = k.service and x.key = k.key
                                    limit k.n + 1) x) a
      cross join lateral (
        select exists (select from howdah_core.state s
                        where s.service = k.service and s.key = k.key) as has_state,
               exists (select from howdah_core.keylock l
                        where l.service = k.service and l.key = k.key) as has_row,
               exists (select from howdah_core.promise p
                        where p.service = k.service and p.key = k.key) as has_promise offset 0) s
     where a.n = k.n and (s.has_promise or s.has_row and (k.is_run or not s.has_state));
  end if;
  if v_service is not null then
    -- Whoever takes such a key meanwhile waits for its row, finds it gone and begins again. A key
    -- that is being taken is left for the next time.
    select array_agg(i.id) filter (where i.is_last and i.is_locked),
           array_agg(i.id) filter (where not i.is_last)
      into v_last, v_ids
      from (
        with keys as materialized (
          select u.service, u.key,
                 l.ok is true or not exists (select from howdah_core.keylock k
                                              where k.service = u.service and k.key = u.key)
                   as is_locked
            from (select * from unnest(v_service, v_key) x(service, key) order by 1, 2) u
            left join lateral (select true as ok from howdah_core.keylock k
                                where k.service = u.service and k.key = u.key
                                  for update skip locked) l on true)
        select u.id, keys.key is not null as is_last, keys.is_locked
          from unnest(v_ids) u(id)
          left join lateral (select y.service, y.key from howdah_core.invocation y
                              where y.id = u.id offset 0) x on true
          left join keys on keys.service = x.service and keys.key = x.key) i;
    if v_last is not null then
      perform howdah_core.remove(v_last);
      v_done := v_done + cardinality(v_last);
    end if;
    delete from howdah_core.keylock k
     using (select x.ct from unnest(v_service, v_key) u(service, key)
             cross join lateral (select y.ctid ct from howdah_core.keylock y
                                  where y.service = u.service and y.key = u.key
                                    and y.holder is null for update skip locked) x
             where not exists (select from howdah_core.inbox b
                                where b.service = u.service and b.key = u.key)
               and not exists (select from howdah_core.state s
                                where s.service = u.service and s.key = u.key)
               and not exists (select from howdah_core.invocation i
                                where i.service = u.service and i.key = u.key)) z
     where k.ctid = z.ct;
  end if;
  if v_ids is not null then
    perform howdah_core.remove(v_ids);
    v_done := v_done + cardinality(v_ids);
  end if;

  -- 3 Journals that are kept shorter than their outcomes.
  select array_agg(d.id) into v_due
    from (select o.id from howdah_core.outcome o
           where o.journal_expires_at > '-infinity' and o.journal_expires_at <= howdah_core.now()
           order by o.journal_expires_at limit p_limit for update skip locked) d;
  if v_due is not null then
    delete from howdah_core.journal j where j.id = any (v_due);
    update howdah_core.outcome o set journal_expires_at = '-infinity' where o.id = any (v_due);
    v_done := v_done + cardinality(v_due);
  end if;

  return v_done + howdah_core.clean_rest(p_limit);
end
$$;

comment on function howdah_core.clean(int) is
  'Removes one small batch of expired invocations and journals; returns how many, 0 when none are left.';

-- What is rare: those that wait for an invocation which was removed in the very moment when they
-- found it (its outcome is 404 'not found'), and workers that were fenced a week ago.
-- Locks: sink rows and waiters' live rows, skip locked. Called by: clean.
create or replace function howdah_core.clean_rest(p_limit int) returns int
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_s record;
  v_done int := 0;
  v_n int;
begin
  for v_s in
    select k.target_id, k.seq, k.waiter_id, k.cid, k.kind, k.worker
      from howdah_core.sink k
     where not exists (select from howdah_core.invocation i where i.id = k.target_id)
     order by k.target_id, k.seq limit p_limit for update of k skip locked
  loop
    if v_s.worker is not null then
      perform pg_notify('howdah_w' || v_s.worker, 'c:' || v_s.target_id);
    else
      perform from howdah_core.live l where l.id = v_s.waiter_id for share skip locked;
      continue when not found
        and exists (select from howdah_core.live l where l.id = v_s.waiter_id);
      insert into howdah_core.mailbox (id, kind, cid, detail, at)
      select l.id, v_s.kind, v_s.cid, '{"code": 404, "message": "not found"}', howdah_core.clock()
        from howdah_core.live l where l.id = v_s.waiter_id;
    end if;
    delete from howdah_core.sink k where k.target_id = v_s.target_id and k.seq = v_s.seq;
    v_done := v_done + 1;
  end loop;

  delete from howdah_core.worker w
   where w.fenced_at <= howdah_core.now() - interval '7 days'
     and not exists (select from howdah_core.live l where l.worker = w.no);
  get diagnostics v_n = row_count;
  return v_done + v_n;
end
$$;

comment on function howdah_core.clean_rest(int) is
  'Sinks without an invocation and workers of last week: part of clean.';
