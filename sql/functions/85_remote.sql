-- Remote deployments: services that run elsewhere, which any worker drives over HTTP.

-- What of an address makes it one and the same deployment: host, port and path, not the scheme.
create or replace function howdah_core.place_of(p_uri text) returns text
language sql immutable
return rtrim(lower(substring(p_uri from '://([^/?]*)')) || substring(p_uri from '://[^/?]*([^?]*)'), '/');

-- Registers a deployment, or registers one again. The caller has asked the endpoint for its manifest.
-- p_id: the id that people will use, dp_…, for a new one. p_deployment: an existing deployment (its id)
-- to overwrite; null: a new one. p_services: as register_deployment has it, each with `manifest`.
-- p_breaking: services may lose handlers, or change their kind once nothing of them is under way.
-- p_dry_run: everything is checked, and nothing kept.
-- Returns the deployment's row number and id, whether it is new, and the services' revisions by name.
-- Locks: advisory (2, 1) exclusive. Raises: WD010, WD011, WD014; WD020 when another deployment has the
-- address (its id is the detail), WD021 when there is no deployment to overwrite.
-- Called by: howdah_api/admin.
create or replace function howdah_core.register_remote(
  p_id text, p_deployment text, p_uri text, p_headers jsonb, p_metadata jsonb,
  p_protocol_type text, p_http_version text, p_use_http_11 boolean, p_min_version int,
  p_max_version int, p_sdk_version text, p_services jsonb, p_breaking boolean,
  p_dry_run boolean default false)
returns table (no int, id text, is_new boolean, revisions jsonb)
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_no int;
  v_other text;
  v_revisions jsonb;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  select d.name into v_other
    from howdah_core.deployment d
   where d.kind = 'remote' and d.removed_at is null and d.name is distinct from p_deployment
     and howdah_core.place_of(d.uri) = howdah_core.place_of(p_uri);
  if v_other is not null then
    raise sqlstate 'WD020' using
      message = format('deployment %s has this address', v_other), detail = v_other,
      hint = 'Register that one again, or remove it.';
  end if;
  begin
    if p_deployment is null then
      insert into howdah_core.deployment (name, kind, uri, headers, metadata, protocol_type,
        http_version, use_http_11, min_protocol_version, max_protocol_version, sdk_version)
      values (p_id, 'remote', p_uri, p_headers, p_metadata, p_protocol_type, p_http_version,
              p_use_http_11, p_min_version, p_max_version, p_sdk_version)
      returning deployment.no into v_no;
    else
      update howdah_core.deployment d
         set uri = p_uri, headers = p_headers, metadata = p_metadata,
             protocol_type = p_protocol_type, http_version = p_http_version,
             use_http_11 = p_use_http_11, min_protocol_version = p_min_version,
             max_protocol_version = p_max_version, sdk_version = p_sdk_version,
             modified_at = clock_timestamp()
       where d.name = p_deployment and d.kind = 'remote' and d.removed_at is null
      returning d.no into v_no;
      if v_no is null then
        raise sqlstate 'WD021' using message = format('there is no deployment %s', p_deployment);
      end if;
      -- What it does not have any more.
      perform howdah_core.withdraw(v_no, s.service)
         from howdah_core.deployment_service s
         join howdah_core.service v on v.no = s.service
        where s.deployment = v_no and s.removed_at is null
          and not exists (select from jsonb_array_elements(p_services) x
                           where x->>'name' = v.name);
    end if;
    perform howdah_core.put_services(v_no, p_services, p_breaking);
    select jsonb_object_agg(v.name, s.revision) into v_revisions
      from howdah_core.deployment_service s join howdah_core.service v on v.no = s.service
     where s.deployment = v_no and s.removed_at is null;
    if p_dry_run then
      raise sqlstate 'WD022';
    end if;
    perform pg_notify('howdah_registry', '');
  exception when sqlstate 'WD022' then
    null;
  end;
  return query
    select v_no, coalesce(p_deployment, p_id), p_deployment is null, coalesce(v_revisions, '{}');
