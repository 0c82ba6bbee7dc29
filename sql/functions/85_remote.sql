-- Remote deployments: services that run elsewhere, which any worker drives over HTTP.

-- Registers a deployment, or registers one again. The caller has asked the endpoint for its manifest.
-- p_id: the id that people will use, dp_…, for a new one. p_deployment: an existing deployment (its id)
-- to overwrite; null: a new one. p_services: as register_deployment has it, each with `manifest`.
-- p_dry_run: everything is checked, and nothing kept.
-- Returns the deployment's row number and id, and whether it is new.
-- Locks: advisory (2, 1) exclusive. Raises: WD010, WD011, WD014, and WD020 when the address belongs to
-- another deployment. Called by: howdah_api/admin.
create or replace function howdah_core.register_remote(
  p_id text, p_deployment text, p_uri text, p_headers jsonb, p_metadata jsonb,
  p_protocol_type text, p_http_version text, p_use_http_11 boolean, p_min_version int,
  p_max_version int, p_sdk_version text, p_services jsonb, p_breaking boolean)
returns table (no int, id text, is_new boolean)
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  v_no int;
begin
  perform howdah_core.assert_read_committed();
  perform pg_advisory_xact_lock(2, 1);
  if p_deployment is null then
    insert into howdah_core.deployment (name, kind, uri, headers, metadata, protocol_type,
      http_version, use_http_11, min_protocol_version, max_protocol_version, sdk_version)
    values (p_id, 'remote', p_uri, p_headers, p_metadata, p_protocol_type, p_http_version,
            p_use_http_11, p_min_version, p_max_version, p_sdk_version)
    returning deployment.no into v_no;
  else
    update howdah_core.deployment d
       set uri = p_uri, headers = p_headers, metadata = p_metadata, protocol_type = p_protocol_type,
           http_version = p_http_version, use_http_11 = p_use_http_11,
           min_protocol_version = p_min_version, max_protocol_version = p_max_version,
           sdk_version = p_sdk_version, modified_at = clock_timestamp(), removed_at = null
     where d.name = p_deployment and d.kind = 'remote'
    returning d.no into v_no;
    -- What it does not have any more.
    update howdah_core.deployment_service s set removed_at = clock_timestamp()
     where s.deployment = v_no and s.removed_at is null
       and not exists (select from jsonb_array_elements(p_services) x
                         join howdah_core.service v on v.name = x->>'name'
                        where v.no = s.service);
  end if;
  perform howdah_core.put_services(v_no, p_services, p_breaking);
  perform pg_notify('howdah_registry', '');
  return query select v_no, coalesce(p_deployment, p_id), p_deployment is null;
end
$$;

-- Takes a remote deployment out of service: its services go back to the version before, which says how
-- they are called again. What it has begun waits for an operator to move it.
-- Returns whether there was such a deployment. Locks: advisory (2, 1) exclusive.
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
  update howdah_core.deployment_service s set removed_at = clock_timestamp()
   where s.deployment = v_no and s.removed_at is null;
  perform pg_notify('howdah_registry', '');
  return true;
end
$$;

-- Every remote deployment that may still have invocations, as those that drive it need it. services:
-- jsonb array of [service number, manifest]. Called by: remote/deployments.py.
create or replace function howdah_core.load_remote_deployments()
returns table (no int, name text, uri text, headers jsonb, protocol_type text, use_http_11 boolean,
               max_protocol_version int, modified_at timestamptz, services jsonb)
language sql stable
as $$
  select d.no, d.name, d.uri, d.headers, d.protocol_type, d.use_http_11, d.max_protocol_version,
         d.modified_at,
         (select coalesce(jsonb_agg(jsonb_build_array(s.service, s.manifest) order by s.service), '[]')
            from howdah_core.deployment_service s where s.deployment = d.no)
    from howdah_core.deployment d
   where d.kind = 'remote' and d.removed_at is null
   order by d.no
$$;
