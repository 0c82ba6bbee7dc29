-- What invocations wait for, one row for each awaited thing: the command whose completion is missing, or
-- signal. Suspended ones, and running ones whose endpoints say it. A wait names completion ids; one scan of
-- the invocation's own journal finds their commands. Signals have no command: their ids are negative. A
-- call may have a second id, for the callee's id (id_cid).
create view howdah.waits as
select
  l.id as invocation_id,
  w.completion_id,
  howdah.entry_type(j.kind) as type,
  case when j.kind not in (5, 6, 18, 19) then j.name end as name,
  case when j.kind = 5 then j.name end as target,
  case when j.detail ? 'idempotency_key' then coalesce((
         select n.ref from howdah_core.journal n
          where n.id = j.id and n.idx > j.idx and n.kind = 106
            and n.cid = howdah_core.id_cid(j.kind, j.cid, j.detail)
          order by n.idx limit 1), j.ref)
       when j.kind in (18, 19) then coalesce(j.ref,
         case when j.name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then j.name::uuid end)
       else j.ref end as callee_id,
  case when j.kind = 4
    then j.at + make_interval(secs => (j.detail->>'delay_ms')::float8 / 1000) end as due_at,
  l.wait_all as is_all_needed,
  exists (select from howdah_core.mailbox m
           where m.id = l.id and m.cid = w.completion_id) as is_answered,
  j.idx as index
from howdah_core.live l
join howdah_core.journal j on j.id = l.id and j.kind < 100
cross join lateral (
  values (j.cid), (case when j.kind in (5, 6) then howdah_core.id_cid(j.kind, j.cid, j.detail) end)
) w (completion_id)
where l.status in ('suspended', 'running')
  and l.wait_ids is not null
  and w.completion_id = any (l.wait_ids)
union all
select
  l.id,
  w.completion_id,
  case when w.completion_id > -268435456 then 'awakeable' else 'signal' end,
  case when w.completion_id > -268435456 then howdah_core.awakeable_id(l.id, -w.completion_id)
       else (select n.name from unnest(string_to_array(l.wait_note, ', ')) x(note)
              cross join lateral (select substr(x.note, 8) as name) n
              where howdah_core.signal_cid(n.name) = w.completion_id limit 1) end,
  null,
  null,
  null,
  l.wait_all,
  exists (select from howdah_core.mailbox m where m.id = l.id and m.cid = w.completion_id),
  null
from howdah_core.live l
cross join lateral unnest(l.wait_ids) w (completion_id)
where l.status in ('suspended', 'running')
  and l.wait_ids is not null
  and w.completion_id < 0;

comment on view howdah.waits is
  'What invocations wait for that are suspended, or whose endpoints say so: one row for each awaited command or signal.';
comment on column howdah.waits.invocation_id is 'Who waits.';
comment on column howdah.waits.completion_id is
  'The completion that is awaited: howdah.journal.completion_id. Negative for signals.';
comment on column howdah.waits.type is 'What is awaited: call, sleep, get promise, attach, awakeable, signal, …';
comment on column howdah.waits.name is 'Its name, where it has one: of a step, a promise, a signal; the id of an awakeable.';
comment on column howdah.waits.target is 'For a call: its target, Service/handler or Service/key/handler.';
comment on column howdah.waits.callee_id is
  'For a call: the invocation that it made, or with an idempotency key the one that it got. For an attachment: whose end is awaited.';
comment on column howdah.waits.due_at is 'For a sleep: when it ends.';
comment on column howdah.waits.is_all_needed is
  'True: the invocation goes on when all of its rows here are answered. False: when one is.';
comment on column howdah.waits.is_answered is 'Whether the completion is in the mailbox already.';
comment on column howdah.waits.index is 'The command''s place in the journal; null for signals, which have none.';
