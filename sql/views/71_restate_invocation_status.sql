-- Every invocation, as Restate's table of the same name has it.
create view restate.sys_invocation_status as
select
  0::bigint as partition_key,
  howdah_core.restate_id(s.id) as id,
  null::text as vqueue_id,
  case s.place
    when 'inbox' then 'inboxed'
    when 'held' then 'inboxed'
    when 'ready' then 'invoked'
    when 'running' then 'invoked'
    when 'backing_off' then 'invoked'
    else s.place end as status,
  case when s.outcome = 'succeeded' then 'success'
       when s.outcome is not null then 'failure' end as completion_result,
  howdah.failure_text(s.code, s.message) as completion_failure,
  s.service_name || coalesce('/' || s.key, '') || '/' || s.handler_name as target,
  s.service_name as target_service_name,
  s.key as target_service_key,
  s.handler_name as target_handler_name,
  case s.service_kind when 'object' then 'virtual_object' else s.service_kind end as target_service_ty,
  s.scope as scope,
  s.limit_key as limit_key,
  s.idempotency_key as idempotency_key,
  case s.invoked_by
    when 'sql' then 'ingress' when 'restart' then 'restart_as_new' else s.invoked_by end as invoked_by,
  howdah_core.restate_id(s.parent_id) as invoked_by_id,
  null::text as invoked_by_subscription_id,
  (select v.name
     from howdah_core.invocation i join howdah_core.service v on v.no = i.service
    where i.id = s.parent_id) as invoked_by_service_name,
  (select v.name || coalesce('/' || i.key, '') || '/' || h.name
     from howdah_core.invocation i
     join howdah_core.service v on v.no = i.service
     join howdah_core.handler h on h.no = i.handler
    where i.id = s.parent_id) as invoked_by_target,
  howdah_core.restate_id(s.restarted_from) as restarted_from,
  howdah_core.restate_deployment_id(s.deployment_name) as pinned_deployment_id,
  case when s.max_protocol_version is not null then coalesce(
         (select (j.detail->>'protocol')::int
            from howdah_core.journal j where j.id = s.id and j.kind < 100 order by j.idx limit 1),
         least(s.max_protocol_version, 6))
       when s.deployment is not null then 7 end as pinned_service_protocol_version,
  null::text as trace_id,
  (select coalesce(max(j.idx), 0) + 1 from howdah_core.journal j where j.id = s.id) as journal_size,
  (select count(*)::int + 1
     from howdah_core.journal j where j.id = s.id and j.kind < 100) as journal_commands_size,
  s.created_at as created_at,
  null::text as created_using_restate_version,
  s.modified_at as modified_at,
  case when s.place in ('inbox', 'held') then s.created_at end as inboxed_at,
  case when s.scheduled_at is not null then s.created_at end as scheduled_at,
  s.scheduled_at as scheduled_start_at,
  s.started_at as running_at,
  s.completed_at as completed_at,
  coalesce(s.expires_at - s.completed_at, case
    when s.service_kind = 'workflow' and s.handler_kind = 'workflow' then s.workflow_retention
    when s.idempotency_key is not null then s.idempotency_retention
    else s.journal_retention end) as completion_retention,
  s.journal_retention as journal_retention,
  case when s.place = 'suspended' then
    array(select w from unnest(s.wait_ids) w where w > 0 order by w) end as suspended_waiting_for_completions,
  case when s.place = 'suspended' then
    array(select 1 union select -w from unnest(s.wait_ids) w where w between -268435455 and -1
           order by 1) end as suspended_waiting_for_signals,
  case when s.place = 'suspended'
    then howdah_core.awaited_json(s.wait_ids, s.wait_all, s.wait_tree, s.wait_note) end as suspended_waiting_future_json,
  s.id as id_uuid,
  s.parent_id as invoked_by_uuid,
  s.place as place
from howdah_core.restate_places s;

comment on view restate.sys_invocation_status is
  'Invocations, with columns and values of Restate''s table. Fast by id_uuid, place and invoked_by_uuid.';
comment on column restate.sys_invocation_status.partition_key is
  'Always 0: nothing is partitioned.';
