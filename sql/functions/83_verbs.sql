-- What people do in SQL, with any client and inside any transaction: a verb takes effect with the
-- transaction's commit. None of them locks what runs. cancel, kill, pause and resume leave an order that
-- a worker carries out; send and set_state leave an invocation that is due; signals
-- (84_signals.sql) are mail. Only what is completed is changed here and now.
--
-- Verbs for an invocation answer with a word and raise nothing, so that they can be used for many:
-- select howdah.cancel(id) from howdah.invocations where …

-- Leaves an order. The answer is what is known now; the order is carried out if it still fits then.
-- Returns 'accepted', or operate's words.
-- Locks: none. Called by: howdah.cancel, kill, pause, resume.
create or replace function howdah_core.place_order(p_id uuid, p_verb text, p_deployment text)
returns text
language plpgsql
as $$
#variable_conflict use_column
declare
  v_l record;
  v_is_begun boolean;
begin
  select p.status, p.deployment, p.service, p.q into v_l
    from (select k.status, k.deployment, i.service, k.q
            from howdah_core.live k join howdah_core.invocation i on i.id = k.id where k.id = p_id
          union all
          select 'inbox', null, b.service, b.q from howdah_core.inbox b where b.id = p_id
          union all
          select 'completed', null, i.service, null
            from howdah_core.outcome o join howdah_core.invocation i on i.id = o.id
           where o.id = p_id) p;
  v_is_begun := v_l.status not in ('inbox', 'scheduled', 'held');
  if v_l.status is null then
    return 'unknown';
  elsif v_l.status = 'completed' then
    return 'completed';
  elsif p_verb = 'pause' and not v_is_begun then
    return 'not running';
  elsif p_verb = 'resume' and not v_is_begun then
    return 'not started';
  elsif p_verb = 'resume' and p_deployment not in ('keep', 'latest') and not exists (
      select from howdah_core.deployment d
        join howdah_core.deployment_service s on s.deployment = d.no
       where howdah_core.is_deployment(d.name, p_deployment) and s.service = v_l.service) then
    return 'unknown deployment';
  elsif p_verb = 'resume' and p_deployment <> 'keep'
        and (case when v_l.deployment is null then p_deployment <> 'latest'
                  when v_l.status in ('ready', 'backing_off')
                    then not howdah_core.is_unserved(v_l.q)
                  else v_l.status not in ('suspended', 'paused') end) then
    return 'still running';
  end if;
  insert into howdah_core.nudge (id, verb, deployment) values (p_id, p_verb, p_deployment);
  perform pg_notify('howdah_order', '');
  return 'accepted';
end
$$;

comment on function howdah_core.place_order(uuid, text, text) is
  'Leaves an order for a worker: part of howdah.cancel and its like.';

create or replace function howdah.cancel(id uuid) returns text
language sql
as $$ select howdah_core.place_order(id, 'cancel', null) $$;

comment on function howdah.cancel(uuid) is
  'Asks an invocation to end: its handler sees a cancellation at its next await. Before it began it ends at once. Returns accepted, completed or unknown.';

create or replace function howdah.kill(id uuid) returns text
language sql
as $$ select howdah_core.place_order(id, 'kill', null) $$;

comment on function howdah.kill(uuid) is
  'Ends an invocation, and all that it called or sent, without asking its handler. Returns accepted, completed or unknown.';

create or replace function howdah.pause(id uuid) returns text
language sql
as $$ select howdah_core.place_order(id, 'pause', null) $$;

comment on function howdah.pause(uuid) is
  'Stops an invocation until it is resumed; it keeps its key. Returns accepted, not running, completed or unknown.';

create or replace function howdah.resume(id uuid, deployment text default null) returns text
language sql
as $$ select howdah_core.place_order(id, 'resume', deployment) $$;

comment on function howdah.resume(uuid, text) is
  'Lets an invocation go on now, with a new count of retries; deployment: keep, latest or a name. Returns accepted, not started, still running, unknown deployment, completed or unknown.';

create or replace function howdah.purge(id uuid) returns text
language sql
as $$ select howdah_core.purge_one(id) $$;

comment on function howdah.purge(uuid) is
  'Removes a completed invocation; the run of a workflow with its state and promises. Returns done, not completed, unknown or again.';

create or replace function howdah.purge_journal(id uuid) returns text
language sql
as $$ select howdah_core.purge_journal_of(id) $$;

comment on function howdah.purge_journal(uuid) is
  'Removes a completed invocation''s journal; its outcome stays. Returns done, not completed, unknown or again.';

create or replace function howdah.restart_as_new(
  id uuid, from_entry int default 0, out result text, out new_id uuid)
language sql
as $$ select r.result, r.new_id from howdah_core.restart_as_new(id, from_entry, null) r $$;

