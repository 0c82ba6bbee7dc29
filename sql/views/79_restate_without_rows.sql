-- Tables of features that howdah does not have: they are there, and empty.

create view restate.sys_vqueue_meta as
select
  null::bigint as partition_key, null::text as id, null::boolean as is_active, null::boolean as
  queue_is_paused, null::text as service_name, null::text as scope, null::text as limit_key,
  null::text as lock_name, null::timestamptz as created_at, null::timestamptz as
  last_enqueued_at, null::timestamptz as last_start_at, null::timestamptz as last_attempt_at,
  null::timestamptz as last_finish_at, null::bigint as num_inbox, null::bigint as num_running,
  null::bigint as num_suspended, null::bigint as num_paused, null::bigint as num_finished
where false;

comment on view restate.sys_vqueue_meta is 'Virtual queues: none.';

create view restate.sys_vqueue_entry_status as
select
  null::bigint as partition_key, null::text as entry_id, null::text as vqueue_id, null::text as
  stage, null::text as status, null::timestamptz as created_at, null::int as num_attempts
where false;

comment on view restate.sys_vqueue_entry_status is 'Entries of virtual queues: none.';

create view restate.sys_vqueues as
select
  null::bigint as partition_key, null::text as id, null::text as entry_id, null::text as
  entry_kind, null::text as stage, null::text as status, null::boolean as has_lock,
  null::timestamptz as created_at, null::int as num_attempts, null::text as deployment
where false;

comment on view restate.sys_vqueues is 'Entries of virtual queues in order: none.';

create view restate.sys_scheduler as
select
  null::bigint as partition_key, null::text as vqueue_id, null::text as status,
  null::timestamptz as created_at, null::int as num_attempts
where false;

comment on view restate.sys_scheduler is 'What the scheduler of virtual queues does: nothing.';
