-- The services that the database knows: what ingress checks requests against, and where the
-- numbers in narrow tables come from.

-- Notes what a deployment says of its services, and makes them current unless a later version is being
-- served. For p_services see register_deployment; `manifest`, where given, is kept as it is. A remote
-- deployment that is registered again is its services' newest version, and what operators changed of them
-- is undone. Locks: the caller's advisory (2, 1). Raises: WD011, WD014. Called by: register_deployment,
-- register_remote.
create or replace function howdah_core.put_services(
  p_deployment int, p_services jsonb, p_breaking boolean)
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_is_remote constant boolean :=
    (select d.kind = 'remote' from howdah_core.deployment d where d.no = p_deployment);
  v_service int;
  s jsonb;
begin
  for s in select * from jsonb_array_elements(p_services) loop
    select x.no into v_service from howdah_core.service x where x.name = s->>'name';
    if v_service is null then
      insert into howdah_core.service (name, kind, description, metadata, deployment)
      values (s->>'name', s->>'kind', s->>'description', s->'metadata', p_deployment)
      returning no into v_service;
    end if;
    insert into howdah_core.deployment_service as d
      (deployment, service, manifest, described, revision)
    values (p_deployment, v_service, s->'manifest', s - 'manifest',
            coalesce((select max(x.revision) from howdah_core.deployment_service x
                       where x.service = v_service), 0) + 1)
        on conflict on constraint deployment_service_pkey do update
       set manifest = excluded.manifest, described = excluded.described, removed_at = null,
           revision = case when v_is_remote then excluded.revision else d.revision end;
    if v_is_remote then
      update howdah_core.service x set overrides = null where x.no = v_service;
    end if;
    -- A later version that somebody serves says how the service is called; this one goes on with
    -- what it has begun.
    continue when howdah_core.is_superseded(p_deployment, v_service);
    perform howdah_core.make_current(p_deployment, v_service, p_breaking);
  end loop;
end
$$;

-- Makes what a deployment says of a service that by which it is called. What operators changed of the
-- service (service.overrides) stays changed. Locks: the caller's advisory (2, 1).
-- Raises: WD011 it changes its kind, WD014 it loses handlers. Called by: put_services, remove_remote,
-- override_service.
create or replace function howdah_core.make_current(
  p_deployment int, p_service int, p_breaking boolean)
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_was record;
  v_lost text;
  v_revision int;
  s jsonb;
