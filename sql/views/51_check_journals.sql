-- Invariants 2 and 5: journals have no gaps, and what came back came back once, of a command.
create view howdah_core.check_journals as
-- Entries from 1 to n, each once (the key of the table); entry 0 is the invocation.
select 'a journal has no gaps' as invariant, j.id as invocation_id,
       count(*) || ' entries from ' || min(j.idx) || ' to ' || max(j.idx) as detail
  from howdah_core.journal j
 group by j.id
having min(j.idx) <> 1 or max(j.idx) <> count(*)
union all
-- A command gets one completion: in the journal, or in the mailbox on its way there.
select 'a command is completed once', n.id,
       howdah.entry_type(n.kind) || ' ' || n.cid || ', ' || count(*) || ' times'
  from (select j.id, j.kind, j.cid from howdah_core.journal j where j.kind > 100 and j.cid > 0
        union all
        select m.id, m.kind, m.cid from howdah_core.mailbox m where m.cid > 0) n
 group by n.id, n.kind, n.cid
having count(*) > 1
union all
-- Every completion has its command, earlier in the journal. A call or send may have a second id, for the
-- callee's id.
select 'a completion has its command', n.id, howdah.entry_type(n.kind) || ' ' || n.cid
  from (select j.id, j.kind, j.cid, j.idx from howdah_core.journal j where j.kind > 100 and j.cid > 0
        union all
        select m.id, m.kind, m.cid, null from howdah_core.mailbox m where m.cid > 0) n
 where not exists (
   select
     from (select j.id, j.kind + 100 as kind, j.cid, j.idx
             from howdah_core.journal j where j.kind < 100 and j.cid is not null
           union all
           select j.id, 106, howdah_core.id_cid(j.kind, j.cid, j.detail), j.idx
             from howdah_core.journal j where j.kind in (5, 6)) c
    where c.id = n.id and c.kind = n.kind and c.cid = n.cid and (n.idx is null or c.idx < n.idx))
union all
-- A journal with an output has an outcome; one that succeeded or failed has an output, at its end.
select 'an output goes with its outcome', j.id, 'entry ' || j.idx || ' is not the end'
  from howdah_core.journal j
 where j.kind = 2
   and (not exists (select from howdah_core.outcome o
                     where o.id = j.id and o.outcome in ('succeeded', 'failed')
                       and (o.outcome = 'failed') = coalesce(j.detail ? 'code', false)
                       and o.value is not distinct from coalesce(j.value, o.value))
        or exists (select from howdah_core.journal later
                    where later.id = j.id and later.idx > j.idx));

comment on view howdah_core.check_journals is
  'Journals with gaps, double or unasked completions. Part of howdah.violations.';
