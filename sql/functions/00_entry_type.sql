-- The words for a journal entry's kind, as the views show them. A command is a verb, what came back
-- is '<verb> completed'; kinds that have no words yet come back as 'kind <n>'.
-- Called by: the views. Plain SQL, inlined by the planner.
create or replace function howdah.entry_type(p_kind smallint)
returns text
language sql
immutable parallel safe
as $$
  select case p_kind
    when 1 then 'input'
    when 2 then 'output'
    when 3 then 'run'
    when 4 then 'sleep'
    when 5 then 'call'
    when 6 then 'send'
    when 7 then 'get state'
    when 8 then 'get state keys'
    when 9 then 'set state'
    when 10 then 'clear state'
    when 11 then 'clear all state'
    when 12 then 'get lazy state'
    when 13 then 'get lazy state keys'
    when 14 then 'get promise'
    when 15 then 'peek promise'
    when 16 then 'complete promise'
    when 17 then 'send signal'
    when 18 then 'attach'
    when 19 then 'get output'
    when 20 then 'complete awakeable'
    when 103 then 'run completed'
    when 104 then 'sleep completed'
    when 105 then 'call completed'
    when 106 then 'invocation id'
    when 107 then 'get state completed'
    when 108 then 'get state keys completed'
    when 112 then 'get lazy state completed'
    when 113 then 'get lazy state keys completed'
    when 114 then 'get promise completed'
    when 115 then 'peek promise completed'
    when 116 then 'complete promise completed'
    when 118 then 'attach completed'
    when 119 then 'get output completed'
    when 150 then 'signal'
    else 'kind ' || p_kind
  end
$$;

comment on function howdah.entry_type(smallint) is
  'The words for a journal entry''s kind: ''run'' for a command, ''run completed'' for what came back.';
