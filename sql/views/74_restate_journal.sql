-- Journals, as Restate shows those of its second version: what an entry says is in entry_json, and the
-- columns of the first version are null. Entry 0, the input, lies with the invocation.
create view restate.sys_journal as
select
  0::bigint as partition_key,
  howdah_core.restate_id(s.id) as id,
  s.idx as index,
  case when s.kind < 100 then 'Command: ' else 'Notification: ' end
    || howdah_core.entry_word(s.kind) as entry_type,
  case when s.kind < 100 then howdah_core.entry_label(s.kind, s.name, s.detail) end as name,
  null::boolean as completed,
  null::text as invoked_id,
  null::text as invoked_target,
  null::timestamptz as sleep_wakeup_at,
  null::text as promise_name,
  s.value as raw,
  octet_length(s.value)::bigint as raw_length,
  2 as version,
  howdah_core.entry_json(
    s.kind, s.cid, s.name, s.value, s.ref, s.detail, s.at, case when s.kind in (5, 6) then (
      select v.kind || ':' || h.kind
        from howdah_core.service v join howdah_core.handler h on h.service = v.no
       where v.name = split_part(s.name, '/', 1) and h.name = substring(s.name from '([^/]*)$')) end, s.headers) as entry_json,
  howdah_core.entry_lite_json(
    s.kind, s.cid, s.name, s.value, s.ref, s.detail, s.at, case when s.kind in (5, 6) then (
      select v.kind || ':' || h.kind
        from howdah_core.service v join howdah_core.handler h on h.service = v.no
       where v.name = split_part(s.name, '/', 1) and h.name = substring(s.name from '([^/]*)$')) end) as entry_lite_json,
  s.at as appended_at,
  s.id as id_uuid
from (
  select i.id, 0 as idx, 1::smallint as kind, null::int as cid, null::text as name,
         i.input as value, null::uuid as ref, null::jsonb as detail, i.created_at as at, i.headers
    from howdah_core.invocation i
   where not exists (select from howdah_core.outcome o
                      where o.id = i.id and o.journal_expires_at = '-infinity')
  union all
  select j.id, j.idx, j.kind, j.cid, j.name, j.value, j.ref, j.detail, j.at, null
    from howdah_core.journal j
) s;

comment on view restate.sys_journal is
  'Journals: one row for each entry. Fast by id_uuid.';
comment on column restate.sys_journal.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_journal.id is 'The invocation''s id.';
comment on column restate.sys_journal.index is 'The entry''s place, from 0 (the input).';
comment on column restate.sys_journal.entry_type is 'Command: Run, Notification: Run, ….';
comment on column restate.sys_journal.name is
  'What its author called it; empty without a name, null for what came back.';
comment on column restate.sys_journal.completed is 'Always null.';
comment on column restate.sys_journal.invoked_id is 'Always null; entry_json says it.';
comment on column restate.sys_journal.invoked_target is 'Always null; entry_json says it.';
comment on column restate.sys_journal.sleep_wakeup_at is 'Always null; entry_json says it.';
comment on column restate.sys_journal.promise_name is 'Always null; entry_json says it.';
comment on column restate.sys_journal.raw is
  'The payload: input, argument, result, state or output.';
comment on column restate.sys_journal.raw_length is 'The payload''s size in bytes.';
comment on column restate.sys_journal.version is 'Always 2.';
comment on column restate.sys_journal.entry_json is
  'The whole entry as JSON, payloads as arrays of bytes; null for a payload above 128 KiB.';
comment on column restate.sys_journal.entry_lite_json is 'The entry without payloads as JSON.';
comment on column restate.sys_journal.appended_at is 'When it was stored.';
comment on column restate.sys_journal.id_uuid is
  'The id as uuid: what to filter on in SQL of your own.';