end
$$;

-- Changes where a deployment is reached and what is sent along; what it serves stays as it is.
-- Returns whether there is such a deployment. Locks: advisory (2, 1) exclusive.
-- Called by: howdah_api/admin.
create or replace function howdah_core.change_remote(
  p_id text, p_headers jsonb, p_use_http_11 boolean) returns boolean
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_found boolean;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  update howdah_core.deployment d
     set headers = coalesce(p_headers, d.headers),
         use_http_11 = coalesce(p_use_http_11, d.use_http_11), modified_at = clock_timestamp()
   where d.name = p_id and d.kind = 'remote' and d.removed_at is null;
  v_found := found;
  perform pg_notify('howdah_registry', '');
  return v_found;
end
$$;

-- Takes a service away from a deployment. If the service was called as this one says, the version before
-- says how it is called again: of those that somebody serves, or else of all; without one the service is
-- gone. Locks: the caller's advisory (2, 1). Called by: register_remote, remove_remote.
create or replace function howdah_core.withdraw(p_deployment int, p_service int) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_next int;
begin
  update howdah_core.deployment_service s set removed_at = clock_timestamp()
   where s.deployment = p_deployment and s.service = p_service and s.removed_at is null;
  if not exists (select from howdah_core.service v
                  where v.no = p_service and v.deployment = p_deployment) then
    return;
  end if;
  select s.deployment into v_next
    from howdah_core.deployment_service s
    join howdah_core.deployment d on d.no = s.deployment
   where s.service = p_service and s.removed_at is null
   order by d.kind = 'remote' or exists (
              select from howdah_core.worker w
               where w.deployment = d.no and w.fenced_at is null) desc,
            s.revision desc
   limit 1;
  if v_next is null then
    update howdah_core.handler h set retired_at = clock_timestamp()
     where h.service = p_service and h.retired_at is null;
  else
    perform howdah_core.make_current(v_next, p_service, true);
  end if;
end
$$;

-- Takes a remote deployment out of service: its services go back to the version before, which says how
-- they are called again. What it has begun fails, to be tried again, until an operator moves it.
-- Returns whether there was such a deployment. Locks: advisory (2, 1) exclusive. Raises: WD011.
-- Called by: howdah_api/admin.
create or replace function howdah_core.remove_remote(p_id text) returns boolean
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_no int;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  update howdah_core.deployment d set removed_at = clock_timestamp()
   where d.name = p_id and d.kind = 'remote' and d.removed_at is null
  returning d.no into v_no;
  if v_no is null then
    return false;
  end if;
  perform howdah_core.withdraw(v_no, s.service)
     from howdah_core.deployment_service s
    where s.deployment = v_no and s.removed_at is null;
  perform pg_notify('howdah_registry', '');
  return true;
end
$$;

-- Every remote deployment that may have invocations: removed ones are there for as long as something of them
-- is. services: jsonb array of [service number, manifest]. Called by: remote/deployments.py.
create or replace function howdah_core.load_remote_deployments()
returns table (no int, name text, uri text, headers jsonb, protocol_type text, http_version text,
               use_http_11 boolean, min_protocol_version int, max_protocol_version int,
               modified_at timestamptz, is_removed boolean, services jsonb)
language sql stable
as $$
  select d.no, d.name, d.uri, d.headers, d.protocol_type, d.http_version, d.use_http_11,
         d.min_protocol_version, d.max_protocol_version, d.modified_at, d.removed_at is not null,
         (select coalesce(jsonb_agg(jsonb_build_array(s.service, s.manifest) order by s.service), '[]')
            from howdah_core.deployment_service s where s.deployment = d.no)
    from howdah_core.deployment d
   where d.kind = 'remote'
     and (d.removed_at is null
          or exists (select from howdah_core.deployment_service s
                       join howdah_core.live l on l.q in (s.q, -s.q) where s.deployment = d.no))
   order by d.no
$$;
