-- What happened to an invocation beside its journal: attempts that failed, and that it is paused or
-- suspended now.
create view restate.sys_journal_events as
select
  0::bigint as partition_key,
  howdah_core.restate_id(s.id) as id,
  (select coalesce(max(j.idx), 0)
     from howdah_core.journal j where j.id = s.id and j.at <= s.at) as after_journal_entry_index,
  s.at as appended_at,
  s.type as event_type,
  jsonb_strip_nulls(case s.type
    when 'TransientError' then '{"ty": "TransientError"}'::jsonb || s.failure
    when 'Paused' then jsonb_build_object('ty', 'Paused', 'last_failure', s.failure)
    else jsonb_build_object('ty', s.type) end)::text as event_json,
  s.id as id_uuid
from (
  select f.id, f.failed_at as at, 'TransientError'::text as type, howdah_core.event_failure(
           f.code, f.message, f.stacktrace, f.error_code, f.entry_index, f.entry_name) as failure
    from howdah_core.failure f
  union all
  select l.id, l.modified_at, 'Paused', (
         select howdah_core.event_failure(
                  f.code, f.message, f.stacktrace, f.error_code, f.entry_index, f.entry_name)
           from howdah_core.failure f where f.id = l.id order by f.n desc limit 1)
    from howdah_core.live l where l.status = 'paused'
  union all
  select l.id, l.modified_at, 'Suspended', null from howdah_core.live l where l.status = 'suspended'
) s;

comment on view restate.sys_journal_events is
  'Events: attempts that failed, and that an invocation is paused or suspended. Fast by id_uuid.';
comment on column restate.sys_journal_events.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_journal_events.id is 'The invocation''s id.';
comment on column restate.sys_journal_events.after_journal_entry_index is
  'The last entry of the journal at that time.';
comment on column restate.sys_journal_events.appended_at is 'When it happened.';
comment on column restate.sys_journal_events.event_type is 'TransientError, Paused or Suspended.';
comment on column restate.sys_journal_events.event_json is 'What happened, as JSON.';
comment on column restate.sys_journal_events.id_uuid is
  'The id as uuid: what to filter on in SQL of your own.';
