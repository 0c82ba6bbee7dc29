-- Invariants 3 and 4: one exclusive invocation per key, in order of arrival.
create view howdah_core.check_keys as
-- Who holds a key is live, exclusive, of that key, and has started or may start.
select 'a key is held by a live invocation of its own' as invariant,
       k.holder as invocation_id, 'key ' || k.key as detail
  from howdah_core.keylock k
  left join howdah_core.live l on l.id = k.holder and l.status <> 'scheduled'
  left join howdah_core.invocation i
    on i.id = k.holder and i.is_exclusive and i.service = k.service and i.key = k.key
 where k.holder is not null and (l.id is null or i.id is null)
union all
-- And the other way round: only the holder has a live row, unless it waits for its time.
select 'a live exclusive invocation holds its key', l.id,
       'key ' || i.key || ' is ' || coalesce('held by ' || k.holder, 'free')
  from howdah_core.live l
  join howdah_core.invocation i on i.id = l.id and i.is_exclusive
  left join howdah_core.keylock k on k.service = i.service and k.key = i.key
 where l.status <> 'scheduled' and k.holder is distinct from l.id
union all
-- An inbox is behind a holder, at its own key, at a place that was given out.
select 'an inbox is behind the holder of its key', b.id,
       'key ' || b.key || ', position ' || b.seq || coalesce(' of ' || k.tail, '')
  from howdah_core.inbox b
  left join howdah_core.keylock k on k.service = b.service and k.key = b.key
  left join howdah_core.invocation i
    on i.id = b.id and i.is_exclusive and i.service = b.service and i.key = b.key
 where k.holder is null or b.seq > k.tail or i.id is null
union all
-- Times that exclusive invocations of a key held it do not overlap. Stamps are taken after the
-- key's row was locked, so that they follow each other as the holders did.
select 'one exclusive invocation of a key at a time', h.id,
       'key ' || h.key || ', started ' || h.started_at || ', before ' || h.earlier_id || ' ended'
  from (select t.*,
               lag(t.id) over w as earlier_id,
               max(t.ended_at) over (
                 partition by t.service, t.key order by t.started_at, t.ended_at
                 rows between unbounded preceding and 1 preceding) as earlier_ended_at
          from (select i.id, i.service, i.key, o.started_at, o.completed_at as ended_at
                  from howdah_core.outcome o
                  join howdah_core.invocation i on i.id = o.id and i.is_exclusive
                 where o.started_at is not null
                union all
                select i.id, i.service, i.key, l.started_at, 'infinity'
                  from howdah_core.live l
                  join howdah_core.invocation i on i.id = l.id and i.is_exclusive
                 where l.started_at is not null) t
        window w as (partition by t.service, t.key order by t.started_at, t.ended_at)) h
 where h.started_at < h.earlier_ended_at
union all
-- They start in the order in which they were accepted. Delayed ones arrive when they are due.
select 'exclusive invocations start in order of arrival', h.id,
       'key ' || h.key || ', accepted ' || h.created_at || ', before one that started earlier'
  from (select i.id, i.key, t.created_at, t.started_at,
               max(t.started_at) over (
                 partition by i.service, i.key order by t.created_at
                 range between unbounded preceding and '1 microsecond' preceding) as earlier_started_at
          from (select o.id, o.created_at, o.started_at from howdah_core.outcome o
                 where o.started_at is not null
                union all
                select l.id, l.created_at, coalesce(l.started_at, 'infinity')
                  from howdah_core.live l
                union all
                select b.id, b.created_at, 'infinity' from howdah_core.inbox b) t
          join howdah_core.invocation i
            on i.id = t.id and i.is_exclusive and i.scheduled_at is null) h
 where h.started_at < h.earlier_started_at;

comment on view howdah_core.check_keys is
  'Keys held by nobody or by two, starts out of order. Part of howdah.violations.';
