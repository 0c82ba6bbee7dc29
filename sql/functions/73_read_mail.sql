-- The mail of invocations that run on this worker, oldest first. It stays in the mailbox until a
-- batch has taken it into the journal (m_* of commit_batch).
-- Locks: none. Called by: worker/delivering.py.
create or replace function howdah_core.read_mail(p_ids uuid[])
returns table (id uuid, seq bigint, kind smallint, cid int, name text, value bytea, ref uuid,
               detail jsonb)
language sql stable
set enable_seqscan = off
as $$
  select m.id, m.seq, m.kind, m.cid, m.name, m.value, m.ref, m.detail
    from howdah_core.mailbox m where m.id = any (p_ids) order by m.id, m.seq
$$;
