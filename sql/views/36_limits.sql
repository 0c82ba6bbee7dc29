-- What scopes and limit keys hold just now, and what waits for them. Reads all invocations that have one.
create view howdah.limits as
select
  p.place,
  p.scope,
  p.limit_key,
  p.running,
  p.waiting,
  r.concurrency,
  r.pattern,
  case when r.concurrency is not null then greatest(r.concurrency - p.running, 0) end as available
from (
  select
    x.place,
    x.level,
    split_part(x.place, '/', 1) as scope,
    nullif(substr(x.place, length(split_part(x.place, '/', 1)) + 2), '') as limit_key,
    count(*) filter (where l.worker is not null) as running,
    count(*) filter (where l.run_at <= howdah_core.now()) as waiting
  from howdah_core.live l
  cross join lateral howdah_core.limit_places(l.limit_path) x
  where l.q < 0
  group by x.level, x.place
) p
  left join lateral (
    select r.pattern, r.concurrency from howdah_core.limit_rule r
     where r.level = p.level and p.place like r.likeness and not r.is_disabled
     order by r.rank limit 1) r on true;

comment on view howdah.limits is
  'Scopes and limit keys under which something runs or waits: one row for each place where it is counted.';
comment on column howdah.limits.place is 'Where it is counted: scope, scope/a or scope/a/b.';
comment on column howdah.limits.scope is 'The scope.';
comment on column howdah.limits.limit_key is 'The limit key as far as it is counted here; null for the scope as a whole.';
comment on column howdah.limits.running is 'How many run.';
comment on column howdah.limits.waiting is
  'How many would run if they might. Those that are suspended or start later are not among them.';
comment on column howdah.limits.concurrency is 'How many may run; null: no limit.';
comment on column howdah.limits.pattern is 'The rule that says so: howdah.limit_rules.';
comment on column howdah.limits.available is 'How many more may run; null: no limit.';
