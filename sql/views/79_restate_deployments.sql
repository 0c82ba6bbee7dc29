-- Versions of the code: those of workers, and those that are reached over HTTP.
create view restate.sys_deployment as
select
  howdah_core.restate_deployment_id(s.name) as id,
  'http'::text as ty,
  coalesce(s.uri, 'howdah://workers/' || s.name) as endpoint,
  s.created_at as created_at,
  coalesce(s.min_protocol_version, 7) as min_service_protocol_version,
  coalesce(s.max_protocol_version, 7) as max_service_protocol_version,
  array(
    select v.name from howdah_core.deployment_service n join howdah_core.service v on v.no = n.service
     where n.deployment = s.no and n.removed_at is null order by v.name) as services
from howdah_core.deployment s
where s.removed_at is null;

comment on view restate.sys_deployment is
  'Deployments: one row each.';
comment on column restate.sys_deployment.id is
  'Its id, dp_1…: of a version that workers serve it is made of its name.';
comment on column restate.sys_deployment.ty is 'Always http.';
comment on column restate.sys_deployment.endpoint is
  'Where it is reached; howdah://workers/name for one that workers execute themselves.';
comment on column restate.sys_deployment.created_at is 'When it was registered.';
comment on column restate.sys_deployment.min_service_protocol_version is
  'The oldest version of the protocol that it speaks.';
comment on column restate.sys_deployment.max_service_protocol_version is
  'The newest version of the protocol that it speaks.';
comment on column restate.sys_deployment.services is 'The services that it has.';
