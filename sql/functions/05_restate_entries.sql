-- Journal entries in the words of Restate's introspection: helpers of the views in the schema
-- restate. None of them reads a table, and none raises: a view that people read must not.

-- The name of an entry's kind: 'Run' for a command and for its completion.
-- Called by: entry_json, entry_lite_json, the views. Plain SQL, inlined by the planner.
create or replace function howdah_core.entry_word(p_kind smallint)
returns text
language sql
immutable parallel safe
as $$
  select case p_kind
    when 106 then 'CallInvocationId'
    when 150 then 'Signal'
    else case p_kind % 100::smallint
      when 1 then 'Input'
      when 2 then 'Output'
      when 3 then 'Run'
      when 4 then 'Sleep'
      when 5 then 'Call'
      when 6 then 'OneWayCall'
      when 7 then 'GetEagerState'
      when 8 then 'GetEagerStateKeys'
      when 9 then 'SetState'
      when 10 then 'ClearState'
      when 11 then 'ClearAllState'
      when 12 then 'GetLazyState'
      when 13 then 'GetLazyStateKeys'
      when 14 then 'GetPromise'
      when 15 then 'PeekPromise'
      when 16 then 'CompletePromise'
      when 17 then 'SendSignal'
      when 18 then 'AttachInvocation'
      when 19 then 'GetInvocationOutput'
      when 20 then 'CompleteAwakeable'
      else case when p_kind is not null then 'Unknown' end end
  end
$$;

comment on function howdah_core.entry_word(smallint) is
  'The name of a journal entry''s kind, as in the schema restate: Run, CallInvocationId, Signal, ….';

-- Payload bytes as text, null where they are no text.
-- Called by: the views. An exception block needs a subtransaction, hence parallel unsafe.
create or replace function howdah_core.utf8(p_bytes bytea)
returns text
language plpgsql
immutable strict parallel unsafe
as $$
begin
  return convert_from(p_bytes, 'UTF8');
exception when others then
  return null;
end
$$;

comment on function howdah_core.utf8(bytea) is
  'Payload bytes as text; null where they are not UTF-8 or hold a NUL. Never raises.';

-- Payload bytes as a JSON array of numbers. The bytes are copied first: of a value that lies compressed
-- or outside of its row, each get_byte would fetch all again.
-- Called by: entry_result, entry_json.
create or replace function howdah_core.byte_array(p_bytes bytea)
returns jsonb
language plpgsql
immutable parallel safe
as $$
declare
  v_bytes constant bytea := p_bytes || '';
begin
  return array_to_json(array(
    select get_byte(v_bytes, i) from generate_series(0, octet_length(v_bytes) - 1) i));
end
$$;

comment on function howdah_core.byte_array(bytea) is 'Payload bytes as a JSON array of numbers.';

-- How something ended, in a word: Success, Failure or Void.
-- p_kind: the kind of the entry; some end without a value.
-- Called by: entry_result, entry_lite_json.
create or replace function howdah_core.entry_ending(p_kind smallint, p_value bytea, p_detail jsonb)
returns text
language sql
immutable parallel safe
as $$
  select case
    when p_detail ? 'code' then 'Failure'
    when p_value is null and p_kind in (7, 17, 104, 112, 115, 116, 119, 150) then 'Void'
    else 'Success'
  end
$$;

comment on function howdah_core.entry_ending(smallint, bytea, jsonb) is
  'How a journal entry says that something ended: Success, Failure or Void.';

-- How something ended: {"Success": [bytes]}, {"Failure": {code, message, metadata?}} or "Void".
-- Called by: entry_json.
create or replace function howdah_core.entry_result(p_kind smallint, p_value bytea, p_detail jsonb)
returns jsonb
language sql
immutable parallel safe
as $$
  select case howdah_core.entry_ending(p_kind, p_value, p_detail)
    when 'Failure' then jsonb_build_object('Failure', jsonb_strip_nulls(jsonb_build_object(
      'code', p_detail->'code',
      'message', p_detail->'message',
      'metadata', case when jsonb_typeof(p_detail->'metadata') = 'object' then (
        select jsonb_agg(jsonb_build_object('key', m.key, 'value', m.value))
          from jsonb_each_text(p_detail->'metadata') m) end)))
    when 'Void' then '"Void"'
    else jsonb_build_object('Success', howdah_core.byte_array(coalesce(p_value, '')))
  end
