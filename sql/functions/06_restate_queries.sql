-- What queries over the admin port call besides Postgres's own functions: each is bounded, or bounds
-- what a query may return. The translation (api/howdah_api/query/) puts them in; nobody else does.

-- Counts the bytes that a statement returns, and ends it beyond a limit. The count belongs to the
-- transaction. Put beside the columns of each returned row.
-- Raises: WD023.
create or replace function howdah_core.meter(p_bytes bigint, p_limit bigint)
returns boolean
language plpgsql
volatile
as $$
declare
  v_total constant bigint :=
    coalesce(nullif(current_setting('howdah.metered', true), '')::bigint, 0) + coalesce(p_bytes, 0);
begin
  if v_total > p_limit then
    raise sqlstate 'WD023' using
      message = format('the result is larger than %s MiB', p_limit / 1048576),
      hint = 'Ask for fewer columns or rows.';
  end if;
  perform set_config('howdah.metered', v_total::text, true);
  return true;
end
$$;

comment on function howdah_core.meter(bigint, bigint) is
  'Counts the bytes that a query returns, and ends it beyond a limit.';

-- Texts one after another, with a separator; nulls are skipped. Together they may have 1 MiB, so that
-- no query can double a text until memory is full.
-- Raises: WD023.
create or replace function howdah_core.joined(p_separator text, variadic p_texts text[])
returns text
language plpgsql
immutable
as $$
declare
  v_bytes bigint := 0;
  v_text text;
begin
  foreach v_text in array p_texts loop
    v_bytes := v_bytes + coalesce(octet_length(v_text), 0) + octet_length(p_separator);
  end loop;
  if v_bytes > 1048576 then
    raise sqlstate 'WD023' using message = 'a text that a query makes may have 1 MiB';
  end if;
  return array_to_string(p_texts, p_separator);
end
$$;

comment on function howdah_core.joined(text, text[]) is
  'Texts one after another, nulls skipped, at most 1 MiB.';

-- One text after another, null if either is, at most 1 MiB: what || becomes.
-- Raises: WD023.
create or replace function howdah_core.concatenated(p_left text, p_right text)
returns text
language plpgsql
immutable strict
as $$
begin
  if octet_length(p_left)::bigint + octet_length(p_right) > 1048576 then
    raise sqlstate 'WD023' using message = 'a text that a query makes may have 1 MiB';
  end if;
  return p_left || p_right;
end
$$;

comment on function howdah_core.concatenated(text, text) is
  'One text after another, null if either is, at most 1 MiB.';

-- A text with one part replaced by another wherever it occurs: as replace does, at most 1 MiB.
-- Raises: WD023.
create or replace function howdah_core.replaced(p_text text, p_from text, p_to text)
returns text
language plpgsql
immutable strict
as $$
begin
  if octet_length(p_text)::bigint * greatest(octet_length(p_to), 1) > 1048576
      and octet_length(p_from) < octet_length(p_to) then
    raise sqlstate 'WD023' using message = 'a text that a query makes may have 1 MiB';
  end if;
  return replace(p_text, p_from, p_to);
end
$$;

comment on function howdah_core.replaced(text, text, text) is
  'As replace, but the text may grow to 1 MiB only.';

-- The first and the last value of a group, nulls included: the state is an array of that one value.
-- Called by: the aggregates first and last.
create or replace function howdah_core.keep_first(p_kept anyarray, p_value anyelement)
returns anyarray
language plpgsql
immutable
as $$
begin
  return coalesce(p_kept, array[p_value]);
end
$$;

comment on function howdah_core.keep_first(anyarray, anyelement) is
  'The step of the aggregate first.';

create or replace function howdah_core.keep_last(p_kept anyarray, p_value anyelement)
returns anyarray
language plpgsql
immutable
as $$
begin
  return array[p_value];
end
$$;

comment on function howdah_core.keep_last(anyarray, anyelement) is 'The step of the aggregate last.';

create or replace function howdah_core.kept(p_kept anyarray)
returns anyelement
language sql
immutable
as $$
  select p_kept[1]
$$;

comment on function howdah_core.kept(anyarray) is 'The end of the aggregates first and last.';

create or replace aggregate howdah_core.first(anyelement) (
  sfunc = howdah_core.keep_first, stype = anyarray, finalfunc = howdah_core.kept
);

comment on aggregate howdah_core.first(anyelement) is
  'The first value of a group, nulls included: first(x order by y).';

create or replace aggregate howdah_core.last(anyelement) (
  sfunc = howdah_core.keep_last, stype = anyarray, finalfunc = howdah_core.kept
);

comment on aggregate howdah_core.last(anyelement) is
  'The last value of a group, nulls included: last(x order by y).';
