-- The services that this database knows, as their latest deployment describes them.
create view howdah.services as
select
  v.name,
  v.kind,
  v.description,
  (select d.name from howdah_core.deployment d where d.no = v.deployment) as deployment,
  v.revision,
  (select count(*)
     from howdah_core.handler h where h.service = v.no and h.retired_at is null and h.name not like '~%') as handlers,
  v.created_at,
  v.modified_at,
  v.no as service_no,
  v.metadata
from howdah_core.service v;

comment on view howdah.services is
  'Services, objects and workflows: one row for each name ever registered.';
comment on column howdah.services.name is 'The name, as in paths and targets.';
comment on column howdah.services.kind is
  'service (no key), object (one exclusive handler at a time per key) or workflow.';
comment on column howdah.services.description is 'What its author wrote.';
comment on column howdah.services.deployment is
  'The deployment whose description is current: the last one that registered the service.';
comment on column howdah.services.revision is
  'Counts the deployments that brought the service: 1 for the first.';
comment on column howdah.services.handlers is 'How many handlers it has now.';
comment on column howdah.services.created_at is 'When the name was first registered.';
comment on column howdah.services.modified_at is 'When a deployment last changed it.';
comment on column howdah.services.service_no is
  'Its number in this database: howdah.invocations.service_no.';
comment on column howdah.services.metadata is 'What its author attached, by name.';
