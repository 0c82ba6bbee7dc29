-- What an invocation waits for, in words. Locks: none. Called by: the view howdah.invocations.
create or replace function howdah.waiting_for(
  p_id uuid, p_status text, p_run_at timestamptz, p_wait_ids int[], p_wait_all boolean,
  p_service int, p_key text)
returns text
language sql stable
return case p_status
  when 'running' then null
  when 'completed' then null
  when 'ready' then 'a free worker'
  when 'scheduled' then 'its time: ' || p_run_at
  when 'backing_off' then 'retry at ' || p_run_at
  when 'paused' then 'an operator'
  when 'inbox' then (
    select 'key ' || p_key || coalesce(', held by ' || k.holder::text, '')
      from howdah_core.keylock k where k.service = p_service and k.key = p_key)
  else (
    select case when count(*) > 1 and p_wait_all then 'all of: ' when count(*) > 1 then 'one of: '
                else '' end
           || string_agg(w.words, '; ' order by w.idx)
      from (select j.idx, case j.kind
                     when 5 then 'call ' || j.name || ' (' || j.ref || ')'
                     when 4 then 'sleep until '
                       || j.at + make_interval(secs => (j.detail->>'delay_ms')::float8 / 1000)
                     when 3 then 'step ' || j.name
                     else howdah.entry_type(j.kind) end as words
              from howdah_core.journal j
             where j.id = p_id and j.kind < 100
               and (p_wait_ids is null or j.cid = any (p_wait_ids))
               and j.cid is not null
             order by j.idx limit 20) w)
  end;
