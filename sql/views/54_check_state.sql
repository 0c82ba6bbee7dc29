-- Invariant 6: an object's state is the fold of the set and clear commands of its key's journals.
create view howdah_core.check_state as
with
-- Keys whose whole past is there: as many exclusive invocations as ever arrived at the key, all with
-- their journals.
complete as (
  select k.service, k.key
    from howdah_core.keylock k
   where k.tail = (
     select count(*) from howdah_core.invocation i
      where i.service = k.service and i.key = k.key and i.is_exclusive
        and not exists (select from howdah_core.live l where l.id = i.id and l.status = 'scheduled')
        and not exists (select from howdah_core.outcome o
                         where o.id = i.id and o.journal_expires_at = '-infinity'))),
-- A key has one writer at a time, so its commands follow each other in time as in effect. What a
-- restarted invocation took over was written by the one that it repeats.
writes as (
  select i.service, i.key, j.id, j.kind, j.name, j.value,
         row_number() over (partition by i.service, i.key order by j.at, j.id, j.idx) as n
    from howdah_core.journal j
    join howdah_core.invocation i on i.id = j.id and i.is_exclusive and j.idx > i.copied
   where j.kind in (9, 10, 11)),
cleared as (
  select w.service, w.key, max(w.n) as n from writes w where w.kind = 11 group by w.service, w.key),
-- The last write of each entry that no later 'clear all state' undoes.
folded as (
  select distinct on (w.service, w.key, w.name)
         w.service, w.key, w.name, w.id, case w.kind when 9 then w.value end as value
    from writes w
    left join cleared c on c.service = w.service and c.key = w.key
   where w.kind <> 11 and w.n > coalesce(c.n, 0)
   order by w.service, w.key, w.name, w.n desc)
select 'state is what the journals wrote' as invariant, f.id as invocation_id,
       (select v.name from howdah_core.service v where v.no = coalesce(f.service, s.service))
         || '/' || coalesce(f.key, s.key) || ', ' || coalesce(f.name, s.name) as detail
  from folded f
  full join howdah_core.state s on s.service = f.service and s.key = f.key and s.name = f.name
  join complete c on c.service = coalesce(f.service, s.service) and c.key = coalesce(f.key, s.key)
 where f.value is distinct from s.value;

comment on view howdah_core.check_state is
  'State that is not the fold of the journals, for keys whose whole past is kept. Part of howdah.violations.';
