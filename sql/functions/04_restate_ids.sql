-- Ids as tools for Restate take them: `inv_1` and 33 digits of base 62, the first 11 of which may be
-- 2^64 - 1 and the others 2^128 - 1 at most; `dp_1` and 22 digits for deployments. Hexadecimal digits are
-- digits of base 62 too. None of these reads a table, and none raises: the views in the schema restate
-- call them.

-- An invocation's id: its 32 hexadecimal digits, and one 0 that keeps them small enough. In the order of
-- the ids.
-- Called by: the views, entry_json, entry_lite_json. Plain SQL, inlined by the planner.
-- Source: engine/howdah/ids.py writes the same.
create or replace function howdah_core.restate_id(p_id uuid)
returns text
language sql
immutable parallel safe
as $$
  select 'inv_1' || overlay(replace(p_id::text, '-', '') placing '0' from 12 for 0)
$$;

comment on function howdah_core.restate_id(uuid) is
  'An invocation''s id as tools for Restate take it: inv_1….';

-- The same for a text that may be an id; any other text stays as it is.
-- Called by: entry_fields, entry_attached.
create or replace function howdah_core.restate_id(p_id text)
returns text
language sql
immutable parallel safe
as $$
  select case
    when p_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
      then howdah_core.restate_id(p_id::uuid)
    else p_id end
$$;

comment on function howdah_core.restate_id(text) is
  'The same for a text: an id becomes inv_1…, any other text stays as it is.';

-- A deployment's id. That of a remote one is its name. A version that workers serve has a name of letters
-- and digits filled up with zeros, or a digest of any other.
-- Called by: the views, is_deployment.
-- Source: engine/howdah/ids.py writes the same.
create or replace function howdah_core.restate_deployment_id(p_name text)
returns text
language sql
immutable parallel safe
as $$
  select case
    when p_name ~ '^dp_1[0-7][0-9a-zA-Z]{21}$' then p_name
    when p_name ~ '^[1-9a-zA-Z][0-9a-zA-Z]{0,20}$' then 'dp_1' || lpad(p_name, 22, '0')
    else 'dp_11' || left(md5(p_name), 21) end
$$;

comment on function howdah_core.restate_deployment_id(text) is
  'A deployment''s id as tools for Restate take it: dp_1….';

-- Whether what an operator wrote names a deployment: by its name, or by its id.
-- Called by: operate, restart_as_new, place_order.
create or replace function howdah_core.is_deployment(p_name text, p_written text)
returns boolean
language sql
immutable parallel safe
as $$
  select p_name = p_written
    or (p_written like 'dp\_1%' and howdah_core.restate_deployment_id(p_name) = p_written)
$$;

comment on function howdah_core.is_deployment(text, text) is
  'Whether a text names a deployment: by its name, or by its id dp_1….';
