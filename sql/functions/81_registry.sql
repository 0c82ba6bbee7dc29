-- The services that the database knows: what ingress checks requests against, and where the
-- numbers in narrow tables come from.

-- Makes a deployment's services current, unless a later one is being served. For p_services see
-- register_deployment; `manifest`, where given, is kept as it is. Returns the services' names.
-- Locks: the caller's advisory (2, 1). Raises: WD011, WD014. Called by: register_deployment,
-- register_remote.
create or replace function howdah_core.put_services(
  p_deployment int, p_services jsonb, p_breaking boolean)
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_no constant int := p_deployment;
  v_service int;
  v_was text;
  v_lost text;
  s jsonb;
begin
  for s in select * from jsonb_array_elements(p_services) loop
    select x.no, x.kind into v_service, v_was from howdah_core.service x where x.name = s->>'name';
    if v_service is null then
      insert into howdah_core.service (name, kind, description, metadata, deployment)
      values (s->>'name', s->>'kind', s->>'description', s->'metadata', v_no)
      returning no into v_service;
    end if;
    insert into howdah_core.deployment_service as d (deployment, service, manifest, revision)
    values (v_no, v_service, s->'manifest',
            coalesce((select max(x.revision) from howdah_core.deployment_service x
                       where x.service = v_service), 0) + 1)
        on conflict on constraint deployment_service_pkey do update
       set manifest = excluded.manifest, removed_at = null,
           revision = d.revision + (d.manifest is distinct from excluded.manifest)::int;
    -- A later version that somebody serves says how the service is called; this one goes on with
    -- what it has begun.
    continue when howdah_core.is_superseded(v_no, v_service);

    if v_was <> s->>'kind' then
      if not p_breaking or exists (
        select from howdah_core.invocation i
         where i.service = v_service
           and not exists (select from howdah_core.outcome o where o.id = i.id)) then
        raise sqlstate 'WD011' using
          message = format('service %s is a %s in this database and cannot become a %s',
                           s->>'name', v_was, s->>'kind'),
          hint = case when p_breaking
            then 'Wait until its invocations are completed, or kill them; or give it another name.'
            else 'Give the new one another name, or start with --breaking.' end;
      end if;
    end if;
    select string_agg(h.name, ', ' order by h.name) into v_lost
      from howdah_core.handler h
     where h.service = v_service and h.retired_at is null and h.name not like '~%'
       and not exists (select from jsonb_array_elements(s->'handlers') x where x->>'name' = h.name);
    if v_lost is not null and not p_breaking then
      raise sqlstate 'WD014' using
        message = format('service %s would lose the handler %s, which callers may still use',
                         s->>'name', v_lost),
        hint = 'Keep it, or start with --breaking.';
    end if;
    update howdah_core.service x
       set revision = x.revision + (x.deployment <> v_no)::int, deployment = v_no,
           kind = s->>'kind', description = s->>'description', metadata = s->'metadata',
           modified_at = clock_timestamp()
     where x.no = v_service
       and (x.deployment, x.kind, x.description, x.metadata)
           is distinct from (v_no, s->>'kind', s->>'description', s->'metadata');

    insert into howdah_core.handler as h (service, name, kind, description, metadata,
      input_content_type, input_required, input_schema, output_content_type, output_schema,
      is_public, idempotency_retention, journal_retention, workflow_retention)
    select v_service, x.name, x.kind, x.description, x.metadata, x.input_content_type,
           x.input_required, x.input_schema, x.output_content_type, x.output_schema, x.is_public,
           make_interval(secs => x.idempotency_retention_seconds),
           make_interval(secs => x.journal_retention_seconds),
           make_interval(secs => x.workflow_retention_seconds)
      from jsonb_to_recordset(s->'handlers') as x (
             name text, kind text, description text, metadata jsonb, input_content_type text,
             input_required boolean, input_schema jsonb, output_content_type text,
             output_schema jsonb, is_public boolean, idempotency_retention_seconds float8,
             journal_retention_seconds float8, workflow_retention_seconds float8)
        on conflict on constraint handler_service_name_key do update set
           kind = excluded.kind, description = excluded.description, metadata = excluded.metadata,
           input_content_type = excluded.input_content_type,
           input_required = excluded.input_required, input_schema = excluded.input_schema,
           output_content_type = excluded.output_content_type,
           output_schema = excluded.output_schema, is_public = excluded.is_public,
           idempotency_retention = excluded.idempotency_retention,
           journal_retention = excluded.journal_retention,
           workflow_retention = excluded.workflow_retention, retired_at = null;

    update howdah_core.handler h set retired_at = clock_timestamp()
     where h.service = v_service and h.retired_at is null
       and not exists (select from jsonb_array_elements(s->'handlers') x where x->>'name' = h.name);
  end loop;
end
$$;

