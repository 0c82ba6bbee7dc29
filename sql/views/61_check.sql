-- The invariants, for those who expect a verb: `select * from howdah.check()`. A function in this
-- folder, because it reads a view. Locks: none. Called by: `howdah check`.
create function howdah.check()
returns table (invariant text, invocation_id uuid, detail text)
language sql
stable
as $$
  select v.invariant, v.invocation_id, v.detail from howdah.violations v
$$;

comment on function howdah.check() is
  'What must never be (howdah.violations): no rows in a healthy database.';
