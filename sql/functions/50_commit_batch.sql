-- One batch of everything that a process's invocations do, in one transaction.
--
-- The batch consists of units (u_*), one for each invocation that has something to write; every
-- other array names its unit by position (n_u = 0: a request accepted from outside). A unit is
-- accepted, busy (a row it needs is locked: send it again) or lost (its lease is gone: abandon
-- the attempt); the others commit regardless.
--
-- u_final   '' goes on; 'D' done; 'S' gives the lease back (suspended, backing off, paused, ready)
-- x_*       pairs of units that stand or fall together (a callee's completion, its caller's entry)
-- j_*       journal entries              m_*  mail taken into the journal, deleted here
-- w_*       state writes; name null: all of the key's state first; value null: clear
-- n_*       new invocations: cid = the caller's completion id (null: a send), grant = a slot is
--           reserved for it in this process, waits = a client of this process waits for the outcome;
--           n_scope and n_limit_key are empty when none has one, which is never granted
-- t_*       mail for invocations that are not resident in this process, and signals; t_u = 0: it
--           comes from outside
-- r_*       what a handler asks of the database, answered with mail to its own unit (kind + 100):
--           12, 13 state that was not loaded; 14, 15, 16 promises; 18, 19 another's outcome
-- d_*       outcomes; key null: holds no key     s_*  how the lease is given back; s_q: the queue
--           of one that has done nothing yet, so that any version may begin it again; s_uncounted:
--           the attempt is not one of its policy's
-- f_*       failed attempts, for the record
--
-- Returns rows told apart by `what`:
--   F fenced or an old generation: nothing was written     T the clock of this batch (at)
--   L, B unit `n` lost, busy                               D new invocation `id` exists as `ref`
--   G exclusive invocation `id` holds its key and is granted     V its state (name, value)
--   E new invocation `id` is scheduled for `at`
--   H the key's next invocation `id` is granted to this worker (n = deployment)   Q queue `n` has ready work
--   R suspended unit's mail was there already: ready again (id, n = queue)
--   W mail went to suspended `id`: wake it    M mail went to `id`, running on worker `n`
--   P the answer to unit `id`'s request: its mail (name = seq, handler = kind, n = cid, value, detail)
--   Y mail from outside at position `n` was not delivered: a row is locked, send it again
--   O an order (nudge) was left    S `id` has an outcome that others wait for: deliver_sinks
--
-- p_served, p_deployments and p_pinned: services whose new invocations this worker may begin, for each
-- the deployment that does it, and the queue of what that deployment has begun. p_state: bytes of a key's state that come with a grant, about.
--
-- Locks, in this order (sql/README.md): advisory (1, worker) shared; own live rows that are final
-- and mail targets, skip locked; idem inserts, sorted; keylock inserts, sorted; keylock rows taken
-- and freed, sorted, one pass, waiting; promise inserts and rows, sorted, one pass, waiting. Nothing
-- waits while others could wait for it in turn:
-- holders of live rows are never waited for, except when p_block says that one final was deferred
-- too often and comes alone, holding no key.
-- Rows are changed by a ctid only where an earlier statement of this function locked them.
-- Raises: WD010, 55P03 (a key is locked for too long, or it was removed a moment ago: send it again). Called by: store/lane.py.
create or replace function howdah_core.commit_batch(
  p_worker int, p_gen int, p_served int[], p_deployments int[], p_pinned int[], p_state int,
  p_block boolean, p_clock boolean,
  u_id uuid[], u_epoch int[], u_final text[],
  x_a int[], x_b int[],
  j_u int[], j_idx int[], j_kind smallint[], j_cid int[], j_name text[], j_value bytea[],
  j_ref uuid[], j_detail jsonb[],
  m_u int[], m_seq bigint[],
  w_u int[], w_service int[], w_key text[], w_name text[], w_value bytea[],
  n_u int[], n_id uuid[], n_service int[], n_handler int[], n_key text[], n_exclusive boolean[],
  n_cid int[], n_input bytea[], n_headers jsonb[], n_idem text[], n_delay interval[],
  n_grant boolean[], n_waits boolean[], n_scope text[], n_limit_key text[],
  t_u int[], t_id uuid[], t_kind smallint[], t_cid int[], t_name text[], t_value bytea[],
  t_detail jsonb[],
  r_u int[], r_kind smallint[], r_cid int[], r_service int[], r_key text[], r_name text[],
  r_target uuid[], r_value bytea[], r_detail jsonb[],
  d_u int[], d_outcome text[], d_value bytea[], d_code int[], d_message text[], d_metadata jsonb[],
  d_service int[], d_key text[], d_retention interval[],
  d_journal_retention interval[],
  s_u int[], s_status text[], s_run_at timestamptz[], s_delay interval[], s_wait_ids text[],
  s_wait_all boolean[], s_tree text[], s_note text[], s_q int[], s_uncounted boolean[],
  f_u int[], f_failure jsonb[])
