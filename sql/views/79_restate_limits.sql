-- Rules of concurrency, and what they are used for.
create view restate.sys_rules as
select
  r.pattern as pattern,
  r.concurrency as concurrency,
  r.description as description,
  r.is_disabled as disabled,
  r.version as version,
  r.modified_at as last_modified
from howdah.limit_rules r;

comment on view restate.sys_rules is 'Rules of concurrency, with columns and values of Restate''s table.';
comment on column restate.sys_rules.pattern is 'scope, scope/l1 or scope/l1/l2; each part may be *.';
comment on column restate.sys_rules.concurrency is 'How many may run at once.';
comment on column restate.sys_rules.description is 'What it is for.';
comment on column restate.sys_rules.disabled is 'Whether it is left aside.';
comment on column restate.sys_rules.version is 'The version of all rules after its last change.';
comment on column restate.sys_rules.last_modified is 'When it was last changed.';

create view restate.sys_user_limits as
select
  0::bigint as partition_key,
  l.scope as scope,
  nullif(split_part(l.limit_key, '/', 1), '') as l1,
  nullif(split_part(l.limit_key, '/', 2), '') as l2,
  case when l.limit_key is null then 'Scope'
       when position('/' in l.limit_key) = 0 then 'Level1' else 'Level2' end as level,
  l.running::int as usage,
  l.concurrency as concurrency_limit,
  l.pattern as rule_pattern,
  l.available::int as available,
  l.waiting as num_waiters
from howdah.limits l;

comment on view restate.sys_user_limits is
  'Scopes and limit keys in use, with columns and values of Restate''s table.';
comment on column restate.sys_user_limits.partition_key is 'Always 0: nothing is partitioned.';
comment on column restate.sys_user_limits.scope is 'The scope.';
comment on column restate.sys_user_limits.l1 is 'The first part of the limit key.';
comment on column restate.sys_user_limits.l2 is 'The second part of the limit key.';
comment on column restate.sys_user_limits.level is 'Scope, Level1 or Level2: how much of these is counted here.';
comment on column restate.sys_user_limits.usage is 'How many run.';
comment on column restate.sys_user_limits.concurrency_limit is 'How many may; null: no limit.';
comment on column restate.sys_user_limits.rule_pattern is 'The rule that says so.';
comment on column restate.sys_user_limits.available is 'How many more may; null: no limit.';
comment on column restate.sys_user_limits.num_waiters is 'How many wait for a slot.';
