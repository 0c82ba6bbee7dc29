-- Invariant 8: within its retention an idempotency key belongs to the one invocation that it made.
-- The table's key allows one owner each; so it is enough that every invocation owns its own.
create view howdah_core.check_idempotency as
select 'an idempotency key yields one invocation' as invariant, i.id as invocation_id,
       i.idempotency_key || ' is ' || coalesce('that of ' || d.id, 'free') as detail
  from howdah_core.invocation i
  left join howdah_core.outcome o on o.id = i.id
  left join howdah_core.idem d
    on d.handler = i.handler and d.key = coalesce(i.key, '')
   and d.idempotency_key = i.idempotency_key
 where i.idempotency_key is not null
   and (o.id is null or o.expires_at > howdah_core.now())
   and d.id is distinct from i.id;

comment on view howdah_core.check_idempotency is
  'Idempotency keys that lost their invocation, or have two. Part of howdah.violations.';
