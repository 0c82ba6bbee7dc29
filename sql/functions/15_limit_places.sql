-- Where an invocation is counted: in its scope, and in each component of its limit key.

-- 'scope', 'scope/a', 'scope/a/b': the path of an invocation's counts; null without a scope.
create or replace function howdah_core.limit_path(p_scope text, p_limit_key text) returns text
language sql immutable parallel safe
return p_scope || coalesce('/' || p_limit_key, '');

comment on function howdah_core.limit_path(text, text) is
  'Where an invocation with this scope and limit key is counted last.';

-- The places at which an invocation of this path is counted, the scope first.
create or replace function howdah_core.limit_places(p_path text)
returns table (level int, place text)
language sql immutable parallel safe
as $$
  select n, array_to_string((string_to_array(p_path, '/'))[1:n], '/')
    from generate_series(1, cardinality(string_to_array(p_path, '/'))) n
$$;

comment on function howdah_core.limit_places(text) is
  'A path and what it is below of: the places where an invocation is counted.';

-- Refuses a scope and a limit key that are none, or that the kind of service does not take.
-- Raises: WD024. Called by: howdah.send.
create or replace function howdah_core.assert_limit_path(
  p_scope text, p_limit_key text, p_service text, p_kind text)
returns void
language plpgsql immutable
as $$
declare
  c_name constant text := '[a-zA-Z0-9_.-]{1,36}';
begin
  if p_scope is null and p_limit_key is not null then
    raise sqlstate 'WD024' using message = 'a limit key needs a scope', hint = 'Name one: scope => ''…''.';
  elsif p_scope is not null and p_kind <> 'service' then
    raise sqlstate 'WD024' using
      message = format('%s %L is called without a scope', p_kind, p_service),
      hint = 'Only services without keys have scopes; make it a part of the key.';
  elsif p_scope !~ ('^' || c_name || '$') then
    raise sqlstate 'WD024' using message = format('%L is no scope', p_scope),
      hint = 'A scope has 1 to 36 of the characters a-z, A-Z, 0-9, _, . and -.';
  elsif p_limit_key !~ ('^' || c_name || '(/' || c_name || ')?$') then
    raise sqlstate 'WD024' using message = format('%L is no limit key', p_limit_key),
      hint = 'A limit key is one name or two, as in tenant/user; each has 1 to 36 of the characters a-z, A-Z, 0-9, _, . and -.';
  end if;
end
$$;

comment on function howdah_core.assert_limit_path(text, text, text, text) is
  'Refuses scopes and limit keys that are none: part of howdah.send.';
