-- A clock that can be moved ahead, in a test's database and nowhere else. It takes the place of the
-- two functions of sql/functions/10_clock.sql, through which all durable time goes.
create schema howdah_testing;

create table howdah_testing.skipped (by interval not null);
insert into howdah_testing.skipped values ('0');

-- Stable still, so it serves as an index condition. PL/pgSQL keeps its plan; SQL would plan each call.
create or replace function howdah_core.now() returns timestamptz
language plpgsql stable parallel safe
as $$
begin
  return pg_catalog.now() + (select s.by from howdah_testing.skipped s);
end
$$;

create or replace function howdah_core.clock() returns timestamptz
language plpgsql volatile parallel safe
as $$
begin
  return pg_catalog.clock_timestamp() + (select s.by from howdah_testing.skipped s);
end
$$;

-- Moves it on. Days count as 24 hours: a jump is as long everywhere.
create function howdah_testing.skip(p_seconds float8) returns void
language sql
as $$ update howdah_testing.skipped set by = by + make_interval(secs => p_seconds) $$;
