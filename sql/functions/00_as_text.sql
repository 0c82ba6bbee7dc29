-- Payload bytes as text: what people and the CLI read. Never raises.
-- UTF-8 comes back as it is. Anything else (invalid UTF-8, NUL bytes) comes back escaped the way
-- encode(…, 'escape') does it: printable ASCII as it is, every other byte as \nnn in octal, a
-- backslash doubled.
-- Called by: the views. An exception block needs a subtransaction, hence parallel unsafe.
create or replace function howdah.as_text(p_bytes bytea)
returns text
language plpgsql
immutable strict parallel unsafe
as $$
begin
  return convert_from(p_bytes, 'UTF8');
exception when others then
  return encode(p_bytes, 'escape');
end
$$;

comment on function howdah.as_text(bytea) is
  'Payload bytes as text. Bytes that are not valid UTF-8, or hold a NUL, come back escaped (\nnn); it never raises.';
