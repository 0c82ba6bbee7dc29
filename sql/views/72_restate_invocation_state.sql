-- What is known of attempts: of invocations that run or back off.
create view restate.sys_invocation_state as
select
  0::bigint as partition_key,
  howdah_core.restate_id(s.id) as id,
  s.place = 'running' as in_flight,
  s.attempts::bigint as retry_count,
  case when s.place = 'running' then s.modified_at end as last_start_at,
  howdah_core.restate_deployment_id(s.deployment_name) as last_attempt_deployment_id,
  coalesce(s.sdk_version, (
    select 'howdah/' || w.version from howdah_core.worker w where w.no = s.worker)) as last_attempt_server,
  case when s.place = 'backing_off' then s.run_at end as next_retry_at,
  (select howdah.failure_text(f.code, f.message)
     from howdah_core.failure f
    where f.id = s.id
    order by f.n desc limit 1) as last_failure,
  (select f.error_code
     from howdah_core.failure f
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_error_code,
  (select f.entry_index::bigint
     from howdah_core.failure f
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_related_entry_index,
  (select f.entry_name
     from howdah_core.failure f
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_related_entry_name,
  (select howdah_core.entry_word(j.kind)
     from howdah_core.failure f
     left join howdah_core.journal j on j.id = f.id and j.idx = f.entry_index
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_related_entry_type,
  (select f.entry_index::bigint
     from howdah_core.failure f
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_related_command_index,
  (select f.entry_name
     from howdah_core.failure f
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_related_command_name,
  (select howdah_core.entry_word(j.kind)
     from howdah_core.failure f
     left join howdah_core.journal j on j.id = f.id and j.idx = f.entry_index
    where f.id = s.id
    order by f.n desc limit 1) as last_failure_related_command_type,
  case when s.place = 'running' and s.wait_ids is not null
    then howdah_core.awaited_json(s.wait_ids, s.wait_all, s.wait_tree, s.wait_note) end as last_awaiting_on_future_json,
  s.id as id_uuid
from howdah_core.restate_places s
where s.place in ('running', 'backing_off');

comment on view restate.sys_invocation_state is
  'Attempts: one row for each invocation that runs or backs off.';
comment on column restate.sys_invocation_state.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_invocation_state.id is 'The invocation''s id.';
comment on column restate.sys_invocation_state.in_flight is 'Whether an attempt is being executed.';
comment on column restate.sys_invocation_state.retry_count is
  'How many attempts were begun: 1 during the first.';
comment on column restate.sys_invocation_state.last_start_at is
  'When the attempt that is being executed began.';
comment on column restate.sys_invocation_state.last_attempt_deployment_id is
  'The deployment of the last attempt.';
comment on column restate.sys_invocation_state.last_attempt_server is
  'What executed the last attempt: the SDK and its version.';
comment on column restate.sys_invocation_state.next_retry_at is
  'When the next attempt is due, while it backs off.';
comment on column restate.sys_invocation_state.last_failure is
  'Code and message of the last attempt that failed.';
comment on column restate.sys_invocation_state.last_failure_error_code is
  'The code of an error of howdah itself, which the documentation explains.';
comment on column restate.sys_invocation_state.last_failure_related_entry_index is
  'The journal entry that failed.';
comment on column restate.sys_invocation_state.last_failure_related_entry_name is
  'The name of the journal entry that failed.';
comment on column restate.sys_invocation_state.last_failure_related_entry_type is
  'The type of the journal entry that failed.';
comment on column restate.sys_invocation_state.last_failure_related_command_index is
  'The command that failed.';
comment on column restate.sys_invocation_state.last_failure_related_command_name is
  'The name of the command that failed.';
comment on column restate.sys_invocation_state.last_failure_related_command_type is
  'The type of the command that failed.';
comment on column restate.sys_invocation_state.last_awaiting_on_future_json is
  'While it is executed by an endpoint that says it: what it waits for, as JSON.';
comment on column restate.sys_invocation_state.id_uuid is
  'The id as uuid: what to filter on in SQL of your own.';
