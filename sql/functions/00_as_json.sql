-- Payload bytes as jsonb, or null where they are not JSON that jsonb can hold: empty, not JSON, not
-- UTF-8, \u0000, a lone surrogate, nested deeper than the stack allows, too large. Never raises.
-- Numbers with an exponent of four or more digits give null as well: jsonb accepts many of them and
-- writes each out in full, so that a few bytes of payload would fill the screen with zeros.
-- Called by: the views. An exception block needs a subtransaction, hence parallel unsafe.
create or replace function howdah.as_json(p_bytes bytea)
returns jsonb
language plpgsql
immutable strict parallel unsafe
as $$
declare
  c_huge constant text := '[0-9][eE][+-]?0*[1-9][0-9]{3}';
  v_first text := encode(substr(ltrim(substr(p_bytes, 1, 64), '\x20090a0d'), 1, 1), 'escape');
  v_text text;
begin
  -- A look at the first byte spares most plain text the price of a caught error.
  if p_bytes = '' or position(v_first in '{["-0123456789tfn') = 0 then
    return null;
  end if;
  v_text := convert_from(p_bytes, 'UTF8');
  if v_text ~ c_huge and regexp_replace(v_text, '"([^"\\]|\\.)*"', '""', 'g') ~ c_huge then
    return null;
  end if;
  return v_text::jsonb;
exception when others then
  return null;
end
$$;

comment on function howdah.as_json(bytea) is
  'Payload bytes as jsonb; null where they are not JSON that jsonb can hold. Never raises.';