returns table (
  what "char", id uuid, n int, name text, value bytea, ref uuid, detail jsonb, at timestamptz,
  handler int, key text, parent_id uuid, parent_cid int, origin int, idempotency_key text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
  v_ts timestamptz;
  v_own boolean[] := '{}';     -- by unit: the lease is this worker's
  v_ok boolean[] := '{}';      -- by unit: accepted
  v_busy int[];
  v_sent boolean[];            -- by position in t_*: its target may be written to
  v_promises boolean := false;
  v_wanted int;
  v_locked int;
  v_won int[];                 -- positions in r_* that completed a promise
  v_changed boolean;
  v_new boolean[] := '{}';     -- by position in n_*: created by this batch
  v_holds boolean[];           -- by position in n_*: needs no key, or has it
  v_existing uuid[];           -- by position in n_*: the invocation that has its idempotency key
  v_takes boolean := false;
  v_frees boolean := false;
  v_fresh int := 0;            -- keys that this batch inserted, all its own
  v_taken int := 0;            -- keys that it takes
  v_fresh_service int[];
  v_fresh_key text[];
  v_done uuid[];
  v_handed uuid[];
  v_granted uuid[];
  v_ordered uuid[];            -- to be cancelled by an order
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform howdah_core.assert_read_committed();
  end if;
  perform pg_advisory_xact_lock_shared(1, p_worker);
  if not exists (select from howdah_core.worker w
                  where w.no = p_worker and w.gen = p_gen and w.fenced_at is null) then
    what := 'F'; return next; return;
  end if;

  -- 1 Ownership, then the rows that finals change and mail goes to. Nothing waits here.
  if cardinality(u_id) > 0 then
    select array_agg(coalesce(l.worker = p_worker and l.epoch = u.epoch, false) order by u.o)
      into v_own
      from unnest(u_id, u_epoch) with ordinality u(id, epoch, o)
      left join lateral (select k.worker, k.epoch from howdah_core.live k
                          where k.id = u.id offset 0) l on true;
    v_ok := v_own;
    if cardinality(d_u) > 0 or cardinality(s_u) > 0 then
      if p_block then
        perform from unnest(u_id, u_final) u(id, final)
          cross join lateral (select from howdah_core.live k
                               where k.id = u.id and u.final <> '' for no key update) l;
      else
        select array_agg(v_ok[u.o] and (u.final = '' or l.locked is true) order by u.o)
          into v_ok
          from unnest(u_id, u_final) with ordinality u(id, final, o)
          left join lateral (select true as locked from howdah_core.live k
                              where k.id = u.id and u.final <> ''
                                for no key update skip locked) l on true;
      end if;
    end if;
  end if;
  if cardinality(t_u) > 0 then
    -- A target that is gone gets no mail; one that is locked defers its unit.
    select array_agg(not z.there or z.locked is true order by z.o) into v_sent
      from (select t.o,
                   exists (select from howdah_core.live k where k.id = t.id) as there,
                   (select true from howdah_core.live k where k.id = t.id for share skip locked) as locked
              from unnest(t_id) with ordinality t(id, o)) z;
    if false = any (v_sent) then
      select array_agg(t.u) filter (where t.u > 0) into v_busy
        from unnest(t_u, v_sent) t(u, sent) where not t.sent;
      return query
        select 'Y'::"char", null::uuid, t.o::int, null::text, null::bytea, null::uuid, null::jsonb,
               null::timestamptz, null::int, null::text, null::uuid, null::int, null::int, null::text
          from unnest(t_u, v_sent) with ordinality t(u, sent, o) where t.u = 0 and not t.sent;
    end if;
  end if;
  if cardinality(u_id) > 0 then
    if v_busy is not null then
      select array_agg(ok and not (o = any (v_busy)) order by o) into v_ok
        from unnest(v_ok) with ordinality x(ok, o);
    end if;
    if false = any (v_ok) then
      while cardinality(x_a) > 0 loop
        v_changed := false;
        for i in 1 .. cardinality(x_a) loop
          if v_ok[x_a[i]] <> v_ok[x_b[i]] then
            v_ok[x_a[i]] := false; v_ok[x_b[i]] := false; v_changed := true;
          end if;
        end loop;
        exit when not v_changed;
      end loop;
      return query
        select case when v_own[o] then 'B' else 'L' end::"char", null::uuid, o::int, null::text,
               null::bytea, null::uuid, null::jsonb, null::timestamptz, null::int, null::text,
               null::uuid, null::int, null::int, null::text
          from unnest(v_ok) with ordinality x(ok, o) where not ok;
    end if;
  end if;

  -- 2 Idempotency keys: insert in one statement, read who has them in the next.
  if cardinality(n_id) > 0 then
    if cardinality(array_remove(n_idem, null)) > 0 then
      for i in 1 .. 5 loop
        insert into howdah_core.idem (handler, key, idempotency_key, id)
        select distinct on (u.handler, coalesce(u.key, u.scope, ''), u.idem)
               u.handler, coalesce(u.key, u.scope, ''), u.idem, u.id
          from unnest(n_u, n_id, n_handler, n_key, n_idem, n_scope) with ordinality
               u(u, id, handler, key, idem, scope, o)
         where u.idem is not null and (u.u = 0 or v_ok[u.u])
         order by u.handler, coalesce(u.key, u.scope, ''), u.idem, u.o
            on conflict do nothing;
        select array_agg(case when u.idem is not null and (u.u = 0 or v_ok[u.u])
                              then coalesce(i.id, v_nobody) end order by u.o)
          into v_existing
          from unnest(n_u, n_handler, n_key, n_idem, n_scope) with ordinality
               u(u, handler, key, idem, scope, o)
          left join lateral (select x.id from howdah_core.idem x
                              where x.handler = u.handler and x.key = coalesce(u.key, u.scope, '')
                                and x.idempotency_key = u.idem offset 0) i on true;
        exit when (v_nobody = any (v_existing)) is not true;
      end loop;
    end if;
    select array_agg((u.u = 0 or v_ok[u.u])
                     and (v_existing is null or v_existing[u.o] is null or v_existing[u.o] = u.id)
                     order by u.o),
           coalesce(bool_or(u.exclusive and u.delay is null and (u.u = 0 or v_ok[u.u])), false)
      into v_new, v_takes
      from unnest(n_u, n_id, n_exclusive, n_delay) with ordinality u(u, id, exclusive, delay, o);
  end if;

  -- 3 Keys: fresh ones are inserted, all others taken or freed are locked, both in one order.
  if cardinality(d_u) > 0 then
    v_frees := exists (select from unnest(d_u, d_key) d(u, key) where d.key is not null and v_ok[d.u]);
  end if;
  if v_takes then
    with taken as (
      select u.service, u.key, (array_agg(u.id order by u.o))[1] as first, count(*) as n
        from unnest(n_id, n_service, n_key, n_exclusive, n_delay) with ordinality
             u(id, service, key, exclusive, delay, o)
       where u.exclusive and u.delay is null and v_new[u.o]
       group by u.service, u.key),
    fresh as (
      insert into howdah_core.keylock (service, key, holder, tail)
      select taken.service, taken.key, taken.first, taken.n from taken order by 1, 2
          on conflict do nothing
      returning service, key)
    select array_agg(fresh.service), array_agg(fresh.key), count(*),
           (select count(*) from taken)
      into v_fresh_service, v_fresh_key, v_fresh, v_taken
      from fresh;
  end if;
  if v_frees or v_taken > v_fresh then
    select count(*), count(l.is_there) into v_wanted, v_locked
      from (
        select u.service, u.key
          from unnest(n_service, n_key, n_exclusive, n_delay) with ordinality
               u(service, key, exclusive, delay, o)
         where v_taken > v_fresh and u.exclusive and u.delay is null and v_new[u.o]
         union
        select d.service, d.key from unnest(d_u, d_service, d_key) d(u, service, key)
         where d.key is not null and v_ok[d.u]
         order by 1, 2) u
      left join lateral (select true as is_there from howdah_core.keylock k
                          where k.service = u.service and k.key = u.key
                            for no key update) l on true;
    if v_locked < v_wanted then
      raise sqlstate '55P03' using message = 'a key was removed that is taken again';
    end if;
  end if;

  if cardinality(r_u) > 0 then
    if 18 = any (r_kind) or 19 = any (r_kind) then
      -- Another's outcome may be asked for by what makes it one of a kind.
      select array_agg(coalesce(r.target, (
               select i.id from howdah_core.idem i
                where r.kind in (18, 19) and i.handler = (r.detail->>'handler')::int
                  and i.key = r.detail->>'key' and i.idempotency_key = r.detail->>'idem'),
               v_nobody) order by r.o)
        into r_target
        from unnest(r_kind, r_target, r_detail) with ordinality r(kind, target, detail, o);
    end if;
    v_promises := exists (select from unnest(r_u, r_kind) r(u, kind)
                           where r.kind in (14, 16) and v_ok[r.u]);
    if v_promises then
      insert into howdah_core.promise (service, key, name)
      select distinct r.service, r.key, r.name
        from unnest(r_u, r_kind, r_service, r_key, r_name) r(u, kind, service, key, name)
       where r.kind in (14, 16) and v_ok[r.u]
       order by 1, 2, 3
          on conflict do nothing;
      select count(*), count(l.is_there) into v_wanted, v_locked
        from (
          select distinct r.service, r.key, r.name
            from unnest(r_u, r_kind, r_service, r_key, r_name) r(u, kind, service, key, name)
           where r.kind in (14, 16) and v_ok[r.u]
           order by 1, 2, 3) r
        left join lateral (select true as is_there from howdah_core.promise p
                            where p.service = r.service and p.key = r.key and p.name = r.name
                              for no key update) l on true;
      if v_locked < v_wanted then
        raise sqlstate '55P03' using message = 'a promise was removed that is used again';
      end if;
    end if;
  end if;

  -- Every lock is held: from here on only reads and writes.
  v_ts := howdah_core.clock();

  -- 4 Journals, mail that was taken into them, state.
  if cardinality(j_u) > 0 then
    if v_existing is not null then
      -- The id that a caller sees of an idempotent call is that of the first one.
      select array_agg(coalesce(e.existing, j.ref) order by j.o) into j_ref
        from unnest(j_kind, j_ref) with ordinality j(kind, ref, o)
        left join unnest(n_id, v_existing) e(id, existing) on j.kind = 106 and e.id = j.ref;
    end if;
    insert into howdah_core.journal (id, idx, kind, cid, name, value, ref, detail, at)
    select u_id[j.u], j.idx, j.kind, j.cid, j.name, j.value, j.ref, j.detail, v_ts
      from unnest(j_u, j_idx, j_kind, j_cid, j_name, j_value, j_ref, j_detail)
           j(u, idx, kind, cid, name, value, ref, detail)
     where v_ok[j.u];
  end if;
  if cardinality(m_u) > 0 then
    -- Only the lease holder deletes mail, so what is found here is still there.
    delete from howdah_core.mailbox b
     using (select x.ct from unnest(m_u, m_seq) m(u, seq)
             cross join lateral (select k.ctid ct from howdah_core.mailbox k
                                  where k.id = u_id[m.u] and k.seq = m.seq offset 0) x
             where v_ok[m.u]) z
     where b.ctid = z.ct;
  end if;
  if 12 = any (r_kind) or 13 = any (r_kind) then
    return query
      with sent as (
        insert into howdah_core.mailbox as b (id, kind, cid, value, at)
        select u_id[r.u], r.kind + 100, r.cid,
               case r.kind
                 when 12 then (
                   select s.value from howdah_core.state s
                    where s.service = r.service and s.key = r.key and s.name = r.name)
                 else (
                   select convert_to(coalesce(jsonb_agg(s.name order by s.name), '[]')::text, 'UTF8')
                     from howdah_core.state s where s.service = r.service and s.key = r.key) end,
               v_ts
          from unnest(r_u, r_kind, r_cid, r_service, r_key, r_name)
               r(u, kind, cid, service, key, name)
         where r.kind in (12, 13) and v_ok[r.u]
        returning b.id, b.seq, b.kind, b.cid, b.value)
      select 'P'::"char", sent.id, sent.cid, sent.seq::text, sent.value, null::uuid, null::jsonb,
             null::timestamptz, sent.kind::int, null::text, null::uuid, null::int, null::int,
             null::text
        from sent;
  end if;
  if cardinality(w_u) > 0 then
    -- State is guarded by its key: nobody else writes it while this invocation holds the key.
    if exists (select from unnest(w_name, w_value) x(name, value)
                where x.name is null or x.value is null) then
      delete from howdah_core.state s
       using (select x.ct from unnest(w_u, w_service, w_key, w_name, w_value)
                     w(u, service, key, name, value)
               cross join lateral (select k.ctid ct from howdah_core.state k
                                    where k.service = w.service and k.key = w.key
                                      and (w.name is null or k.name = w.name) offset 0) x
               where v_ok[w.u] and w.value is null) z
       where s.ctid = z.ct;
    end if;
    insert into howdah_core.state (service, key, name, value)
    select w.service, w.key, w.name, w.value
      from unnest(w_u, w_service, w_key, w_name, w_value) w(u, service, key, name, value)
     where v_ok[w.u] and w.value is not null
     order by 1, 2, 3
        on conflict on constraint state_pkey do update set value = excluded.value;
  end if;
  if cardinality(f_u) > 0 then
    insert into howdah_core.failure (id, n, worker, failed_at, code, error_code, message,
                                     stacktrace, entry_index, entry_name)
    select u_id[f.u], l.attempts_total, p_worker, v_ts, (f.failure->>'code')::int,
           f.failure->>'error_code', f.failure->>'message', f.failure->>'stacktrace',
           (f.failure->>'entry_index')::int, f.failure->>'entry_name'
      from unnest(f_u, f_failure) f(u, failure)
      cross join lateral (select k.attempts_total from howdah_core.live k
                           where k.id = u_id[f.u] offset 0) l
     where v_ok[f.u]
        on conflict on constraint failure_pkey do nothing;
  end if;

  -- 5 New invocations.
  if cardinality(n_id) > 0 then
    insert into howdah_core.invocation (id, service, handler, key, is_exclusive, created_at,
      scheduled_at, invoked_by, parent_id, parent_cid, origin, idempotency_key, headers, input,
      scope, limit_key)
    select u.id, u.service, u.handler, u.key, u.exclusive, v_ts, v_ts + u.delay,
           case when u.u = 0 then 'ingress' else 'service' end,
           case when u.u > 0 then u_id[u.u] end, u.cid, case when u.waits then p_worker end,
           nullif(u.idem, ''), u.headers, u.input, u.scope, u.limit_key
      from unnest(n_u, n_id, n_service, n_handler, n_key, n_exclusive, n_cid, n_input, n_headers,
                  n_idem, n_delay, n_waits, n_scope, n_limit_key) with ordinality
           u(u, id, service, handler, key, exclusive, cid, input, headers, idem, delay, waits,
             scope, limit_key, o)
     where v_new[u.o];

    if v_takes then
      if v_taken > v_fresh then
        update howdah_core.keylock k
           set holder = coalesce(k.holder, z.first), tail = k.tail + z.n
          from (select t.first, t.n, l.ct
                  from (select u.service, u.key, (array_agg(u.id order by u.o))[1] as first,
                               count(*) as n
                          from unnest(n_id, n_service, n_key, n_exclusive, n_delay) with ordinality
                               u(id, service, key, exclusive, delay, o)
                         where u.exclusive and u.delay is null and v_new[u.o]
                         group by u.service, u.key) t
                 cross join lateral (select x.ctid ct from howdah_core.keylock x
                                      where x.service = t.service and x.key = t.key offset 0) l
                 where (t.service, t.key) not in (
                   select f.service, f.key from unnest(v_fresh_service, v_fresh_key) f(service, key))
               ) z
         where k.ctid = z.ct;
      end if;
      select array_agg(not (u.exclusive and u.delay is null) or l.held is true order by u.o)
        into v_holds
        from unnest(n_id, n_service, n_key, n_exclusive, n_delay) with ordinality
             u(id, service, key, exclusive, delay, o)
        left join lateral (select x.holder = u.id as held from howdah_core.keylock x
                            where x.service = u.service and x.key = u.key
                              and u.exclusive and u.delay is null offset 0) l on true;
      if false = any (v_holds) then
        insert into howdah_core.inbox (service, key, seq, id, q, created_at)
        select u.service, u.key, l.tail - u.n + u.rank, u.id, u.service, v_ts
          from (select u.*, row_number() over (partition by u.service, u.key order by u.o) as rank,
                       count(*) over (partition by u.service, u.key) as n
                  from unnest(n_id, n_service, n_key, n_exclusive, n_delay) with ordinality
                       u(id, service, key, exclusive, delay, o)
                 where u.exclusive and u.delay is null and v_new[u.o]) u
          cross join lateral (select x.tail from howdah_core.keylock x
                               where x.service = u.service and x.key = u.key offset 0) l
         where not v_holds[u.o];
      end if;
    end if;

    insert into howdah_core.live (id, status, q, created_at, started_at, modified_at, run_at,
                                  worker, epoch, attempts, attempts_total, deployment, limit_path)
    select u.id,
           case when u.delay is not null then 'scheduled' when u.granted then 'running'
                when u.scope is not null then 'held' else 'ready' end,
           case when u.scope is not null then -u.service
                when u.delay is not null and u.exclusive then 0
                when z.started = 1 then coalesce(p_pinned[array_position(p_served, u.service)], u.service)
                else u.service end,
           v_ts, case when u.delay is null and u.granted then v_ts end, v_ts,
           case when u.delay is not null then v_ts + u.delay when not u.granted then v_ts end,
           case when u.delay is null and u.granted then p_worker end,
           z.started, z.started, z.started,
           case when z.started = 1 then p_deployments[array_position(p_served, u.service)] end,
           howdah_core.limit_path(u.scope, u.limit_key)
      from unnest(n_id, n_service, n_exclusive, n_delay, n_grant, n_scope, n_limit_key) with ordinality
           u(id, service, exclusive, delay, granted, scope, limit_key, o)
      cross join lateral (select case when u.delay is null and u.granted then 1 else 0 end as started) z
     where v_new[u.o] and (v_holds is null or v_holds[u.o]);

    if v_takes then
      select array_agg(u.id) into v_granted
        from unnest(n_id, n_exclusive, n_delay, n_grant) with ordinality
             u(id, exclusive, delay, granted, o)
       where u.exclusive and u.delay is null and u.granted and v_new[u.o] and v_holds[u.o];
      if v_granted is not null then
        return query
          select 'G'::"char", g.id, null::int, null::text, null::bytea, null::uuid, null::jsonb,
                 null::timestamptz, null::int, null::text, null::uuid, null::int, null::int,
                 null::text
            from unnest(v_granted) g(id);
      end if;
    end if;
    if exists (select from unnest(n_key, n_grant) u(key, granted)
                where u.key is not null and u.granted) then
      return query
        select 'V'::"char", u.id, null::int, s.name, s.value, null::uuid, null::jsonb,
               null::timestamptz, null::int, null::text, null::uuid, null::int, null::int,
               null::text
          from unnest(n_id, n_service, n_key, n_delay, n_grant) with ordinality
               u(id, service, key, delay, granted, o)
          cross join lateral howdah_core.eager_state(u.service, u.key, p_state) s
         where u.key is not null and u.delay is null and u.granted and v_new[u.o]
           and (v_holds is null or v_holds[u.o]);
    end if;
    if cardinality(array_remove(n_delay, null)) > 0 then
      return query
        select 'E'::"char", u.id, null::int, null::text, null::bytea, null::uuid, null::jsonb,
               v_ts + u.delay, null::int, null::text, null::uuid, null::int, null::int, null::text
          from unnest(n_id, n_delay) with ordinality u(id, delay, o)
         where u.delay is not null and v_new[u.o];
    end if;
    if v_existing is not null then
      insert into howdah_core.sink (target_id, waiter_id, cid)
      select v_existing[u.o], u_id[u.u], u.cid
        from unnest(n_u, n_id, n_cid) with ordinality u(u, id, cid, o)
       where u.u > 0 and v_ok[u.u] and u.cid is not null and v_existing[u.o] <> u.id
         and n_idem[u.o] <> '';
      if '' = any (n_idem) then
        -- A workflow runs once: whoever calls it again is told so.
        return query
          with sent as (
            insert into howdah_core.mailbox as b (id, kind, cid, detail, at)
            select u_id[u.u], 105, u.cid,
                   '{"code": 409, "message": "the workflow method was already invoked"}', v_ts
              from unnest(n_u, n_id, n_cid, n_idem) with ordinality u(u, id, cid, idem, o)
             where u.u > 0 and v_ok[u.u] and u.cid is not null and v_existing[u.o] <> u.id
               and u.idem = ''
            returning b.id, b.seq, b.kind, b.cid, b.detail)
          select 'P'::"char", sent.id, sent.cid, sent.seq::text, null::bytea, null::uuid, sent.detail,
                 null::timestamptz, sent.kind::int, null::text, null::uuid, null::int, null::int,
                 null::text
            from sent;
      end if;
      return query
        select 'D'::"char", u.id, null::int, null::text, null::bytea, v_existing[u.o], null::jsonb,
               null::timestamptz, null::int, null::text, null::uuid, null::int, null::int,
               null::text
          from unnest(n_id) with ordinality u(id, o)
         where v_existing[u.o] <> u.id;
    end if;
  end if;

  -- 6 Mail for others, before finals: a target that ends in this very batch loses it with its row.
  if cardinality(t_u) > 0 then
    if exists (select from unnest(t_kind, t_cid) t(kind, cid) where t.kind = 150 and t.cid = -1) then
      -- A cancellation of what has not begun, or is paused, needs more than mail.
      with ordered as (
        insert into howdah_core.nudge as n (id, verb, at)
        select t.id, 'cancel', v_ts
          from unnest(t_u, t_id, t_kind, t_cid) with ordinality t(u, id, kind, cid, o)
          left join lateral (select k.status from howdah_core.live k where k.id = t.id offset 0) l
            on true
         where t.kind = 150 and t.cid = -1
           and case when t.u = 0 then v_sent[t.o] else v_ok[t.u] end
           and (l.status in ('scheduled', 'held', 'paused')
                or exists (select from howdah_core.inbox b where b.id = t.id))
        returning n.id)
      select array_agg(ordered.id) into v_ordered from ordered;
      if v_ordered is not null then
        what := 'O'; id := null; n := null; return next;
      end if;
    end if;
    return query
      with sent as (
        insert into howdah_core.mailbox as b (id, kind, cid, name, value, detail, at)
        select t.id, t.kind, t.cid, t.name, t.value, t.detail, v_ts
          from unnest(t_u, t_id, t_kind, t_cid, t_name, t_value, t_detail) with ordinality
               t(u, id, kind, cid, name, value, detail, o)
          left join lateral (select k.status from howdah_core.live k where k.id = t.id offset 0) l
            on true
         where case when t.u = 0 then v_sent[t.o] else v_ok[t.u] end
           and (l.status is not null or exists (select from howdah_core.inbox i where i.id = t.id))
           -- One that left its inbox in between is cancelled by the order alone.
           and (t.kind = 150 and t.cid = -1 and t.id = any (v_ordered)) is not true
        returning b.id)
      select case when l.status = 'suspended' then 'W' else 'M' end::"char", sent.id, l.worker,
             null::text, null::bytea, null::uuid, null::jsonb, null::timestamptz, null::int,
             null::text, null::uuid, null::int, null::int, null::text
        from (select distinct sent.id from sent) sent
        cross join lateral (select k.status, k.worker from howdah_core.live k
                             where k.id = sent.id offset 0) l;
  end if;

  -- 7 What handlers ask: promises, outcomes of others. The answer is mail to the unit itself.
  if cardinality(r_u) > 0 then
    if 16 = any (r_kind) then
      with done as (
        update howdah_core.promise p set value = z.value, detail = z.detail, completed_at = v_ts
          from (select f.o, f.value, f.detail, x.ct
                  from (select distinct on (r.service, r.key, r.name) r.*
                          from unnest(r_u, r_kind, r_service, r_key, r_name, r_value, r_detail)
                               with ordinality r(u, kind, service, key, name, value, detail, o)
                         where r.kind = 16 and v_ok[r.u]
                         order by r.service, r.key, r.name, r.o) f
                  cross join lateral (
                    select q.ctid ct from howdah_core.promise q
                     where q.service = f.service and q.key = f.key and q.name = f.name
                       and q.completed_at is null offset 0) x) z
         where p.ctid = z.ct
        returning z.o)
      select array_agg(done.o) into v_won from done;
      if v_won is not null then
        return query
          with gone as (
            delete from howdah_core.promise_waiter w
             using (select x.ct from unnest(v_won) v(o)
                     cross join lateral (
                       select k.ctid ct from howdah_core.promise_waiter k
                        where k.service = r_service[v.o] and k.key = r_key[v.o]
                          and k.name = r_name[v.o] offset 0) x) z
             where w.ctid = z.ct
            returning w.service, w.key, w.name, w.waiter_id, w.cid),
          sent as (
            insert into howdah_core.mailbox as b (id, kind, cid, value, detail, at)
            select gone.waiter_id, 114, gone.cid, p.value, p.detail, v_ts
              from gone
              cross join lateral (
                select q.value, q.detail from unnest(v_won) v(o)
                 cross join lateral (select r_value[v.o] as value, r_detail[v.o] as detail) q
                 where r_service[v.o] = gone.service and r_key[v.o] = gone.key
                   and r_name[v.o] = gone.name limit 1) p
             where exists (select from howdah_core.live k where k.id = gone.waiter_id)
            returning b.id)
          select case when l.status = 'suspended' then 'W' else 'M' end::"char", sent.id, l.worker,
                 null::text, null::bytea, null::uuid, null::jsonb, null::timestamptz, null::int,
                 null::text, null::uuid, null::int, null::int, null::text
            from (select distinct sent.id from sent) sent
            cross join lateral (select k.status, k.worker from howdah_core.live k
                                 where k.id = sent.id offset 0) l;
      end if;
    end if;
    insert into howdah_core.promise_waiter (service, key, name, waiter_id, cid)
    select r.service, r.key, r.name, u_id[r.u], r.cid
      from unnest(r_u, r_kind, r_cid, r_service, r_key, r_name) r(u, kind, cid, service, key, name)
      cross join lateral (select p.completed_at from howdah_core.promise p
                           where p.service = r.service and p.key = r.key and p.name = r.name offset 0) p
     where r.kind = 14 and v_ok[r.u] and p.completed_at is null;
    insert into howdah_core.sink (target_id, waiter_id, cid, kind)
    select r.target, u_id[r.u], r.cid, 118
      from unnest(r_u, r_kind, r_cid, r_target) r(u, kind, cid, target)
     where r.kind = 18 and v_ok[r.u]
       and exists (select from howdah_core.invocation i where i.id = r.target);
    return query
      with sent as (
        insert into howdah_core.mailbox as b (id, kind, cid, value, detail, at)
        select u_id[r.u], r.kind + 100, r.cid, a.value, a.detail, v_ts
          from unnest(r_u, r_kind, r_cid, r_service, r_key, r_name, r_target) with ordinality
               r(u, kind, cid, service, key, name, target, o)
          cross join lateral (
            select p.value, p.detail from howdah_core.promise p
             where r.kind in (14, 15) and p.service = r.service and p.key = r.key and p.name = r.name
               and (p.completed_at is not null or r.kind = 15)
            union all
            select null, null
             where r.kind = 15
               and not exists (select from howdah_core.promise p
                                where p.service = r.service and p.key = r.key and p.name = r.name)
            union all
            select null, case when r.o = any (v_won) is not true then
                     '{"code": 409, "message": "promise was already completed"}'::jsonb end
             where r.kind = 16
            union all
            select x.value, case when x.code is not null then jsonb_strip_nulls(jsonb_build_object(
                     'code', x.code, 'message', x.message, 'metadata', x.metadata)) end
              from (select) y
              left join howdah_core.outcome x on x.id = r.target
             where r.kind = 19
               and exists (select from howdah_core.invocation i where i.id = r.target)
            union all
            select null, '{"code": 404, "message": "not found"}'
             where r.kind in (18, 19)
               and not exists (select from howdah_core.invocation i where i.id = r.target)) a
         where v_ok[r.u]
        returning b.id, b.seq, b.kind, b.cid, b.value, b.detail)
      select 'P'::"char", sent.id, sent.cid, sent.seq::text, sent.value, null::uuid, sent.detail,
             null::timestamptz, sent.kind::int, null::text, null::uuid, null::int, null::int,
             null::text
        from sent;
    return query
      select distinct 'S'::"char", r.target, null::int, null::text, null::bytea, null::uuid,
             null::jsonb, null::timestamptz, null::int, null::text, null::uuid, null::int, null::int,
             null::text
        from unnest(r_kind, r_target) r(kind, target)
       where r.kind = 18 and exists (select from howdah_core.outcome o where o.id = r.target);
  end if;

  -- 8 Finals: outcomes, the key's next holder.
  if cardinality(d_u) > 0 then
    insert into howdah_core.outcome (id, outcome, created_at, started_at, completed_at, expires_at,
      journal_expires_at, attempts_total, deployment, worker, code, message, metadata, value)
    select u_id[d.u], d.outcome, l.created_at, l.started_at, v_ts, v_ts + d.retention,
           case when d.journal_retention < d.retention then v_ts + d.journal_retention end, l.attempts_total, l.deployment, p_worker, d.code, d.message, d.metadata, d.value
      from unnest(d_u, d_outcome, d_value, d_code, d_message, d_metadata, d_retention,
                  d_journal_retention)
           d(u, outcome, value, code, message, metadata, retention, journal_retention)
      cross join lateral (select * from howdah_core.live k where k.id = u_id[d.u] offset 0) l
     where v_ok[d.u];
    select array_agg(u_id[d.u]) into v_done from unnest(d_u) d(u) where v_ok[d.u];
    delete from howdah_core.live l where l.id = any (v_done);
    delete from howdah_core.mailbox b where b.id = any (v_done);
    delete from howdah_core.promise_waiter w where w.waiter_id = any (v_done);
    if v_frees then
      with freed as (
        select l.ct, d.service, d.key, next.id, next.seq, next.q, next.created_at, next.copied
          from unnest(d_u, d_service, d_key) d(u, service, key)
          cross join lateral (select x.ctid ct from howdah_core.keylock x
                               where x.service = d.service and x.key = d.key
                                 and x.holder = u_id[d.u] offset 0) l
          left join lateral (select i.id, i.seq, i.q, i.created_at,
                                    (select x.copied from howdah_core.invocation x
                                      where x.id = i.id) as copied
                               from howdah_core.inbox i
                              where i.service = d.service and i.key = d.key
                              order by i.service, i.key, i.seq limit 1) next on true
         where d.key is not null and v_ok[d.u]),
      locks as (
        update howdah_core.keylock k set holder = freed.id from freed where k.ctid = freed.ct),
      taken as (
        delete from howdah_core.inbox i
         where i.id = any (array(select freed.id from freed where freed.id is not null))),
      started as (
        insert into howdah_core.live (id, status, q, created_at, started_at, modified_at, run_at,
                                      worker, epoch, attempts, attempts_total, deployment)
        select freed.id, case when g.granted then 'running' else 'ready' end,
               case when g.granted then coalesce(p_pinned[array_position(p_served, freed.q)], freed.q) else freed.q end,
               freed.created_at, case when g.granted then v_ts end, v_ts,
               case when g.granted then null else v_ts end,
               case when g.granted then p_worker end,
               -- One with a copied journal has it loaded by a claim.
               (g.granted or freed.copied > 0)::int, g.granted::int,
               g.granted::int,
               case when g.granted then p_deployments[array_position(p_served, freed.q)] end
          from freed
          cross join lateral (select freed.q = any (p_served) and freed.copied = 0 as granted) g
         where freed.id is not null
        returning id, worker)
      select array_agg(started.id) filter (where started.worker is not null), array_agg(started.id)
        into v_handed, v_granted
        from started;
      if v_handed is not null then
        return query
          select 'H'::"char", i.id, p_deployments[array_position(p_served, i.service)], null::text, i.input, null::uuid, i.headers,
                 i.created_at, i.handler, i.key, i.parent_id, i.parent_cid, i.origin,
                 i.idempotency_key
            from unnest(v_handed) u(id)
            cross join lateral (select * from howdah_core.invocation x where x.id = u.id offset 0) i;
        return query
          select 'V'::"char", i.id, null::int, s.name, s.value, null::uuid, null::jsonb,
                 null::timestamptz, null::int, null::text, null::uuid, null::int, null::int,
                 null::text
            from unnest(v_handed) u(id)
            cross join lateral (select x.id, x.service, x.key from howdah_core.invocation x
                                 where x.id = u.id offset 0) i
            cross join lateral howdah_core.eager_state(i.service, i.key, p_state) s;
        return query
          select distinct 'M'::"char", b.id, p_worker, null::text, null::bytea, null::uuid,
                 null::jsonb, null::timestamptz, null::int, null::text, null::uuid, null::int,
                 null::int, null::text
            from howdah_core.mailbox b where b.id = any (v_handed);
      end if;
      if cardinality(v_granted) > coalesce(cardinality(v_handed), 0) then
        return query
          select distinct 'Q'::"char", null::uuid, l.q, null::text, null::bytea, null::uuid,
                 null::jsonb, null::timestamptz, null::int, null::text, null::uuid, null::int,
                 null::int, null::text
            from unnest(v_granted) u(id)
            cross join lateral (select k.q from howdah_core.live k
                                 where k.id = u.id and k.worker is null offset 0) l;
      end if;
    end if;
    return query
      select distinct 'S'::"char", s.target_id, null::int, null::text, null::bytea, null::uuid,
             null::jsonb, null::timestamptz, null::int, null::text, null::uuid, null::int,
             null::int, null::text
        from howdah_core.sink s where s.target_id = any (v_done);
  end if;

  -- 9 Finals: leases given back.
  if cardinality(s_u) > 0 then
    update howdah_core.live l
       set status = z.status, worker = null, run_at = z.run_at, modified_at = v_ts,
           wait_ids = z.wait_ids, wait_all = z.wait_all, wait_tree = z.tree, wait_note = z.note,
           q = coalesce(z.q, l.q), deployment = case when z.q is null then l.deployment end,
           attempts = case when z.uncounted then greatest(l.attempts - 1, 0) else
                      case z.status when 'suspended' then 0
                                    when 'ready' then greatest(l.attempts - 1, 0)
                                    else l.attempts end end
      from (select o.ct, s.status,
                   coalesce(least(s.run_at, v_ts + s.delay), case when s.status = 'ready' then v_ts end)
                     as run_at,
                   s.wait_ids::int[] as wait_ids, s.wait_all, s.tree::int[] as tree, s.note, s.q,
                   coalesce(s.uncounted, false) as uncounted
              from unnest(s_u, s_status, s_run_at, s_delay, s_wait_ids, s_wait_all, s_tree, s_note,
                          s_q, s_uncounted)
                   s(u, status, run_at, delay, wait_ids, wait_all, tree, note, q, uncounted)
              cross join lateral (select k.ctid ct from howdah_core.live k
                                   where k.id = u_id[s.u] offset 0) o
             where v_ok[s.u]) z
     where l.ctid = z.ct;
    -- A new statement, a new snapshot: it sees the mail that came before the row was locked.
    return query
      with ready as (
        update howdah_core.live l
           set status = 'ready', run_at = v_ts, wait_ids = null
          from (select o.ct from unnest(s_u, s_status) s(u, status)
                 cross join lateral (
                   select k.ctid ct from howdah_core.live k
                    where k.id = u_id[s.u] and k.status = 'suspended'
                      and howdah_core.is_satisfied(k.id, k.wait_ids, k.wait_all, k.wait_tree) offset 0) o
                 where v_ok[s.u] and s.status = 'suspended') z
         where l.ctid = z.ct
        returning l.id, l.q)
      select 'R'::"char", ready.id, ready.q, null::text, null::bytea, null::uuid, null::jsonb,
             null::timestamptz, null::int, null::text, null::uuid, null::int, null::int, null::text
        from ready;
  end if;

  if p_clock then
    what := 'T'; id := null; n := null; name := null; value := null; ref := null; detail := null;
    at := v_ts;
    return next;
  end if;
end
$$;