$$;

comment on function howdah_core.entry_result(smallint, bytea, jsonb) is
  'How something ended, as in entry_json: {"Success": [bytes]}, {"Failure": {…}} or "Void".';

-- Whom a call or send is for: {"VirtualObject": {name, key, handler, handler_ty}}, ….
-- p_kinds: kinds of the service and of the handler, 'object:shared'; null: no such handler.
-- Called by: entry_json, entry_lite_json.
create or replace function howdah_core.entry_target(p_target text, p_kinds text)
returns jsonb
language sql
immutable parallel safe
as $$
  select case
    when p_target !~ '/.*/' then jsonb_build_object('Service', jsonb_build_object(
      'name', split_part(p_target, '/', 1), 'handler', split_part(p_target, '/', 2)))
    else jsonb_build_object(
      case split_part(p_kinds, ':', 1) when 'workflow' then 'Workflow' else 'VirtualObject' end,
      jsonb_build_object(
        'name', split_part(p_target, '/', 1),
        'key', substring(p_target from '^[^/]*/(.*)/[^/]*$'),
        'handler', substring(p_target from '([^/]*)$'),
        'handler_ty', initcap(coalesce(nullif(split_part(p_kinds, ':', 2), ''), 'exclusive'))))
  end
$$;

comment on function howdah_core.entry_target(text, text) is
  'Whom a call is for, as in entry_json: {"Service": {name, handler}}, {"VirtualObject": {name, key, handler, handler_ty}}, ….';

-- Headers as Restate's JSON: [{"name", "value"}].
-- Called by: entry_json.
create or replace function howdah_core.entry_headers(p_headers jsonb)
returns jsonb
language sql
immutable parallel safe
as $$
  select coalesce(jsonb_agg(jsonb_build_object('name', h->0, 'value', h->1)), '[]')
    from jsonb_array_elements(case jsonb_typeof(p_headers) when 'array' then p_headers else '[]' end) h
$$;

comment on function howdah_core.entry_headers(jsonb) is
  'Headers as in entry_json: [{"name", "value"}].';

-- Which signal: {"Index": 17} or {"Name": "go"}.
-- Called by: entry_fields, entry_json, entry_lite_json.
create or replace function howdah_core.entry_signal(
  p_kind smallint, p_cid int, p_name text, p_detail jsonb)
returns jsonb
language sql
immutable parallel safe
as $$
  select case
    when p_detail ? 'signal' then jsonb_build_object('Index', p_detail->'signal')
    when p_kind = 17 and p_name = 'cancel' then '{"Index": 1}'
    when p_name is not null then jsonb_build_object('Name', p_name)
    else jsonb_build_object('Index', -p_cid)
  end
$$;

comment on function howdah_core.entry_signal(smallint, int, text, jsonb) is
  'Which signal it is, as in entry_json: {"Index": 17} or {"Name": "go"}.';

-- Whose end is waited for: {"InvocationId": id}, {"Workflow": …} or {"IdempotentRequest": …}.
-- Called by: entry_fields.
create or replace function howdah_core.entry_attached(p_name text, p_detail jsonb)
returns jsonb
language sql
immutable parallel safe
as $$
  select case
    when p_detail ? 'workflow' then jsonb_build_object('Workflow', jsonb_build_object(
      'service_name', p_detail->'workflow'->0, 'key', p_detail->'workflow'->1))
    when p_detail ? 'idempotent' then jsonb_build_object('IdempotentRequest', jsonb_build_object(
      'service_name', p_detail->'idempotent'->0, 'service_key', p_detail->'idempotent'->1,
      'service_handler', p_detail->'idempotent'->2, 'idempotency_key', p_detail->'idempotent'->3))
    else jsonb_build_object('InvocationId', howdah_core.restate_id(p_name))
  end
$$;

comment on function howdah_core.entry_attached(text, jsonb) is
  'Whose end is waited for, as in entry_json.';

-- What the author called an entry; '' without a name.
-- Called by: entry_json, entry_lite_json, restate.sys_journal.
create or replace function howdah_core.entry_label(p_kind smallint, p_name text, p_detail jsonb)
returns text
language sql
immutable parallel safe
as $$
  select coalesce(case when p_kind in (3, 4) then p_name else p_detail->>'label' end, '')
$$;

