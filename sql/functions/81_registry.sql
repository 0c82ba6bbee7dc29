-- The services that the database knows: what ingress checks requests against, and where the
-- numbers in narrow tables come from.

-- Makes a deployment known and its services current. p_services: jsonb array of
-- {name, kind, description, handlers: [{name, kind, description, input_content_type,
-- input_required, input_schema, output_content_type, output_schema, is_public,
-- idempotency_retention_seconds, journal_retention_seconds}]}.
-- Handlers that a service no longer has are retired; their numbers stay for ever.
-- Returns the deployment's number. Raises: WD011 a service changes its kind.
-- Locks: advisory (2, 1) exclusive: one registration at a time. Called by: worker/engine.py.
create or replace function howdah_core.register_deployment(p_name text, p_services jsonb)
returns int
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_no int;
  v_service int;
  v_was text;
  s jsonb;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  insert into howdah_core.deployment (name) values (p_name) on conflict (name) do nothing;
  select d.no into v_no from howdah_core.deployment d where d.name = p_name;

  for s in select * from jsonb_array_elements(p_services) loop
    select x.no, x.kind into v_service, v_was from howdah_core.service x where x.name = s->>'name';
    if v_service is null then
      insert into howdah_core.service (name, kind, description, deployment)
      values (s->>'name', s->>'kind', s->>'description', v_no) returning no into v_service;
    elsif v_was <> s->>'kind' then
      raise sqlstate 'WD011' using
        message = format('service %s is a %s in this database and cannot become a %s',
                         s->>'name', v_was, s->>'kind'),
        hint = 'Give the new one another name, or remove the old one''s invocations first.';
    else
      update howdah_core.service x
         set revision = x.revision + (x.deployment <> v_no)::int, deployment = v_no,
             description = s->>'description', modified_at = clock_timestamp()
       where x.no = v_service
         and (x.deployment, x.description) is distinct from (v_no, s->>'description');
    end if;

    insert into howdah_core.handler as h (service, name, kind, description, input_content_type,
      input_required, input_schema, output_content_type, output_schema, is_public,
      idempotency_retention, journal_retention)
    select v_service, x.name, x.kind, x.description, x.input_content_type, x.input_required,
           x.input_schema, x.output_content_type, x.output_schema, x.is_public,
           make_interval(secs => x.idempotency_retention_seconds),
           make_interval(secs => x.journal_retention_seconds)
      from jsonb_to_recordset(s->'handlers') as x (
             name text, kind text, description text, input_content_type text,
             input_required boolean, input_schema jsonb, output_content_type text,
             output_schema jsonb, is_public boolean, idempotency_retention_seconds float8,
             journal_retention_seconds float8)
        on conflict on constraint handler_service_name_key do update set
           kind = excluded.kind, description = excluded.description,
           input_content_type = excluded.input_content_type,
           input_required = excluded.input_required, input_schema = excluded.input_schema,
           output_content_type = excluded.output_content_type,
           output_schema = excluded.output_schema, is_public = excluded.is_public,
           idempotency_retention = excluded.idempotency_retention,
           journal_retention = excluded.journal_retention, retired_at = null;

    update howdah_core.handler h set retired_at = clock_timestamp()
     where h.service = v_service and h.retired_at is null
       and not exists (select from jsonb_array_elements(s->'handlers') x where x->>'name' = h.name);
  end loop;
  perform pg_notify('howdah_registry', '');
  return v_no;
end
$$;

-- Every service and handler in force, one row a handler.
create or replace function howdah_core.load_registry()
returns table (service_no int, service text, service_kind text, handler_no int, handler text,
               kind text, input_content_type text, input_required boolean,
               output_content_type text, is_public boolean, idempotency_retention interval,
               journal_retention interval)
language sql stable
as $$
  select s.no, s.name, s.kind, h.no, h.name, h.kind, h.input_content_type, h.input_required,
         h.output_content_type, h.is_public, h.idempotency_retention, h.journal_retention
    from howdah_core.service s join howdah_core.handler h on h.service = s.no
   where h.retired_at is null
   order by s.no, h.no
$$;