begin
  select x.name, x.kind, x.overrides into v_was from howdah_core.service x where x.no = p_service;
  select d.described, d.revision into s, v_revision
    from howdah_core.deployment_service d
   where d.deployment = p_deployment and d.service = p_service;
  if s is null then
    -- Registered by a release that did not keep it: it stays as it is.
    perform howdah_core.override_handlers(p_service, v_was.overrides);
    return;
  end if;
  if v_was.kind <> s->>'kind' then
    if not p_breaking or exists (
      select from howdah_core.invocation i
       where i.service = p_service
         and not exists (select from howdah_core.outcome o where o.id = i.id)) then
      raise sqlstate 'WD011' using
        message = format('service %s is a %s in this database and cannot become a %s',
                         v_was.name, v_was.kind, s->>'kind'),
        hint = case when p_breaking
          then 'Wait until its invocations are completed, or kill them; or give it another name.'
          else 'Give the new one another name, or start with --breaking.' end;
    end if;
  end if;
  select string_agg(h.name, ', ' order by h.name) into v_lost
    from howdah_core.handler h
   where h.service = p_service and h.retired_at is null and h.name not like '~%'
     and not exists (select from jsonb_array_elements(s->'handlers') x where x->>'name' = h.name);
  if v_lost is not null and not p_breaking then
    raise sqlstate 'WD014' using
      message = format('service %s would lose the handler %s, which callers may still use',
                       v_was.name, v_lost),
      hint = 'Keep it, or start with --breaking.';
  end if;
  update howdah_core.service x
     set revision = v_revision, deployment = p_deployment, kind = s->>'kind',
         description = s->>'description', metadata = s->'metadata',
         modified_at = clock_timestamp()
   where x.no = p_service
     and (x.revision, x.deployment, x.kind, x.description, x.metadata)
         is distinct from (v_revision, p_deployment, s->>'kind', s->>'description', s->'metadata');

  insert into howdah_core.handler as h (service, name, kind, description, metadata,
    input_content_type, input_required, input_schema, output_content_type, output_schema,
    labels_empty_output, is_public, idempotency_retention, journal_retention, workflow_retention)
  select p_service, x.name, x.kind, x.description, x.metadata, x.input_content_type,
         x.input_required, x.input_schema, x.output_content_type, x.output_schema,
         coalesce(x.labels_empty_output, false), x.is_public,
         make_interval(secs => x.idempotency_retention_seconds),
         make_interval(secs => x.journal_retention_seconds),
         make_interval(secs => x.workflow_retention_seconds)
    from jsonb_to_recordset(s->'handlers') as x (
           name text, kind text, description text, metadata jsonb, input_content_type text,
           input_required boolean, input_schema jsonb, output_content_type text,
           output_schema jsonb, labels_empty_output boolean, is_public boolean,
           idempotency_retention_seconds float8, journal_retention_seconds float8,
           workflow_retention_seconds float8)
      on conflict on constraint handler_service_name_key do update set
         kind = excluded.kind, description = excluded.description, metadata = excluded.metadata,
         input_content_type = excluded.input_content_type,
         input_required = excluded.input_required, input_schema = excluded.input_schema,
         output_content_type = excluded.output_content_type,
         output_schema = excluded.output_schema,
         labels_empty_output = excluded.labels_empty_output, is_public = excluded.is_public,
         idempotency_retention = excluded.idempotency_retention,
         journal_retention = excluded.journal_retention,
         workflow_retention = excluded.workflow_retention, retired_at = null;

  update howdah_core.handler h set retired_at = clock_timestamp()
   where h.service = p_service and h.retired_at is null
     and not exists (select from jsonb_array_elements(s->'handlers') x where x->>'name' = h.name);
  perform howdah_core.override_handlers(p_service, v_was.overrides);
end
$$;

-- Puts what operators set before what the code says. Locks: the caller's advisory (2, 1).
-- Called by: make_current.
create or replace function howdah_core.override_handlers(p_service int, p_overrides jsonb)
returns void
language sql
as $$
  update howdah_core.handler h
     set is_public = coalesce((p_overrides->>'is_public')::boolean, h.is_public),
         idempotency_retention = coalesce(
           make_interval(secs => (p_overrides->>'idempotency_retention_seconds')::float8),
           h.idempotency_retention),
         journal_retention = coalesce(
           make_interval(secs => (p_overrides->>'journal_retention_seconds')::float8),
           h.journal_retention),
         workflow_retention = case when h.kind = 'workflow' then coalesce(
           make_interval(secs => (p_overrides->>'workflow_retention_seconds')::float8),
           h.workflow_retention) end
   where h.service = p_service and h.name not like '~%' and p_overrides is not null
$$;

-- Changes what operators set of a service: p_changes is merged into what they set before, and null takes
-- a setting back. It holds until a remote deployment with the service is registered; what the service's
-- workers register does not change it.
-- Returns whether there is such a service. Locks: advisory (2, 1) exclusive.
-- Called by: howdah_api/admin.
create or replace function howdah_core.override_service(p_name text, p_changes jsonb)
returns boolean
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_service int;
  v_deployment int;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  update howdah_core.service x
     set overrides = nullif(
           jsonb_strip_nulls(coalesce(x.overrides, '{}') || p_changes), '{}'),
         modified_at = clock_timestamp()
   where x.name = p_name
     and exists (select from howdah_core.handler h where h.service = x.no and h.retired_at is null)
  returning x.no, x.deployment into v_service, v_deployment;
  if v_service is null then
    return false;
  end if;
  perform howdah_core.make_current(v_deployment, v_service, true);
  perform pg_notify('howdah_registry', '');
  return true;
end
$$;

-- Makes a deployment known and, unless a later one is being served, its services current.
-- p_services: jsonb array of {name, kind, description, metadata, handlers: [{name, kind, description,
-- metadata, input_content_type, input_required, input_schema, output_content_type, output_schema,
-- labels_empty_output, is_public, idempotency_retention_seconds, journal_retention_seconds,
-- workflow_retention_seconds}], manifest}; manifest: what else is said of it, as in a manifest of remote
-- services (howdah/manifests.py).
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

