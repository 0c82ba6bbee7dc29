-- Every journal entry in words. Entry 0, the input, lies with the invocation.
--
-- A command and its completion share a completion id. The one is looked for from the other along
-- the journal's order, so that a lookup ends at the first hit: they are near each other unless much
-- happened in between. A call may have a second id, for its callee's id (id_cid).
create view howdah.journal as
select
  i.id as invocation_id,
  0 as index,
  'input'::text as type,
  null::text as name,
  (select v.name || coalesce('/' || i.key, '') || '/' || h.name
     from howdah_core.handler h join howdah_core.service v on v.no = h.service
    where h.no = i.handler) as target,
  howdah.as_text(i.input) as value,
  howdah.as_json(i.input) as value_json,
  null::text as failure,
  null::uuid as callee_id,
  i.created_at as appended_at,
  null::timestamptz as due_at,
  null::int as completed_by,
  null::int as completes,
  null::interval as duration,
  null::int as completion_id
from howdah_core.invocation i
union all
select
  j.id,
  j.idx,
  howdah.entry_type(j.kind),
  case
    when j.kind in (5, 6, 105, 106) then null
    when j.kind = 150 then coalesce(j.name, case when j.cid = -1 then 'cancel'
      else howdah_core.awakeable_id(j.id, -j.cid) end)
    when j.kind > 100 and j.name is null then (
      select c.name from howdah_core.journal c
       where c.id = j.id and c.idx < j.idx and c.kind < 100 and c.cid = j.cid
       order by c.idx desc limit 1)
    else j.name
  end,
  case
    when j.kind in (5, 6) then j.name
    when j.kind in (105, 106) then (
      select c.name from howdah_core.journal c
       where c.id = j.id and c.idx < j.idx and c.kind in (5, 6)
         and case j.kind when 106 then howdah_core.id_cid(c.kind, c.cid, c.detail)
                         else c.cid end = j.cid
       order by c.idx desc limit 1)
  end,
  howdah.as_text(j.value),
  howdah.as_json(j.value),
  howdah.failure_text((j.detail->>'code')::int, j.detail->>'message'),
  case when j.kind in (5, 6) and j.detail ? 'idempotency_key' then coalesce((
         select n.ref from howdah_core.journal n
          where n.id = j.id and n.idx > j.idx and n.kind = 106
            and n.cid = howdah_core.id_cid(j.kind, j.cid, j.detail)
          order by n.idx limit 1), j.ref)
       else j.ref end,
  j.at,
  j.at + make_interval(secs => (j.detail->>'delay_ms')::float8 / 1000),
  case when j.kind < 100 and j.cid is not null then (
    select c.idx from howdah_core.journal c
     where c.id = j.id and c.idx > j.idx and c.kind > 100 and c.cid = j.cid
     order by c.idx limit 1) end,
  case when j.kind > 100 then (
    select c.idx from howdah_core.journal c
     where c.id = j.id and c.idx < j.idx and c.kind < 100
       and case j.kind when 106 then howdah_core.id_cid(c.kind, c.cid, c.detail)
                       else c.cid end = j.cid
     order by c.idx desc limit 1) end,
  case when j.kind < 100 and j.cid is not null then (
    select c.at - j.at from howdah_core.journal c
     where c.id = j.id and c.idx > j.idx and c.kind > 100 and c.cid = j.cid
     order by c.idx limit 1) end,
  j.cid
from howdah_core.journal j;

comment on view howdah.journal is
  'Journals: one row for each entry, what a handler did (''run'', ''call'', ''set state'', …) and what came back (''run completed'', …). Filter on invocation_id, order by index.';
comment on column howdah.journal.invocation_id is 'The invocation whose journal it is.';
comment on column howdah.journal.index is 'The entry''s place, from 0 (the input). Replay goes in this order.';
comment on column howdah.journal.type is
  'A command: input, run, sleep, call, send, get state, get state keys, set state, clear state, clear all state, get promise, peek promise, complete promise, send signal, complete awakeable, attach, output. Or what came back: signal, run completed, sleep completed, call completed, invocation id (of a call or send with an idempotency key).';
comment on column howdah.journal.name is
  'The name of a step, a timer or a state entry; for what came back, that of its command.';
comment on column howdah.journal.target is
  'For a call, a send and what came back of them: Service/handler or Service/key/handler. For the input: the invocation''s own target.';
comment on column howdah.journal.value is
  'The payload as text (input, argument, result, state, output); bytes that are no text are escaped.';
comment on column howdah.journal.value_json is 'The payload as jsonb; null where it is not JSON.';
comment on column howdah.journal.failure is
  'Code and message, where the step, the callee or the invocation failed.';
comment on column howdah.journal.callee_id is
  'For a call or send: the invocation that it made, or with an idempotency key the one that it got.';
comment on column howdah.journal.appended_at is 'When it was stored, by the database''s clock.';
comment on column howdah.journal.due_at is
  'For a sleep: when it ends. For a delayed send: when the callee starts.';
comment on column howdah.journal.completed_by is
  'For a command: the index of the entry that completed it; null while it has none, or never gets one.';
comment on column howdah.journal.completes is
  'For what came back: the index of its command.';
comment on column howdah.journal.duration is
  'For a command: the time from its entry to its completion''s.';
comment on column howdah.journal.completion_id is
  'The number that a command and its completion share within the journal.';