comment on function howdah_core.entry_label(smallint, text, jsonb) is
  'What the author of a handler called a journal entry; empty without a name.';

-- When a sleep ends or a delayed send begins, in milliseconds of the epoch; 0: at once.
-- Called by: entry_fields.
create or replace function howdah_core.entry_due_ms(p_at timestamptz, p_detail jsonb)
returns bigint
language sql
immutable parallel safe
as $$
  select coalesce((p_detail->>'at_ms')::bigint,
                  (extract(epoch from p_at) * 1000)::bigint + (p_detail->>'delay_ms')::bigint, 0)
$$;

comment on function howdah_core.entry_due_ms(timestamptz, jsonb) is
  'When a sleep ends or a delayed send begins, in milliseconds of the epoch; 0: at once.';

-- The fields of a command that its JSON has with payloads and without.
-- Called by: entry_json, entry_lite_json.
create or replace function howdah_core.entry_fields(
  p_kind smallint, p_cid int, p_name text, p_ref uuid, p_detail jsonb, p_at timestamptz)
returns jsonb
language sql
immutable parallel safe
as $$
  select case
    when p_kind = 4 then jsonb_build_object('wake_up_time', howdah_core.entry_due_ms(p_at, p_detail))
    when p_kind = 5 then jsonb_build_object('result_completion_id', p_cid)
    when p_kind = 6 then jsonb_build_object('invoke_time', howdah_core.entry_due_ms(p_at, p_detail))
    when p_kind in (7, 9, 10, 12, 14, 15, 16) then jsonb_build_object('key', p_name)
    when p_kind = 17 then jsonb_build_object(
      'target_invocation_id', coalesce(
        howdah_core.restate_id(p_ref), howdah_core.restate_id(p_detail->>'target')),
      'signal_id', howdah_core.entry_signal(p_kind, p_cid, p_name, p_detail))
    when p_kind in (18, 19) then jsonb_build_object(
      'target', howdah_core.entry_attached(p_name, p_detail))
    when p_kind = 20 then jsonb_build_object('id', p_name)
    else '{}' end
    || case
    when p_kind in (3, 4, 12, 13, 14, 15, 16, 18, 19) then jsonb_build_object('completion_id', p_cid)
    when p_kind in (5, 6) then jsonb_build_object('invocation_id_completion_id', coalesce(
      howdah_core.id_cid(p_kind, p_cid, p_detail), 0))
    else '{}' end
$$;

comment on function howdah_core.entry_fields(smallint, int, text, uuid, jsonb, timestamptz) is
  'The fields of a command that its JSON has with payloads and without.';

-- A journal entry as Restate's JSON, with its payloads. A payload above 128 KiB is not written out: the
-- result is null then, and the column raw has the bytes.
-- p_kinds: as in entry_target, for calls and sends. p_headers: of the input, [[name, value], …].
-- Called by: restate.sys_journal.
create or replace function howdah_core.entry_json(
  p_kind smallint, p_cid int, p_name text, p_value bytea, p_ref uuid, p_detail jsonb,
  p_at timestamptz, p_kinds text, p_headers jsonb)
