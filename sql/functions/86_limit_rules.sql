-- The rules of how many invocations of a scope, or of a limit key in it, may run at once. They hold for
-- whatever begins after they were set; what runs already is left alone, and counted.

-- Sets rules, all of them or none: jsonb array of {pattern, concurrency?, description?, is_disabled?,
-- precondition?, expected_version?}; precondition: 'does_not_exist', or 'matches' (expected_version).
-- Returns the rules as they are now.
-- Locks: the table, against other changes. Raises: WD010, WD025 (no rule), WD026 (a precondition does not
-- hold), WD027 (too many). Called by: store/limits.py, howdah.set_limit_rule.
create or replace function howdah_core.set_limit_rules(p_rules jsonb)
returns table (pattern text, concurrency int, description text, is_disabled boolean, version int,
               modified_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
  c_rules_max constant int := 1000;
  c_pattern constant text := '^(\*|[a-zA-Z0-9_.-]{1,36})(/(\*|[a-zA-Z0-9_.-]{1,36})){0,2}$';
  v_patterns text[];
  v_bad text;
  v_version int;
begin
  perform howdah_core.assert_read_committed();
  select array_agg(r.value->>'pattern') into v_patterns from jsonb_array_elements(p_rules) r;
  if v_patterns is null then
    return;
  end if;
  select coalesce(p, 'null') into v_bad from unnest(v_patterns) p where (p ~ c_pattern) is not true limit 1;
  if found then
    raise sqlstate 'WD025' using message = format('%L is no pattern of a rule', v_bad),
      hint = 'A pattern is scope, scope/key or scope/key/key; each part is * or has 1 to 36 of the characters a-z, A-Z, 0-9, _, . and -.';
  end if;
  select p into v_bad from unnest(v_patterns) p group by p having count(*) > 1 limit 1;
  if found then
    raise sqlstate 'WD025' using message = format('there are two rules for %L', v_bad),
      hint = 'Set one for each pattern.';
  end if;
  select r.value->>'pattern' into v_bad
    from jsonb_array_elements(p_rules) r where (r.value->>'concurrency')::bigint not between 0 and 2147483647 limit 1;
  if found then
    raise sqlstate 'WD025' using message = format('the concurrency of %L is out of bounds', v_bad),
      hint = 'It is 0 to 2147483647; 0 lets nothing begin.';
  end if;

  lock table howdah_core.limit_rule in share row exclusive mode;
  select g.value->>'pattern' into v_bad
    from jsonb_array_elements(p_rules) g
    left join howdah_core.limit_rule r on r.pattern = g.value->>'pattern'
   where case g.value->>'precondition'
           when 'does_not_exist' then r.pattern is not null
           when 'matches' then r.version is distinct from (g.value->>'expected_version')::bigint
           else false end
   limit 1;
  if found then
    raise sqlstate 'WD026' using message = format('rule %L is not as expected', v_bad),
      hint = coalesce('Its version is ' || (
        select r.version from howdah_core.limit_rule r where r.pattern = v_bad) || '.', 'It does not exist.');
  end if;
  v_version := nextval('howdah_core.limit_rule_version');
  insert into howdah_core.limit_rule as x (pattern, concurrency, description, is_disabled, version,
                                           modified_at)
  select g.value->>'pattern', (g.value->>'concurrency')::int, g.value->>'description',
         coalesce((g.value->>'is_disabled')::boolean, false), v_version, howdah_core.clock()
    from jsonb_array_elements(p_rules) g
      on conflict on constraint limit_rule_pkey do update
     set concurrency = excluded.concurrency, description = excluded.description,
         is_disabled = excluded.is_disabled, version = excluded.version,
         modified_at = excluded.modified_at;
  if (select count(*) from howdah_core.limit_rule) > c_rules_max then
    raise sqlstate 'WD027' using message = format('there are more than %s rules', c_rules_max),
      hint = 'A pattern with * holds for many scopes and limit keys.';
  end if;
  perform pg_notify('howdah_work', '-');
  return query
    select r.pattern, r.concurrency, r.description, r.is_disabled, r.version, r.modified_at
      from unnest(v_patterns) with ordinality u(pattern, o)
      join howdah_core.limit_rule r on r.pattern = u.pattern
     order by u.o;
end
$$;

comment on function howdah_core.set_limit_rules(jsonb) is
  'Sets rules of concurrency, all of them or none.';

-- Deletes rules, all of them or none: jsonb array of {pattern, expected_version?}. Returns the patterns
-- of those that there were.
-- Locks: as set_limit_rules. Raises: WD010, WD026. Called by: store/limits.py, howdah.delete_limit_rule.
create or replace function howdah_core.delete_limit_rules(p_rules jsonb) returns setof text
language plpgsql
as $$
declare
  v_bad text;
begin
  perform howdah_core.assert_read_committed();
  lock table howdah_core.limit_rule in share row exclusive mode;
  select g.value->>'pattern' into v_bad
    from jsonb_array_elements(p_rules) g
    left join howdah_core.limit_rule r on r.pattern = g.value->>'pattern'
   where r.version is distinct from coalesce((g.value->>'expected_version')::bigint, r.version)
   limit 1;
  if found then
    raise sqlstate 'WD026' using message = format('rule %L is not as expected', v_bad),
      hint = coalesce('Its version is ' || (
        select r.version from howdah_core.limit_rule r where r.pattern = v_bad) || '.', 'It does not exist.');
  end if;
  perform pg_notify('howdah_work', '-');
  return query
    delete from howdah_core.limit_rule r
     using jsonb_array_elements(p_rules) g
     where r.pattern = g.value->>'pattern'
    returning r.pattern;
end
$$;

comment on function howdah_core.delete_limit_rules(jsonb) is
  'Deletes rules of concurrency, all of them or none.';

-- Raises: as set_limit_rules.
create or replace function howdah.set_limit_rule(
  pattern text, concurrency int default null, description text default null,
  is_disabled boolean default false)
returns int
language sql
as $$
  select r.version from howdah_core.set_limit_rules(jsonb_build_array(jsonb_build_object(
    'pattern', set_limit_rule.pattern, 'concurrency', set_limit_rule.concurrency,
    'description', set_limit_rule.description, 'is_disabled', set_limit_rule.is_disabled))) r
$$;

comment on function howdah.set_limit_rule(text, int, text, boolean) is
  'Sets how many invocations may run at once at the places of a pattern (scope, scope/key, scope/key/key, parts may be *); null: as many as there are. Returns the rule''s version.';

-- Raises: WD010.
create or replace function howdah.delete_limit_rule(pattern text) returns boolean
language sql
as $$
  select exists (select from howdah_core.delete_limit_rules(
    jsonb_build_array(jsonb_build_object('pattern', delete_limit_rule.pattern))))
$$;

comment on function howdah.delete_limit_rule(text) is
  'Deletes a rule of concurrency; returns whether there was one.';