comment on column restate.sys_invocation_status.id is 'The invocation''s id.';
comment on column restate.sys_invocation_status.vqueue_id is
  'Always null: there are no virtual queues.';
comment on column restate.sys_invocation_status.status is
  'inboxed, scheduled, invoked, suspended, paused or completed.';
comment on column restate.sys_invocation_status.completion_result is
  'Once completed: success or failure.';
comment on column restate.sys_invocation_status.completion_failure is
  'Code and message with which it ended, where it did not succeed.';
comment on column restate.sys_invocation_status.target is
  'What is called: Service/handler or Service/key/handler.';
comment on column restate.sys_invocation_status.target_service_name is 'The service''s name.';
comment on column restate.sys_invocation_status.target_service_key is
  'The key of the object or workflow.';
comment on column restate.sys_invocation_status.target_handler_name is 'The handler''s name.';
comment on column restate.sys_invocation_status.target_service_ty is
  'service, virtual_object or workflow.';
comment on column restate.sys_invocation_status.scope is 'The scope that it was called in.';
comment on column restate.sys_invocation_status.limit_key is
  'Under which it is counted within its scope.';
comment on column restate.sys_invocation_status.idempotency_key is
  'The idempotency key that the request carried.';
comment on column restate.sys_invocation_status.invoked_by is
  'ingress, service (invoked_by_id) or restart_as_new (restarted_from).';
comment on column restate.sys_invocation_status.invoked_by_id is
  'The invocation that called it or sent it.';
comment on column restate.sys_invocation_status.invoked_by_subscription_id is
  'Always null: there are no subscriptions.';
comment on column restate.sys_invocation_status.invoked_by_service_name is
  'The service of the invocation that called it or sent it.';
comment on column restate.sys_invocation_status.invoked_by_target is
  'The target of the invocation that called it or sent it.';
comment on column restate.sys_invocation_status.restarted_from is
  'The invocation that this one repeats, where an operator began it again.';
comment on column restate.sys_invocation_status.pinned_deployment_id is
  'The deployment that has begun it.';
comment on column restate.sys_invocation_status.pinned_service_protocol_version is
  'The version of the protocol that it is executed with.';
comment on column restate.sys_invocation_status.trace_id is 'Always null.';
comment on column restate.sys_invocation_status.journal_size is
  'Entries in its journal, the input included.';
comment on column restate.sys_invocation_status.journal_commands_size is
  'Commands in its journal, the input included.';
comment on column restate.sys_invocation_status.created_at is 'When it was accepted.';
comment on column restate.sys_invocation_status.created_using_restate_version is 'Always null.';
comment on column restate.sys_invocation_status.modified_at is 'When its status last changed.';
comment on column restate.sys_invocation_status.inboxed_at is
  'While it waits for its key, or for a slot of its scope: since when.';
comment on column restate.sys_invocation_status.scheduled_at is
  'For a delayed send: when it was accepted.';
comment on column restate.sys_invocation_status.scheduled_start_at is
  'For a delayed send: when it is to start.';
comment on column restate.sys_invocation_status.running_at is 'When its first attempt began.';
comment on column restate.sys_invocation_status.completed_at is 'When it was completed.';
comment on column restate.sys_invocation_status.completion_retention is
  'How long it is kept once it is completed.';
comment on column restate.sys_invocation_status.journal_retention is
  'How long its journal is kept once it is completed.';
comment on column restate.sys_invocation_status.suspended_waiting_for_completions is
  'While it is suspended: the completions that it waits for.';
comment on column restate.sys_invocation_status.suspended_waiting_for_signals is
  'While it is suspended: the signals that it waits for, by number; 1 cancels it.';
comment on column restate.sys_invocation_status.suspended_waiting_future_json is
  'While it is suspended: what it waits for, as JSON.';
comment on column restate.sys_invocation_status.id_uuid is
  'The id as uuid: what to filter on in SQL of your own.';
comment on column restate.sys_invocation_status.invoked_by_uuid is
  'invoked_by_id as uuid: what to filter on in SQL of your own.';
comment on column restate.sys_invocation_status.place is
  'The status in howdah''s own words: what to filter on in SQL of your own.';
