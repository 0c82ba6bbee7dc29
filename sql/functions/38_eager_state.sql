-- The part of a key's state that goes with a grant: entries by name, as many as fit p_bytes (names and
-- values together) and 2,000 at most. A last row with a null value says that there is more.
-- Locks: none. Called by: load_attempts, commit_batch. Plain SQL, inlined by the planner.
create or replace function howdah_core.eager_state(p_service int, p_key text, p_bytes int)
returns table (name text, value bytea)
language sql stable
as $$
  select s.name, case when s.total <= p_bytes and s.n <= 2000 then s.value end
    from (select x.name, x.value, x.size,
                 sum(x.size) over w as total, row_number() over w as n
            from (select k.name, k.value, octet_length(k.name) + octet_length(k.value) as size
                    from howdah_core.state k
                   where k.service = p_service and k.key = p_key
                   order by k.service, k.key, k.name limit 2001) x
          window w as (order by x.name rows unbounded preceding)) s
   where s.total - s.size <= p_bytes
$$;