returns text
language sql
immutable parallel safe
as $$
  select case
    when octet_length(p_value) > 131072 then null
    when p_kind = 150 then jsonb_build_object('Notification', jsonb_build_object(
      'Signal', jsonb_build_object(
        'id', howdah_core.entry_signal(p_kind, p_cid, p_name, p_detail),
        'result', howdah_core.entry_result(p_kind, p_value, p_detail))))
    when p_kind >= 100 then jsonb_build_object('Notification', jsonb_build_object(
      'Completion', jsonb_build_object(
        howdah_core.entry_word(p_kind),
        jsonb_build_object('completion_id', p_cid) || case p_kind
          when 104 then '{}'
          when 106 then jsonb_build_object('invocation_id', howdah_core.restate_id(p_ref))
          when 113 then jsonb_build_object(
            'state_keys', coalesce(howdah.as_json(p_value), '[]'))
          else jsonb_build_object(
            'result', howdah_core.entry_result(p_kind, p_value, p_detail)) end)))
    else jsonb_build_object('Command', jsonb_build_object(
      howdah_core.entry_word(p_kind),
      howdah_core.entry_fields(p_kind, p_cid, p_name, p_ref, p_detail, p_at)
      || jsonb_build_object('name', howdah_core.entry_label(p_kind, p_name, p_detail))
      || case
        when p_kind = 1 then jsonb_build_object(
          'headers', howdah_core.entry_headers(p_headers),
          'payload', howdah_core.byte_array(coalesce(p_value, '')))
        when p_kind in (5, 6) then jsonb_build_object('request', jsonb_build_object(
          'invocation_id', howdah_core.restate_id(p_ref),
          'invocation_target', howdah_core.entry_target(p_name, p_kinds),
          'parameter', howdah_core.byte_array(coalesce(p_value, '')),
          'headers', howdah_core.entry_headers(p_detail->'headers'),
          'idempotency_key', nullif(p_detail->>'idempotency_key', ''))
          || case when p_detail ? 'scope' then jsonb_build_object(
            'scope', p_detail->>'scope', 'limit_key', p_detail->>'limit_key') else '{}' end)
        when p_kind in (2, 7, 17, 20) then jsonb_build_object(
          'result', howdah_core.entry_result(p_kind, p_value, p_detail))
        when p_kind = 8 then jsonb_build_object(
          'state_keys', coalesce(howdah.as_json(p_value), '[]'))
        when p_kind = 9 then jsonb_build_object(
          'value', howdah_core.byte_array(coalesce(p_value, '')))
        when p_kind = 16 then jsonb_build_object(
          'value', howdah_core.entry_result(p_kind, p_value, p_detail))
        else '{}' end))
  end::text
$$;

comment on function howdah_core.entry_json(smallint, int, text, bytea, uuid, jsonb, timestamptz, text, jsonb) is
  'A journal entry as Restate''s JSON, payloads as arrays of bytes; null for payloads above 128 KiB.';

-- A journal entry as Restate's JSON, without payloads.
-- Called by: restate.sys_journal.
create or replace function howdah_core.entry_lite_json(
  p_kind smallint, p_cid int, p_name text, p_value bytea, p_ref uuid, p_detail jsonb,
  p_at timestamptz, p_kinds text)
returns text
language sql
immutable parallel safe
as $$
  select case
    when p_kind >= 100 then jsonb_build_object('Notification', jsonb_build_object(
      'ty', case p_kind when 150 then '"Signal"'::jsonb
                        else jsonb_build_object('Completion', howdah_core.entry_word(p_kind)) end,
      'id', case
        when p_kind < 150 then jsonb_build_object('CompletionId', p_cid)
        when p_name is null then jsonb_build_object('SignalIndex', -p_cid)
        else jsonb_build_object('SignalName', p_name) end,
      'result', case p_kind
        when 106 then 'InvocationId' when 113 then 'StateKeys'
        else howdah_core.entry_ending(p_kind, p_value, p_detail) end))
    else jsonb_build_object('Command', jsonb_build_object(
      howdah_core.entry_word(p_kind),
      howdah_core.entry_fields(p_kind, p_cid, p_name, p_ref, p_detail, p_at)
      || case when howdah_core.entry_label(p_kind, p_name, p_detail) <> '' then
        jsonb_build_object('name', howdah_core.entry_label(p_kind, p_name, p_detail)) else '{}' end
      || case
        when p_kind in (5, 6) then jsonb_build_object(
          'invocation_id', howdah_core.restate_id(p_ref),
          'invocation_target', howdah_core.entry_target(p_name, p_kinds))
        when p_kind in (2, 17, 20) then jsonb_build_object(
          'result', howdah_core.entry_ending(p_kind, p_value, p_detail))
        else '{}' end))
  end::text
$$;

comment on function howdah_core.entry_lite_json(smallint, int, text, bytea, uuid, jsonb, timestamptz, text) is
  'A journal entry as Restate''s JSON, without payloads.';

-- An attempt that failed, as Restate's JSON; fields without a value are null.
-- Called by: restate.sys_journal_events.
create or replace function howdah_core.event_failure(
  p_code int, p_message text, p_stacktrace text, p_error_code text, p_index int, p_name text)
returns jsonb
language sql
immutable parallel safe
as $$
  select jsonb_build_object(
    'error_code', p_code, 'error_message', p_message, 'error_stacktrace', p_stacktrace,
    'restate_doc_error_code', p_error_code, 'related_command_index', p_index,
    'related_command_name', p_name)
$$;

comment on function howdah_core.event_failure(int, text, text, text, int, text) is
  'An attempt that failed, as in event_json.';
