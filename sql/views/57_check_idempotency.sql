-- Invariant 8: within its retention an idempotency key belongs to the one invocation that it made.
-- The table's key allows one owner each; so it is enough that every invocation owns its own. The run of
-- a workflow owns the empty one of its key.
create view howdah_core.check_idempotency as
select 'an idempotency key yields one invocation' as invariant, i.id as invocation_id,
       i.idempotency_key || ' is ' || coalesce('that of ' || d.id, 'free') as detail
  from howdah_core.invocation i
  left join howdah_core.outcome o on o.id = i.id
  left join howdah_core.idem d
    on d.handler = i.handler and d.key = coalesce(i.key, i.scope, '')
   and d.idempotency_key = i.idempotency_key
 where i.idempotency_key is not null
   and (o.id is null or o.expires_at > howdah_core.now())
   and d.id is distinct from i.id
union all
select 'a workflow runs once', i.id, 'key ' || i.key || ' is ' || coalesce('that of ' || d.id, 'free')
  from howdah_core.handler h
  join howdah_core.invocation i on i.handler = h.no
  left join howdah_core.idem d
    on d.handler = i.handler and d.key = i.key and d.idempotency_key = ''
 where h.kind = 'workflow' and d.id is distinct from i.id;

comment on view howdah_core.check_idempotency is
  'Idempotency keys that lost their invocation, or have two. Part of howdah.violations.';
