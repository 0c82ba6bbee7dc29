-- All invariants as one query: one snapshot, so that a system at work gives no false alarm.
create view howdah.violations as
select c.invariant, c.invocation_id, c.detail from howdah_core.check_places c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_journals c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_keys c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_calls c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_state c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_waits c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_workers c
union all
select c.invariant, c.invocation_id, c.detail from howdah_core.check_idempotency c;

comment on view howdah.violations is
  'What must never be: no rows in a healthy database. Reads every journal, so it takes its time on a large one.';
comment on column howdah.violations.invariant is 'The rule that is broken, in words.';
comment on column howdah.violations.invocation_id is
  'The invocation concerned; null where it is a key or a worker.';
comment on column howdah.violations.detail is 'Where to look.';
