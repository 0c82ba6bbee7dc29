-- How many invocations of a scope, or of a limit key within it, may run at once.
create view howdah.limit_rules as
select r.pattern, r.concurrency, r.description, r.is_disabled, r.version, r.modified_at
from howdah_core.limit_rule r;

comment on view howdah.limit_rules is
  'Rules of concurrency: howdah.set_limit_rule and howdah.delete_limit_rule change them.';
comment on column howdah.limit_rules.pattern is
  'For which places: scope, scope/a or scope/a/b, where each part may be *. The most specific rule holds.';
comment on column howdah.limit_rules.concurrency is
  'How many may run at once at each place; null: as many as there are.';
comment on column howdah.limit_rules.description is 'What it is for.';
comment on column howdah.limit_rules.is_disabled is 'Whether it is left aside; a less specific one may hold then.';
comment on column howdah.limit_rules.version is
  'The version of all rules after its last change: what changes it may ask for.';
comment on column howdah.limit_rules.modified_at is 'When it was last changed.';
