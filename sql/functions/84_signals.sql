-- Signals in SQL: their numbers, the ids of awakeables, and sending them. A signal is mail of kind 150:
-- cid -1 cancels, cid -n (n >= 17) is the invocation's awakeable n, any other has a name.

-- The number of a named signal: far from those of awakeables, the same everywhere.
create or replace function howdah_core.signal_cid(p_name text) returns int
language sql immutable strict parallel safe
return -(268435456 + ('x' || left(md5(p_name), 7))::bit(28)::int);

comment on function howdah_core.signal_cid(text) is
  'The completion id of a signal''s name: the first 28 bits of its md5, beyond all awakeables.';

-- An awakeable's id as handlers see it: 'sign_1', then base64url of the invocation's 16 bytes and the
-- number's four.
create or replace function howdah_core.awakeable_id(p_id uuid, p_n int) returns text
language sql immutable strict parallel safe
return 'sign_1' || rtrim(translate(encode(uuid_send(p_id) || int4send(p_n), 'base64'), '+/', '-_'), '=');

comment on function howdah_core.awakeable_id(uuid, int) is
  'The id of an invocation''s awakeable, as handlers see it.';

-- What an awakeable's id says; both null when it is none.
create or replace function howdah_core.read_awakeable_id(p_text text, out id uuid, out n int)
language plpgsql immutable parallel safe
as $$
declare
  v_bytes bytea;
begin
  if p_text !~ '^sign_1[A-Za-z0-9_-]{27}$' then
    return;
  end if;
  v_bytes := decode(translate(substr(p_text, 7), '-_', '+/') || '=', 'base64');
  id := encode(substr(v_bytes, 1, 16), 'hex')::uuid;
  n := ('x' || encode(substr(v_bytes, 17, 4), 'hex'))::bit(32)::int;
  if n not between 17 and 268435455 or howdah_core.awakeable_id(id, n) <> p_text then
    id := null;
    n := null;
  end if;
end
$$;

comment on function howdah_core.read_awakeable_id(text) is
  'The invocation and the number in an awakeable''s id; null when it is none.';

-- Puts a signal into an invocation's mailbox. Returns 'accepted', 'completed' (too late) or 'unknown'.
-- Locks: none, in anybody's transaction: whether it is for the invocation is seen by the sweep, which
-- also removes what came too late. Called by: the functions below.
create or replace function howdah_core.post(
  p_id uuid, p_cid int, p_name text, p_value jsonb, p_failure jsonb)
returns text
language plpgsql
as $$
#variable_conflict use_column
begin
  if not exists (select from howdah_core.live k where k.id = p_id)
     and not exists (select from howdah_core.inbox b where b.id = p_id) then
    return case when exists (select from howdah_core.invocation i where i.id = p_id) then 'completed'
                else 'unknown' end;
  end if;
  insert into howdah_core.mailbox (id, kind, cid, name, value, detail, at)
  values (p_id, 150, p_cid, p_name,
          case when p_failure is null then convert_to(coalesce(p_value, 'null')::text, 'UTF8') end,
          p_failure, howdah_core.clock());
  perform pg_notify('howdah_mail', p_id::text);
  return 'accepted';
end
$$;

comment on function howdah_core.post(uuid, int, text, jsonb, jsonb) is
  'Puts a signal into an invocation''s mailbox: part of howdah.signal and its like.';

-- Raises: WD018 a signal without a name.
create or replace function howdah.signal(id uuid, name text, value jsonb default null) returns text
language plpgsql
as $$
begin
  if coalesce(name, '') = '' then
    raise sqlstate 'WD018' using message = 'a signal has a name',
      hint = 'An awakeable has an id instead: howdah.resolve_awakeable.';
  end if;
  return howdah_core.post(id, howdah_core.signal_cid(name), name, value, null);
end
$$;

comment on function howdah.signal(uuid, text, jsonb) is
  'Sends an invocation a signal by name. Returns accepted, completed (too late) or unknown.';

-- Raises: WD018 a signal without a name.
create or replace function howdah.reject_signal(
  id uuid, name text, message text, code int default 500)
returns text
language plpgsql
as $$
begin
  if coalesce(name, '') = '' then
    raise sqlstate 'WD018' using message = 'a signal has a name',
      hint = 'An awakeable has an id instead: howdah.reject_awakeable.';
  end if;
  return howdah_core.post(
    id, howdah_core.signal_cid(name), name, null,
    jsonb_build_object('code', coalesce(code, 500), 'message', coalesce(message, '')));
end
$$;

comment on function howdah.reject_signal(uuid, text, text, int) is
  'Sends an invocation a failure by a signal''s name. Returns accepted, completed (too late) or unknown.';

-- Raises: WD018 no awakeable's id.
create or replace function howdah.resolve_awakeable(awakeable_id text, value jsonb default null)
returns text
language plpgsql
as $$
declare
  v record;
begin
  select a.id, a.n into v from howdah_core.read_awakeable_id(awakeable_id) a;
  if v.id is null then
    raise sqlstate 'WD018' using message = format('%L is not the id of an awakeable', awakeable_id),
      hint = 'It begins with sign_1 and has 33 characters.';
  end if;
  return howdah_core.post(v.id, -v.n, null, value, null);
end
$$;

comment on function howdah.resolve_awakeable(text, jsonb) is
  'Completes an awakeable with a value. Returns accepted, completed (too late) or unknown.';

-- Raises: WD018 no awakeable's id.
create or replace function howdah.reject_awakeable(
  awakeable_id text, message text, code int default 500)
returns text
language plpgsql
as $$
declare
  v record;
begin
  select a.id, a.n into v from howdah_core.read_awakeable_id(awakeable_id) a;
  if v.id is null then
    raise sqlstate 'WD018' using message = format('%L is not the id of an awakeable', awakeable_id),
      hint = 'It begins with sign_1 and has 33 characters.';
  end if;
  return howdah_core.post(
    v.id, -v.n, null, null,
    jsonb_build_object('code', coalesce(code, 500), 'message', coalesce(message, '')));
end
$$;

comment on function howdah.reject_awakeable(text, text, int) is
  'Completes an awakeable with a failure. Returns accepted, completed (too late) or unknown.';
