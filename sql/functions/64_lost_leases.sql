-- Which of the attempts that are resident in a process hold no lease any more. A word that a lease
-- was taken away may come late, when the same process has the invocation again: this is the truth.
-- Locks: none. Called by: worker/operating.py.
create or replace function howdah_core.lost_leases(p_worker int, p_ids uuid[], p_epochs int[])
returns setof uuid
language sql stable
set enable_seqscan = off
as $$
  select u.id
    from unnest(p_ids, p_epochs) u(id, epoch)
    left join lateral (select k.worker, k.epoch from howdah_core.live k
                        where k.id = u.id offset 0) l on true
   where (l.worker = p_worker and l.epoch = u.epoch) is not true
$$;
