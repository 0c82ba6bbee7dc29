create view howdah.services as
select v.name, v.kind, v.description, d.name as deployment, v.revision,
       (select count(*) from howdah_core.handler h where h.service = v.no and h.retired_at is null)
         as handlers,
       v.created_at, v.modified_at
  from howdah_core.service v join howdah_core.deployment d on d.no = v.deployment;

comment on view howdah.services is 'The services that this database knows.';
comment on column howdah.services.name is 'The name, as in paths.';
comment on column howdah.services.kind is 'service, object or workflow.';
comment on column howdah.services.description is 'What its author wrote.';
comment on column howdah.services.deployment is 'The version that is current.';
comment on column howdah.services.revision is 'How many deployments brought it.';
comment on column howdah.services.handlers is 'How many handlers it has.';
comment on column howdah.services.created_at is 'When it was first registered.';
comment on column howdah.services.modified_at is 'When it last changed.';