-- Whether another deployment has a later version of the service than p_deployment, and somebody serves it
-- (a worker has the code; a remote one is always served): then new invocations are that one's. A
-- predicate, never stored: it holds again when that worker ends.
create or replace function howdah_core.is_superseded(p_deployment int, p_service int)
returns boolean
language sql stable
return exists (
  select from howdah_core.deployment_service own
    join howdah_core.deployment_service s
      on s.service = own.service and s.revision > own.revision and s.removed_at is null
    join howdah_core.deployment d on d.no = s.deployment
   where own.deployment = p_deployment and own.service = p_service
     and (d.kind = 'remote'
          or exists (select from howdah_core.worker w
                      where w.deployment = d.no and w.fenced_at is null)));

-- What a worker serves: the services of its own deployment (p_deployment; null: it has no handlers)
-- and those of all remote ones, for each the deployment, the queue of what that has begun, and whether
-- new invocations are that one's as well. What was removed is there for as long as something of it is.
-- Called by: worker/engine.py.
create or replace function howdah_core.serving(p_deployment int)
returns table (service int, deployment int, q int, is_latest boolean, is_remote boolean)
language sql stable
as $$
  select s.service, s.deployment, s.q,
         s.removed_at is null and not howdah_core.is_superseded(s.deployment, s.service),
         d.kind = 'remote'
    from howdah_core.deployment_service s
    join howdah_core.deployment d on d.no = s.deployment
   where s.deployment = p_deployment
      or d.kind = 'remote'
         and (s.removed_at is null or exists (select from howdah_core.live l where l.q in (s.q, -s.q)))
   order by s.service, s.deployment
$$;

-- Whether this is the queue of what a version has begun which no worker serves any more, or of what a
-- remote deployment has begun that was removed.
-- Called by: operate, place_order.
create or replace function howdah_core.is_unserved(p_q int) returns boolean
language sql stable
return exists (
  select from howdah_core.deployment_service s
    join howdah_core.deployment d on d.no = s.deployment
   where s.q = abs(p_q)
     and case d.kind when 'local' then not exists (
           select from howdah_core.worker w where w.deployment = s.deployment and w.fenced_at is null)
         else s.removed_at is not null end);

comment on function howdah_core.is_unserved(int) is
  'Whether a queue holds what a version has begun which no worker serves any more.';

-- Invocations that a version has begun which no worker serves any more, or that was removed, oldest first; not those that
-- are paused: they wait for an operator. Reads all of live. Called by: store/operations.py, stranded.
create or replace function howdah_core.stranded_invocations()
returns table (id uuid, deployment text)
language sql stable
as $$
  select l.id, d.name
    from howdah_core.live l
    join howdah_core.deployment_service s on s.q = abs(l.q)
    join howdah_core.deployment d on d.no = s.deployment
   where l.status <> 'paused'
     and case d.kind when 'local' then not exists (
           select from howdah_core.worker w where w.deployment = s.deployment and w.fenced_at is null)
         else s.removed_at is not null end
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
-- The timeouts are those that operators set; null: what the version says that executes it.
create or replace function howdah_core.load_registry()
returns table (service_no int, service text, service_kind text, handler_no int, handler text,
               kind text, input_content_type text, input_required boolean,
               output_content_type text, labels_empty_output boolean, is_public boolean,
               idempotency_retention interval, journal_retention interval,
               workflow_retention interval, inactivity_timeout interval, abort_timeout interval,
               is_retired boolean)
language sql stable
as $$
  select s.no, s.name, s.kind, h.no, h.name, h.kind, h.input_content_type, h.input_required,
         h.output_content_type, h.labels_empty_output, h.is_public, h.idempotency_retention,
         h.journal_retention, coalesce(h.workflow_retention, interval '1 day'),
         make_interval(secs => (s.overrides->>'inactivity_timeout_seconds')::float8),
         make_interval(secs => (s.overrides->>'abort_timeout_seconds')::float8),
         h.retired_at is not null
    from howdah_core.service s join howdah_core.handler h on h.service = s.no
   order by s.no, h.no
$$;
