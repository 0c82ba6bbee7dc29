-- A failure in one line, as the views show it: '[500] message'. Null without a code.
-- Called by: the views. Plain SQL, inlined by the planner.
create or replace function howdah.failure_text(p_code int, p_message text)
returns text
language sql
immutable parallel safe
as $$
  select '[' || p_code || '] ' || p_message
$$;

comment on function howdah.failure_text(int, text) is
  'A failure in one line, as the views show it: ''[500] message''.';