comment on function howdah.restart_as_new(uuid, int) is
  'Makes a new invocation of a completed one; from_entry: keep the journal up to this index. Returns done and the new id, or why not.';

-- The names most like one that is not there, for a hint: by the pairs of letters they share. Null:
-- there are none.
create or replace function howdah_core.nearest(p_name text, p_names text[]) returns text
language sql immutable
as $$
  select string_agg(t.name, ', ' order by t.likeness desc, t.name)
    from (select n.name, (
                   select count(*) from generate_series(1, length(p_name) - 1) i
                    where position(substr(lower(p_name), i, 2) in lower(n.name)) > 0)::float8
                   / greatest(length(p_name), length(n.name), 1) as likeness
            from unnest(p_names) n(name)
           order by likeness desc, n.name limit 3) t
$$;

comment on function howdah_core.nearest(text, text[]) is
  'The three names most like one that is not there: part of the hints of howdah.send.';

-- Makes an invocation that is due now or after p_delay. What needs its key is `scheduled` and let into
-- the key's inbox by promote; anything else waits in its service's queue.
-- With an idempotency key, and for the run of a workflow, the id may be that of an earlier one.
-- Locks: an idem insert, which waits for others that insert the same. Raises: 40001 (under a stricter
-- isolation level, when another transaction has just taken the idempotency key).
-- Called by: howdah.send, howdah.set_state.
create or replace function howdah_core.accept_one(
  p_handler int, p_key text, p_input bytea, p_delay interval, p_idem text, p_scope text default null,
  p_limit_key text default null)
returns uuid
language plpgsql
as $$
#variable_conflict use_column
declare
  v_h record;
  v_id uuid := howdah_core.new_id();
  v_found uuid;
  v_ts timestamptz := howdah_core.clock();
  v_due timestamptz;
  v_idem text;
  v_q int;
begin
  select h.service, h.kind, h.kind in ('exclusive', 'workflow') as is_exclusive into v_h
    from howdah_core.handler h where h.no = p_handler;
  v_idem := case v_h.kind when 'workflow' then '' else p_idem end;
  if v_idem is not null then
    for i in 1 .. 5 loop
      insert into howdah_core.idem (handler, key, idempotency_key, id)
      values (p_handler, coalesce(p_key, p_scope, ''), v_idem, v_id) on conflict do nothing;
      -- A new statement, a new snapshot: it sees the one that the insert ran into.
      select d.id into v_found from howdah_core.idem d
       where d.handler = p_handler and d.key = coalesce(p_key, p_scope, '')
         and d.idempotency_key = v_idem;
      exit when found;
    end loop;
    if v_found is null then
      raise serialization_failure using
        message = 'another transaction has just taken this idempotency key';
    elsif v_found <> v_id then
      return v_found;
    end if;
  end if;
  v_due := case when p_delay > interval '0' then v_ts + p_delay end;
  insert into howdah_core.invocation (id, service, handler, key, is_exclusive, created_at,
    scheduled_at, invoked_by, idempotency_key, input, scope, limit_key)
  values (v_id, v_h.service, p_handler, p_key, v_h.is_exclusive, v_ts,
          coalesce(v_due, case when v_h.is_exclusive then v_ts end), 'sql',
          case when v_h.kind <> 'workflow' then p_idem end, p_input, p_scope, p_limit_key);
  v_q := case when v_h.is_exclusive then 0 when p_scope is not null then -v_h.service
              else v_h.service end;
  insert into howdah_core.live (id, status, q, created_at, modified_at, run_at, limit_path)
  values (v_id, case when v_h.is_exclusive or v_due is not null then 'scheduled'
                     when p_scope is not null then 'held' else 'ready' end,
          v_q, v_ts, v_ts, coalesce(v_due, v_ts), howdah_core.limit_path(p_scope, p_limit_key));
  if v_due is null then
    perform pg_notify('howdah_work', v_q::text);
  end if;
  return v_id;
end
$$;

comment on function howdah_core.accept_one(int, text, bytea, interval, text, text, text) is
  'Makes an invocation that is due: part of howdah.send and howdah.set_state.';

-- The number of a service's handler in force. p_is_hidden: a name that begins with '~' may be asked for.
-- Locks: none. Raises: WD012, WD013, WD019. Called by: howdah.send, howdah.set_state.
create or replace function howdah_core.find_handler(
  p_service text, p_handler text, p_key text, p_is_hidden boolean)
returns int
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_s record;
  v_h record;
