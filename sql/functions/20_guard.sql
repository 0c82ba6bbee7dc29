-- Refuses any isolation level but READ COMMITTED: under a stricter one a check that follows a
-- lock would read from the snapshot taken before the wait, and a fenced worker could commit.
-- Locks: none. Raises: WD010. Called by: every function that writes.
create or replace function howdah_core.assert_read_committed() returns void
language plpgsql as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise sqlstate 'WD010' using
      message = 'this function must run under READ COMMITTED, not '
        || current_setting('transaction_isolation'),
      hint = 'Call it as one statement outside any transaction block.';
  end if;
end
$$;
