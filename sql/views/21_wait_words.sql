-- What an invocation waits for, in one line; only what is not answered yet is named, and
-- of that the first three. Read by howdah.invocations.
create view howdah_core.wait_words as
select
  t.invocation_id,
  case
    when t.n = 1 then ''
    when t.is_all_needed then t.missing || ' of ' || t.n || coalesce(' ' || t.type || 's', '') || ': '
    else 'one of ' || t.n || coalesce(' ' || t.type || 's', '') || ': '
  end
  || array_to_string(case when t.type is not null and t.n > 1 then t.names else t.typed_names end, ', ')
  || case when t.missing > 3 then ', …' else '' end as words
from (
  select
    w.invocation_id,
    count(*) as n,
    count(*) filter (where not w.is_answered) as missing,
    bool_and(w.is_all_needed) as is_all_needed,
    case when min(w.type) = max(w.type) then min(w.type) end as type,
    (array_agg(z.name order by w.index) filter (where not w.is_answered))[1:3] as names,
    (array_agg(concat_ws(' ', w.type, z.name) order by w.index)
       filter (where not w.is_answered))[1:3] as typed_names
  from howdah.waits w
  cross join lateral (
    select case
      when w.due_at is not null
        then concat_ws(' ', 'until', date_trunc('milliseconds', w.due_at), '(' || w.name || ')')
      else concat_ws(' ', w.name, w.target, '(' || w.callee_id || ')')
    end as name) z
  group by w.invocation_id
) t;

comment on view howdah_core.wait_words is
  'What each invocation waits for, in one line. Part of howdah.invocations.';
