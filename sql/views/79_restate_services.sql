-- Services, as their latest deployments describe them.
create view restate.sys_service as
select
  s.name as name,
  s.revision::bigint as revision,
  exists (select from howdah_core.handler h
           where h.service = s.no and h.retired_at is null and h.is_public
             and h.name not like '~%') as public,
  case s.kind when 'object' then 'virtual_object' else s.kind end as ty,
  howdah_core.restate_deployment_id(d.name) as deployment_id
from howdah_core.service s
join howdah_core.deployment d on d.no = s.deployment
where exists (select from howdah_core.handler h
               where h.service = s.no and h.retired_at is null and h.name not like '~%');

comment on view restate.sys_service is
  'Services: one row each.';
comment on column restate.sys_service.name is 'The name.';
comment on column restate.sys_service.revision is
  'Counts the deployments that brought the service: 1 for the first.';
comment on column restate.sys_service.public is 'Whether it can be called over HTTP.';
comment on column restate.sys_service.ty is 'service, virtual_object or workflow.';
comment on column restate.sys_service.deployment_id is
  'The deployment whose description is current.';
