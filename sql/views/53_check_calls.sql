-- Invariant 5: a call makes one callee, a completed callee makes one completion.
-- Which invocation a call got: with an idempotency key the entry 'invocation id' names it.
create view howdah_core.check_calls as
with calls as (
  select j.id, j.idx, j.kind, j.cid, j.name, j.at, coalesce(n.ref, j.ref) as callee_id, j.ref,
         -- A workflow that runs once was there already: the caller was told so.
         coalesce(j.detail->>'idempotency_key' = '' and n.ref <> j.ref, false) as is_refused,
         case when j.kind = 6 then coalesce((j.detail->>'delay_ms')::float8, 0) else 0 end as delay_ms
    from howdah_core.journal j
    left join howdah_core.journal n
      on n.id = j.id and n.kind = 106 and j.detail ? 'idempotency_key'
     and n.cid = howdah_core.id_cid(j.kind, j.cid, j.detail)
   where j.kind in (5, 6)),
completions as (
  select j.id, j.cid from howdah_core.journal j where j.kind = 105
  union all
  select m.id, m.cid from howdah_core.mailbox m where m.kind = 105)
-- The callee exists: of a call that somebody waits for, until its completion came; of others, which may
-- be completed and removed, for as long as the handler keeps even the quickest of its invocations, and
-- not longer than a minute, because anybody may purge them.
select 'a call has its callee' as invariant, c.id as invocation_id,
       'entry ' || c.idx || ', ' || howdah.entry_type(c.kind) || ' ' || c.name || ' (' || c.callee_id
         || ')' as detail
  from calls c
 where not exists (select from howdah_core.invocation i where i.id = c.callee_id)
   and not (c.kind = 5
            and exists (select from completions d where d.id = c.id and d.cid = c.cid))
   and (c.kind = 5 and exists (select from howdah_core.live l where l.id = c.id)
        or howdah_core.now() < c.at + make_interval(secs => c.delay_ms / 1000) + (
             select least(h.journal_retention, h.idempotency_retention, h.workflow_retention,
                          interval '1 minute')
               from howdah_core.service v
               join howdah_core.handler h on h.service = v.no
              where v.name = split_part(c.name, '/', 1) and h.name = substring(c.name from '[^/]*$')))
union all
-- A callee is in the journal of its caller: both were stored at once, and the caller's is kept.
select 'a callee has its call', i.id, 'caller ' || i.parent_id
  from howdah_core.invocation i
  join howdah_core.invocation p on p.id = i.parent_id
 where not exists (select from calls c where c.id = i.parent_id and c.ref = i.id)
   and not exists (select from howdah_core.outcome o
                    where o.id = i.parent_id and o.journal_expires_at = '-infinity')
union all
-- One callee for each call.
select 'a call has one callee', i.parent_id, count(*) || ' for completion ' || i.parent_cid
  from howdah_core.invocation i
 where i.parent_id is not null and i.parent_cid is not null
 group by i.parent_id, i.parent_cid
having count(*) > 1
union all
-- What a callee ended with is at its caller, in the journal or the mailbox, by the same commit.
-- Attached by an idempotency key, the caller gets it a moment later.
select 'a completed callee has completed the call', c.id,
       'entry ' || c.idx || ', call ' || c.name || ' (' || c.callee_id || ')'
  from calls c
  join howdah_core.live l on l.id = c.id
  join howdah_core.outcome o on o.id = c.callee_id
  join howdah_core.invocation i on i.id = c.callee_id
 where c.kind = 5
   and (i.parent_id = c.id and i.parent_cid = c.cid
        or greatest(o.completed_at, c.at) < howdah_core.now() - interval '5 s')
   and not exists (select from completions d where d.id = c.id and d.cid = c.cid)
union all
-- It is what the callee ended with, unless the callee is another caller's.
select 'a call is completed with the callee''s outcome', c.id,
       'entry ' || n.idx || ', call ' || c.name || ' (' || c.callee_id || ')'
  from calls c
  join howdah_core.journal n on n.id = c.id and n.kind = 105 and n.cid = c.cid
  join howdah_core.outcome o on o.id = c.callee_id
 where c.kind = 5 and not c.is_refused
   and ((n.detail->>'code')::int is distinct from o.code
        or (o.code is null and n.value is distinct from o.value));

comment on view howdah_core.check_calls is
  'Calls without callee, callees without call, completions that are missing. Part of howdah.violations.';
