-- Every journal entry in words. Entry 0 is the input, which lies with the invocation.
create view howdah.journal as
select i.id as invocation_id, 0 as index, 'input'::text as type, null::text as name,
       null::text as target, i.key, howdah.as_text(i.input) as value,
       howdah.as_json(i.input) as value_json, null::uuid as callee_id, null::text as failure,
       i.created_at as appended_at, null::int as completed_by, null::interval as duration
  from howdah_core.invocation i
union all
select j.id, j.idx, howdah.entry_type(j.kind), j.name,
       case when j.kind in (5, 6) then j.name end,
       case when j.kind in (7, 9, 10) then j.name end,
       howdah.as_text(j.value), howdah.as_json(j.value), j.ref,
       case when j.detail ? 'code' then '[' || (j.detail->>'code') || '] ' || (j.detail->>'message') end,
       j.at,
       case when j.kind < 100 and j.cid is not null then (
         select c.idx from howdah_core.journal c
          where c.id = j.id and c.idx > j.idx and c.kind > 100 and c.kind <> 106 and c.cid = j.cid
          order by c.idx limit 1) end,
       case when j.kind < 100 and j.cid is not null then (
         select c.at - j.at from howdah_core.journal c
          where c.id = j.id and c.idx > j.idx and c.kind > 100 and c.kind <> 106 and c.cid = j.cid
          order by c.idx limit 1) end
  from howdah_core.journal j;

comment on view howdah.journal is 'Every journal entry: what a handler did (a verb) and what came back ("… completed").';
comment on column howdah.journal.invocation_id is 'The invocation whose journal it is.';
comment on column howdah.journal.index is 'Position, from 0 (the input).';
comment on column howdah.journal.type is 'The command, or what it completed.';
comment on column howdah.journal.name is 'A step''s or timer''s name, a state entry''s name, a call''s target.';
comment on column howdah.journal.target is 'For calls and sends: Service/handler or Service/key/handler.';
comment on column howdah.journal.key is 'For state: the entry''s name. For the input: the object''s key.';
comment on column howdah.journal.value is 'The payload as text.';
comment on column howdah.journal.value_json is 'The payload as jsonb, null where it is not JSON.';
comment on column howdah.journal.callee_id is 'For calls and sends: the invocation that they made.';
comment on column howdah.journal.failure is 'Code and message, where it failed.';
comment on column howdah.journal.appended_at is 'When it was stored, by the database''s clock.';
comment on column howdah.journal.completed_by is 'For a command: the index of its completion.';
comment on column howdah.journal.duration is 'For a command: how long its completion took.';
