-- The one clock of durable time. Everything that is stored or compared as a time goes through
-- these two, so that a test can move time for the whole system in one place.

-- Stable within a statement: usable as an index condition (live_q_run_at_idx).
create or replace function howdah_core.now() returns timestamptz
language sql stable parallel safe
return pg_catalog.now();

-- The time of this very moment, read after the locks were taken: stamps on rows.
create or replace function howdah_core.clock() returns timestamptz
language sql volatile parallel safe
return pg_catalog.clock_timestamp();
