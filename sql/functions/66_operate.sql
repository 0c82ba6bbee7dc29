-- What an operator may do to one invocation, in a transaction of its own: cancel, kill, pause, resume,
-- purge, purge_journal. Others (sql/functions/83_verbs.sql) leave an order, which ends up here.

-- Ends an invocation that nobody executes any more: its outcome, its caller's completion, the key's
-- next holder, orders to kill its callees. The caller (operate) holds what guards its place: its live
-- row and, if it was running, its worker's exclusive lock; a place in an inbox is guarded by the key,
-- which is taken here.
--
-- Returns the columns of operate that it knows; result is 'done', or 'again' when the inbox was left
-- meanwhile.
-- Locks: the caller's live row, waiting; a keylock insert (for one that was never due: it arrives at
-- its key and leaves at once, so that `tail` counts it); the keylock row, waiting.
-- Raises: 55P03. Called by: operate.
create or replace function howdah_core.end_early(
  p_id uuid, p_outcome text, p_message text, p_is_inboxed boolean, p_was_scheduled boolean,
  out result text, out queues int[], out mail_id uuid, out mail_worker int, out origin int,
  out has_sinks boolean, out orders int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  c_code constant int := 409;
  v_i record;
  v_next record;
  v_ts timestamptz;
begin
  select i.service, i.key, i.is_exclusive, i.parent_id, i.parent_cid, i.origin, i.copied,
         case when h.kind = 'workflow' then coalesce(h.workflow_retention, interval '1 day')
              when i.idempotency_key is not null then h.idempotency_retention
              else h.journal_retention end as retention,
         h.journal_retention
    into v_i
    from howdah_core.invocation i
    cross join lateral (select * from howdah_core.handler x where x.no = i.handler offset 0) h
   where i.id = p_id;

  if v_i.parent_cid is not null then
    perform from howdah_core.live k where k.id = v_i.parent_id for no key update;
  end if;
  if v_i.is_exclusive then
    if p_was_scheduled then
      insert into howdah_core.keylock (service, key) values (v_i.service, v_i.key)
          on conflict do nothing;
    end if;
    perform from howdah_core.keylock k
      where k.service = v_i.service and k.key = v_i.key for no key update;
  end if;
  if p_is_inboxed and not exists (select from howdah_core.inbox b where b.id = p_id) then
    result := 'again';
    return;
  end if;

  -- Every lock is held: from here on only reads and writes.
  v_ts := howdah_core.clock();
  result := 'done';
  queues := '{}';
  origin := v_i.origin;
  insert into howdah_core.outcome (id, outcome, created_at, started_at, completed_at, expires_at,
    journal_expires_at, attempts_total, deployment, code, message)
  select p_id, p_outcome, l.created_at, l.started_at, v_ts, v_ts + v_i.retention,
         case when v_i.journal_retention < v_i.retention then v_ts + v_i.journal_retention end,
         l.attempts_total, l.deployment, c_code, p_message
    from (select k.created_at, k.started_at, k.attempts_total, k.deployment
            from howdah_core.live k where k.id = p_id
          union all
          select b.created_at, null, 0, null from howdah_core.inbox b where b.id = p_id) l;
  delete from howdah_core.live k where k.id = p_id;
  delete from howdah_core.inbox b where b.id = p_id;
  delete from howdah_core.mailbox m where m.id = p_id;
  delete from howdah_core.promise_waiter w where w.waiter_id = p_id;
  has_sinks := exists (select from howdah_core.sink s where s.target_id = p_id);

  if v_i.is_exclusive and p_was_scheduled then
    update howdah_core.keylock k set tail = k.tail + 1
     where k.service = v_i.service and k.key = v_i.key;
  elsif v_i.is_exclusive and not p_is_inboxed then
    select b.id, b.q, b.created_at, (i.copied > 0)::int as epoch
      into v_next
      from howdah_core.inbox b
      cross join lateral (select x.copied from howdah_core.invocation x
                           where x.id = b.id offset 0) i
     where b.service = v_i.service and b.key = v_i.key
     order by b.service, b.key, b.seq limit 1;
    update howdah_core.keylock k set holder = v_next.id
     where k.service = v_i.service and k.key = v_i.key and k.holder = p_id;
    if v_next.id is not null then
      delete from howdah_core.inbox b where b.id = v_next.id;
      insert into howdah_core.live (id, status, q, created_at, modified_at, run_at, epoch)
      values (v_next.id, 'ready', v_next.q, v_next.created_at, v_ts, v_ts, v_next.epoch);
      queues := array[v_next.q];
    end if;
  end if;

  if v_i.parent_cid is not null then
    insert into howdah_core.mailbox (id, kind, cid, detail, at)
    select k.id, 105, v_i.parent_cid,
           jsonb_build_object('code', c_code, 'message', p_message), v_ts
      from howdah_core.live k where k.id = v_i.parent_id;
    if found then
      with woken as (
        update howdah_core.live k
           set status = 'ready', run_at = v_ts, modified_at = v_ts, wait_ids = null, wait_note = null
         where k.id = v_i.parent_id and k.status = 'suspended'
           and howdah_core.is_satisfied(k.id, k.wait_ids, k.wait_all, k.wait_tree)
        returning k.q)
      select queues || array_agg(woken.q) into queues from woken;
      select k.id, k.worker into mail_id, mail_worker
        from howdah_core.live k where k.id = v_i.parent_id and k.worker is not null;
    end if;
  end if;

  orders := 0;
  if p_outcome = 'killed' then
    insert into howdah_core.nudge (id, verb)
    select distinct c.callee, 'kill'
      from (select coalesce((select n.ref from howdah_core.journal n
                              where n.id = j.id and n.kind = 106
                                and n.cid = howdah_core.id_cid(j.kind, j.cid, j.detail)
                              limit 1), j.ref) as callee
              from howdah_core.journal j
             where j.id = p_id and j.kind in (5, 6) and j.idx > v_i.copied) c
     where exists (select from howdah_core.invocation i where i.id = c.callee)
       and not exists (select from howdah_core.outcome o where o.id = c.callee);
    get diagnostics orders = row_count;
  end if;
end
$$;

comment on function howdah_core.end_early(uuid, text, text, boolean, boolean) is
  'Ends an invocation without its handler: part of howdah_core.operate.';

-- Carries out one verb for one invocation.
--
-- result         'done', or 'accepted' (an attempt has still to notice), or why not: 'unknown',
--                'completed', 'not completed', 'not started', 'not running', 'still running',
--                'unknown deployment'; 'again': it moved meanwhile, call again
-- worker         the worker that it was taken away from: tell it 'k:<id>'
-- queues         queues that have ready work now
-- mail_id        running invocation that has new mail, and mail_worker, where it runs
-- origin         the process whose HTTP client may wait for the outcome: tell it 'c:<id>'
-- has_sinks      others wait for the outcome: deliver_sinks
-- orders         how many orders for other invocations were left: next_orders
--
-- cancel         not begun at its key or not due: it ends at once, failed with 409 'canceled'.
--                Otherwise a signal (kind 150, cid -1); one that is suspended or paused goes on
-- kill           it ends at once, 409 'killed'; calls and sends in its journal are to be killed too
-- pause          until it is resumed
-- resume         starts the next attempt now, with a new count of retries. p_deployment: null or
--                'keep', 'latest' or the name of a deployment, for one that has begun
-- purge          removes a completed invocation (of a workflow: with the key's state and promises)
-- purge_journal  removes its journal only
--
-- Locks, in this order (sql/README.md): for what runs elsewhere, advisory (1, its worker) exclusive,
-- which waits for the batch in flight and holds up the next one; its live row, waiting, then its
-- caller's, waiting (callers come before their callees, so two of these never wait in a circle); its
-- key, waiting. It comes alone and holds no key while it waits for a row. Purges: outcome, and for
-- workflows what remove_lock says.
-- Raises: WD010, 55P03 (a row was locked for two seconds: call again). Called by: worker/engine.py,
-- carry_out.
create or replace function howdah_core.operate(
  p_id uuid, p_verb text, p_deployment text default null,
  out result text, out worker int, out queues int[], out mail_id uuid, out mail_worker int,
  out origin int, out has_sinks boolean, out orders int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_takes constant boolean := p_verb in ('kill', 'pause');
  v_owner int;
  v_l record;
  v_is_live boolean;
  v_q int;
  v_no int;
  v_ts timestamptz;
begin
  perform howdah_core.assert_read_committed();
  queues := '{}';
  has_sinks := false;
  orders := 0;
  if p_verb in ('purge', 'purge_journal') then
    result := case p_verb when 'purge' then howdah_core.purge_one(p_id)
                          else howdah_core.purge_journal_of(p_id) end;
    return;
  elsif not v_takes and p_verb not in ('cancel', 'resume') then
    raise invalid_parameter_value using message = format('%L is no verb', p_verb);
  end if;

  if v_takes then
    select k.worker into v_owner from howdah_core.live k where k.id = p_id;
    if v_owner is not null then
      perform pg_advisory_xact_lock(1, v_owner);
    end if;
  end if;
  select k.status, k.worker, k.q, k.deployment into v_l
    from howdah_core.live k where k.id = p_id for no key update;
  v_is_live := found;
  v_ts := howdah_core.clock();

  if not v_is_live then
    if exists (select from howdah_core.inbox b where b.id = p_id) then
      if p_verb in ('kill', 'cancel') then
        select e.result, e.queues, e.mail_id, e.mail_worker, e.origin, e.has_sinks, e.orders
          into result, queues, mail_id, mail_worker, origin, has_sinks, orders
          from howdah_core.end_early(
                 p_id, case p_verb when 'kill' then 'killed' else 'failed' end,
                 case p_verb when 'kill' then 'killed' else 'canceled' end, true, false) e;
      else
        result := case p_verb when 'pause' then 'not running' else 'not started' end;
      end if;
    elsif exists (select from howdah_core.outcome o where o.id = p_id) then
      result := 'completed';
    elsif exists (select from howdah_core.invocation i where i.id = p_id) then
      result := 'again';
    else
      result := 'unknown';
    end if;
    return;
  end if;

  -- Its owner came after the look at it: the lock that is held is another's.
  if v_takes and v_l.worker is not null and v_l.worker is distinct from v_owner then
    result := 'again';
    return;
  end if;

  if p_verb = 'kill' or p_verb = 'cancel' and v_l.status in ('scheduled', 'held') then
    select e.result, e.queues, e.mail_id, e.mail_worker, e.origin, e.has_sinks, e.orders
      into result, queues, mail_id, mail_worker, origin, has_sinks, orders
      from howdah_core.end_early(
             p_id, case p_verb when 'kill' then 'killed' else 'failed' end,
             case p_verb when 'kill' then 'killed' else 'canceled' end,
             false, v_l.status = 'scheduled') e;
    worker := v_l.worker;

  elsif p_verb = 'cancel' then
    result := 'accepted';
    insert into howdah_core.mailbox (id, kind, cid, at) values (p_id, 150, -1, v_ts);
    if v_l.status in ('suspended', 'paused') then
      update howdah_core.live k
         set status = 'ready', run_at = v_ts, modified_at = v_ts, wait_ids = null, wait_note = null,
             attempts = case v_l.status when 'paused' then 0 else k.attempts end
       where k.id = p_id;
      queues := array[v_l.q];
    elsif v_l.worker is not null then
      mail_id := p_id;
      mail_worker := v_l.worker;
    end if;

  elsif p_verb = 'pause' then
    if v_l.status in ('scheduled', 'held') then
      result := 'not running';
    elsif v_l.status = 'paused' then
      result := 'done';
    else
      result := 'accepted';
      worker := v_l.worker;
      update howdah_core.live k
         set status = 'paused', worker = null, run_at = null, modified_at = v_ts, wait_ids = null,
             wait_note = null
       where k.id = p_id;
    end if;

  elsif v_l.status in ('scheduled', 'held') then
    result := 'not started';

  else
    v_q := v_l.q;
    v_no := v_l.deployment;
    if p_deployment not in ('keep', 'latest') then
      select d.no, case when v_l.q < 0 then -s.q else s.q end into v_no, v_q
        from howdah_core.deployment d
        join howdah_core.deployment_service s on s.deployment = d.no
       where howdah_core.is_deployment(d.name, p_deployment)
         and s.service = (select i.service from howdah_core.invocation i where i.id = p_id);
      if v_no is null then
        result := 'unknown deployment';
        return;
      end if;
    elsif p_deployment = 'latest' and v_l.deployment is not null then
      select case when v_l.q < 0 then -i.service else i.service end, null into v_q, v_no
        from howdah_core.invocation i where i.id = p_id;
    end if;
    -- Only a version that has begun can be exchanged, and not under an attempt, nor before one that
    -- is to come: unless there is nobody who could make it.
    if p_deployment <> 'keep'
       and (case when v_l.deployment is null then p_deployment <> 'latest'
                 when v_l.status in ('ready', 'backing_off')
                   then not howdah_core.is_unserved(v_l.q)
                 else v_l.status not in ('suspended', 'paused') end) then
      result := 'still running';
      return;
    end if;
    result := 'done';
    if v_l.status <> 'running' then
      update howdah_core.live k
         set status = 'ready', run_at = v_ts, modified_at = v_ts, attempts = 0, q = v_q,
             deployment = v_no, wait_ids = null, wait_note = null
       where k.id = p_id;
      queues := array[v_q];
    end if;
  end if;
end
$$;

comment on function howdah_core.operate(uuid, text, text) is
  'Carries out one verb (cancel, kill, pause, resume, purge, purge_journal) for one invocation.';

-- Orders that people left (howdah.cancel, …) and callees that are to be killed: the first one of each
-- invocation among the p_limit oldest, so that orders for one invocation are carried out in order.
-- Locks: none. Called by: worker/engine.py.
create or replace function howdah_core.next_orders(p_limit int)
returns table (seq bigint, id uuid, verb text, deployment text)
language sql stable
set enable_seqscan = off
as $$
  select o.seq, o.id, o.verb, o.deployment
    from (select n.seq, n.id, n.verb, n.deployment,
                 row_number() over (partition by n.id order by n.seq) as rank
            from (select * from howdah_core.nudge x order by x.seq limit p_limit) n) o
   where o.rank = 1
   order by o.seq
$$;

comment on function howdah_core.next_orders(int) is
  'The oldest orders that nobody has carried out yet, one for each invocation.';

-- Carries out one order and deletes it, unless the answer is 'again'. Returns operate's row with the
-- order's invocation and verb; no row when another process has the order, or had it.
-- Locks: the order's row, skip locked, then those of operate. Raises: WD010, 55P03 (the order stays).
-- Called by: worker/engine.py.
create or replace function howdah_core.carry_out(p_seq bigint)
returns table (id uuid, verb text, result text, worker int, queues int[], mail_id uuid,
               mail_worker int, origin int, has_sinks boolean, orders int)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_order record;
begin
  perform howdah_core.assert_read_committed();
  select n.id, n.verb, n.deployment into v_order
    from howdah_core.nudge n where n.seq = p_seq for update skip locked;
  if not found then
    return;
  end if;
  id := v_order.id;
  verb := v_order.verb;
  select o.result, o.worker, o.queues, o.mail_id, o.mail_worker, o.origin, o.has_sinks, o.orders
    into result, worker, queues, mail_id, mail_worker, origin, has_sinks, orders
    from howdah_core.operate(v_order.id, v_order.verb, v_order.deployment) o;
  if result <> 'again' then
    delete from howdah_core.nudge n where n.seq = p_seq;
  end if;
  return next;
end
$$;

comment on function howdah_core.carry_out(bigint) is
  'Carries out one order (howdah_core.nudge) and removes it.';