-- Makes a deployment known and, unless a later one is being served, its services current.
-- p_services: jsonb array of {name, kind, description, metadata, handlers: [{name, kind, description,
-- metadata, input_content_type, input_required, input_schema, output_content_type, output_schema,
-- is_public, idempotency_retention_seconds, journal_retention_seconds, workflow_retention_seconds}]}.
-- Handlers that a service no longer has are retired; their numbers stay for ever.
-- p_breaking: a service may lose handlers, or change its kind once nothing of it is under way.
-- Returns the deployment's number. Raises: WD011 a service changes its kind, WD014 it loses handlers.
-- Locks: advisory (2, 1) exclusive: one registration at a time. Called by: worker/engine.py.
create or replace function howdah_core.register_deployment(
  p_name text, p_services jsonb, p_breaking boolean default false)
returns int
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_no int;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  insert into howdah_core.deployment (name) values (p_name) on conflict (name) do nothing;
  select d.no into v_no from howdah_core.deployment d where d.name = p_name;

  perform howdah_core.put_services(v_no, p_services, p_breaking);
  perform pg_notify('howdah_registry', '');
  return v_no;
end
$$;

-- Whether a later deployment than p_deployment has the service and somebody serves it (a worker has
-- the code; a remote one is always served): then new invocations are that one's. A predicate, never
-- stored: it holds again when that worker ends.
create or replace function howdah_core.is_superseded(p_deployment int, p_service int)
returns boolean
language sql stable
return exists (
  select from howdah_core.deployment_service s
    join howdah_core.deployment d on d.no = s.deployment
   where s.service = p_service and s.deployment > p_deployment and s.removed_at is null
     and (d.kind = 'remote'
          or exists (select from howdah_core.worker w
                      where w.deployment = d.no and w.fenced_at is null)));

-- What a worker serves: the services of its own deployment (p_deployment; null: it has no handlers)
-- and those of all remote ones, for each the deployment, the queue of what that has begun, and whether
-- new invocations are that one's as well. Called by: worker/engine.py.
create or replace function howdah_core.serving(p_deployment int)
returns table (service int, deployment int, q int, is_latest boolean, is_remote boolean)
language sql stable
as $$
  select s.service, s.deployment, s.q,
         s.removed_at is null and not howdah_core.is_superseded(s.deployment, s.service),
         d.kind = 'remote'
    from howdah_core.deployment_service s
    join howdah_core.deployment d on d.no = s.deployment
   where s.deployment = p_deployment or d.kind = 'remote'
   order by s.service, s.deployment
$$;

-- Whether this is the queue of what a version has begun which no worker serves any more.
-- Called by: operate, place_order.
create or replace function howdah_core.is_unserved(p_q int) returns boolean
language sql stable
return exists (
  select from howdah_core.deployment_service s
    join howdah_core.deployment d on d.no = s.deployment
   where s.q = p_q
     and d.kind = 'local'
     and not exists (select from howdah_core.worker w
                      where w.deployment = s.deployment and w.fenced_at is null));

comment on function howdah_core.is_unserved(int) is
  'Whether a queue holds what a version has begun which no worker serves any more.';

-- Invocations that a version has begun which no worker serves any more, oldest first; not those that
-- are paused: they wait for an operator. Reads all of live. Called by: store/operations.py, stranded.
create or replace function howdah_core.stranded_invocations()
returns table (id uuid, deployment text)
language sql stable
as $$
  select l.id, d.name
    from howdah_core.live l
    join howdah_core.deployment_service s on s.q = l.q
    join howdah_core.deployment d on d.no = s.deployment
   where l.status <> 'paused'
     and d.kind = 'local'
     and not exists (select from howdah_core.worker w
                      where w.deployment = s.deployment and w.fenced_at is null)
   order by l.id
$$;

comment on function howdah_core.stranded_invocations() is
  'Invocations whose version no worker serves: howdah.resume(id, ''latest'') moves them.';

-- How many those are: (deployment, count). Reads all of live.
-- Called by: worker/engine.py and api/howdah_api/banner.py, once at a start.
create or replace function howdah_core.stranded()
returns table (deployment text, n bigint)
language sql stable
as $$
  select s.deployment, count(*)
    from howdah_core.stranded_invocations() s
   group by s.deployment
   order by s.deployment
$$;

-- Every service and handler, one row a handler. Retired ones may still have invocations under way.
create or replace function howdah_core.load_registry()
returns table (service_no int, service text, service_kind text, handler_no int, handler text,
               kind text, input_content_type text, input_required boolean,
               output_content_type text, is_public boolean, idempotency_retention interval,
               journal_retention interval, workflow_retention interval,
               is_retired boolean)
language sql stable
as $$
  select s.no, s.name, s.kind, h.no, h.name, h.kind, h.input_content_type, h.input_required,
         h.output_content_type, h.is_public, h.idempotency_retention, h.journal_retention,
         coalesce(h.workflow_retention, interval '1 day'), h.retired_at is not null
    from howdah_core.service s join howdah_core.handler h on h.service = s.no
   order by s.no, h.no
$$;
