-- A completed invocation once more, as a new one.

-- An id for an invocation that is made in SQL: a UUID of version 7, so that ids are ordered by time.
create or replace function howdah_core.new_id() returns uuid
language sql volatile parallel safe
return encode(set_bit(set_bit(overlay(
  uuid_send(gen_random_uuid()) placing
  substring(int8send((extract(epoch from howdah_core.clock()) * 1000)::bigint) from 3) from 1 for 6),
  52, 1), 53, 1), 'hex')::uuid;

comment on function howdah_core.new_id() is 'A new id for an invocation, ordered by time.';

-- Makes an invocation with the target, input and headers of a completed one. Journal entries 1 to
-- p_from are taken over, and with them what later completed their commands; what they did is not
-- done again. They keep their times. The new one draws the old one's random numbers then.
--
-- It has no caller and no idempotency key. It is ready at once, or where it needs its key,
-- `scheduled` for this very moment: promote lets it into the key's inbox. `copied` in the invocation
-- is the number of all entries taken over; the epoch says that there is a journal to load.
--
-- p_deployment: null or 'latest'; 'keep', the version that executed the old one; or the name of a
-- deployment. What needs its key gets whichever version serves the key's queue.
--
-- result: 'done', or why not: 'unknown', 'not started', 'still running', 'unsupported' (the run of a
-- workflow; a version for an exclusive handler), 'gone' (its journal was removed), 'out of range'
-- (no such entry, or the output), 'incomplete' (a command among them has no completion),
-- 'unknown deployment'; 'again': it moved meanwhile.
-- Locks: the outcome, for share: it is not removed meanwhile. Any isolation level, any transaction.
-- Raises: 55P03. Called by: worker/engine.py, howdah.restart_as_new.
create or replace function howdah_core.restart_as_new(
  p_id uuid, p_from int default 0, p_deployment text default null,
  out result text, out new_id uuid)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_i record;
  v_o record;
  v_last int;
  v_no int;
  v_q int;
  v_copied int := 0;
  v_ts timestamptz;
begin
  select i.service, i.handler, i.key, i.is_exclusive, i.headers, i.input, i.seed, h.kind, i.scope,
         i.limit_key
    into v_i
    from howdah_core.invocation i
    cross join lateral (select x.kind from howdah_core.handler x where x.no = i.handler offset 0) h
   where i.id = p_id;
  if not found then
    result := 'unknown';
    return;
  end if;
  select o.deployment, o.journal_expires_at = '-infinity' as is_gone into v_o
    from howdah_core.outcome o where o.id = p_id for share;
  if not found then
    result := case
      when exists (select from howdah_core.inbox b where b.id = p_id) then 'not started'
      else coalesce((select case when k.status in ('scheduled', 'held') then 'not started'
                                 else 'still running' end
                       from howdah_core.live k where k.id = p_id), 'again') end;
    return;
  elsif v_i.kind = 'workflow' then
    result := 'unsupported';
    return;
  elsif v_o.is_gone then
    result := 'gone';
    return;
  end if;

  v_q := v_i.service;
  if p_deployment <> 'latest' then
    select d.no, s.q into v_no, v_q
      from howdah_core.deployment d
      join howdah_core.deployment_service s on s.deployment = d.no
     where s.service = v_i.service
       and case p_deployment when 'keep' then d.no = v_o.deployment
           else howdah_core.is_deployment(d.name, p_deployment) end;
    if v_no is null or v_i.is_exclusive then
      result := case when v_no is null then 'unknown deployment' else 'unsupported' end;
      return;
    end if;
  end if;

  -- Entries to take over, in the order in which they are read back.
  select coalesce(max(j.idx) filter (where j.kind <> 2), 0) into v_last
    from howdah_core.journal j where j.id = p_id;
  if p_from is null or p_from < 0 or p_from > v_last then
    result := 'out of range';
    return;
  end if;
  if exists (select from howdah_core.journal c
              where c.id = p_id and c.idx <= p_from and c.kind < 100 and c.cid is not null
                and (c.kind + 100, c.cid) not in (
                  select n.kind, n.cid from howdah_core.journal n
                   where n.id = p_id and n.kind > 100 and n.cid is not null)) then
    result := 'incomplete';
    return;
  end if;

  new_id := howdah_core.new_id();
  v_ts := howdah_core.clock();
  if p_from > 0 then
    insert into howdah_core.journal (id, idx, kind, cid, name, value, ref, detail, at)
    select new_id, row_number() over (order by j.idx), j.kind, j.cid, j.name, j.value, j.ref, j.detail,
           j.at
      from howdah_core.journal j
     where j.id = p_id
       and (j.idx <= p_from
            or j.kind > 100 and j.kind <> 150 and (j.kind, j.cid) in (
              select c.kind + 100, c.cid from howdah_core.journal c
               where c.id = p_id and c.idx <= p_from and c.kind < 100
              union all
              select 106, howdah_core.id_cid(c.kind, c.cid, c.detail) from howdah_core.journal c
               where c.id = p_id and c.idx <= p_from and c.kind in (5, 6)));
    get diagnostics v_copied = row_count;
  end if;
  insert into howdah_core.invocation (id, service, handler, key, is_exclusive, created_at,
    scheduled_at, invoked_by, headers, input, restarted_from, copied, seed, scope, limit_key)
  values (new_id, v_i.service, v_i.handler, v_i.key, v_i.is_exclusive, v_ts,
          case when v_i.is_exclusive then v_ts end, 'restart', v_i.headers, v_i.input, p_id, v_copied,
          case when p_from > 0 then coalesce(v_i.seed, p_id) end, v_i.scope, v_i.limit_key);
  v_q := case when v_i.is_exclusive then 0 when v_i.scope is not null then -v_q else v_q end;
  insert into howdah_core.live (id, status, q, created_at, modified_at, run_at, epoch, deployment,
                                limit_path)
  values (new_id, case when v_i.is_exclusive then 'scheduled' when v_i.scope is not null then 'held'
                       else 'ready' end,
          v_q, v_ts, v_ts, v_ts, (p_from > 0)::int, v_no,
          howdah_core.limit_path(v_i.scope, v_i.limit_key));
  perform pg_notify('howdah_work', v_q::text);
  result := 'done';
end
$$;

comment on function howdah_core.restart_as_new(uuid, int, text) is
  'Makes a new invocation of a completed one, with the journal''s first p_from entries.';