begin
  select s.no, s.kind into v_s from howdah_core.service s where s.name = p_service;
  if not found then
    raise sqlstate 'WD012' using message = format('there is no service %L', p_service),
      hint = coalesce(
        'There is: ' || howdah_core.nearest(coalesce(p_service, ''),
                          array(select s.name from howdah_core.service s)) || '.',
        'No worker has registered any yet.');
  end if;
  if v_s.kind = 'service' and p_key is not null then
    raise sqlstate 'WD019' using message = format('service %L has no keys', p_service),
      hint = 'Leave the key out.';
  elsif v_s.kind <> 'service' and coalesce(p_key, '') = '' then
    raise sqlstate 'WD019' using message = format('%s %L is called by key', v_s.kind, p_service),
      hint = format('Name one: key => %L.', '…');
  end if;
  select h.no into v_h
    from howdah_core.handler h
   where h.service = v_s.no and h.name = p_handler and h.retired_at is null
     and (p_is_hidden or h.name not like '~%');
  if not found then
    raise sqlstate 'WD013' using
      message = format('%s %L has no handler %L', v_s.kind, p_service, p_handler),
      hint = case when p_is_hidden
        then 'Its deployment is of an older release; start a worker of this one.'
        else coalesce(
          'It has: ' || howdah_core.nearest(coalesce(p_handler, ''),
                          array(select h.name from howdah_core.handler h
                                 where h.service = v_s.no and h.retired_at is null
                                   and h.name not like '~%')) || '.',
          'It has none at all.') end;
  end if;
  return v_h.no;
end
$$;

comment on function howdah_core.find_handler(text, text, text, boolean) is
  'The number of a handler, or an error that helps: part of howdah.send and howdah.set_state.';

-- Raises: WD012, WD013, WD015, WD016, WD019, WD024 (sql/README.md).
create or replace function howdah.send(
  service text, handler text, argument jsonb default null, key text default null,
  delay interval default null, idempotency_key text default null, scope text default null,
  limit_key text default null)
returns uuid
language plpgsql
as $$
declare
  v_no int := howdah_core.find_handler(send.service, send.handler, send.key, false);
  v record;
begin
  select h.kind, h.input_required, h.input_content_type, s.kind as service_kind into v
    from howdah_core.handler h join howdah_core.service s on s.no = h.service where h.no = v_no;
  perform howdah_core.assert_limit_path(send.scope, send.limit_key, send.service, v.service_kind);
  if argument is null and v.input_required then
    raise sqlstate 'WD015' using
      message = format('handler %L needs an argument', send.handler),
      hint = 'JSON null is one: argument => ''null''.';
  elsif argument is not null and v.input_content_type is null then
    raise sqlstate 'WD015' using
      message = format('handler %L takes no argument', send.handler),
      hint = 'Leave it out.';
  end if;
  if send.idempotency_key = '' then
    raise sqlstate 'WD016' using message = 'an idempotency key is not empty',
      hint = 'Leave it out, or give it a value.';
  elsif send.idempotency_key is not null and v.kind = 'workflow' then
    raise sqlstate 'WD016' using
      message = format('%L runs once for each key, and takes no idempotency key', send.service),
      hint = 'Leave it out: the same key gives the same invocation.';
  end if;
  return howdah_core.accept_one(
    v_no, send.key, case when argument is null then '' else convert_to(argument::text, 'UTF8') end,
    send.delay, send.idempotency_key, send.scope, send.limit_key);
end
$$;

comment on function howdah.send(text, text, jsonb, text, interval, text, text, text) is
  'Sends a handler an argument, now or after a delay; returns the invocation''s id, of an earlier one where the idempotency key or the workflow''s key has been used.';

-- Raises: WD012, WD013, WD017, WD019 (sql/README.md).
create or replace function howdah.set_state(service text, key text, state jsonb) returns uuid
language plpgsql
as $$
declare
  v_entries jsonb;
begin
  if exists (select from howdah_core.service s
              where s.name = set_state.service and s.kind = 'service') then
    raise sqlstate 'WD017' using message = format('service %L has no state', set_state.service),
      hint = 'Objects and workflows have.';
  elsif coalesce(jsonb_typeof(state), 'null') not in ('object', 'null') then
    raise sqlstate 'WD017' using message = 'state is a JSON object of names and values',
      hint = 'For example ''{"count": 1}''; an empty one clears everything.';
  end if;
  select coalesce(jsonb_object_agg(
           e.name, translate(encode(convert_to(e.value::text, 'UTF8'), 'base64'), E'\n', '')), '{}')
    into v_entries
    from jsonb_each(case jsonb_typeof(state) when 'object' then state else '{}' end) e(name, value);
  return howdah_core.accept_one(
    howdah_core.find_handler(set_state.service, '~set_state', set_state.key, true), set_state.key,
    convert_to(jsonb_build_object('state', v_entries, 'version', null)::text, 'UTF8'), null, null);
end
$$;

comment on function howdah.set_state(text, text, jsonb) is
  'Replaces the whole state of a key with these entries, once its exclusive handlers before it are through; returns the invocation''s id.';
