create view howdah.deployments as
select d.name, d.kind, d.created_at,
       (select coalesce(array_agg(v.name order by v.name), '{}') from howdah_core.service v
         where v.deployment = d.no) as services,
       (select count(*) from howdah_core.worker w
         where w.deployment = d.no and w.fenced_at is null) as workers
  from howdah_core.deployment d;

comment on view howdah.deployments is 'Versions of the code that were ever served.';
comment on column howdah.deployments.name is 'The name given, or a digest of the handlers'' code.';
comment on column howdah.deployments.kind is 'local: executed by howdah''s own workers.';
comment on column howdah.deployments.created_at is 'When it was first served.';
comment on column howdah.deployments.services is 'The services for which it is current.';
comment on column howdah.deployments.workers is 'How many workers serve it now.';
