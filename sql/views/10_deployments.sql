-- Every version of the code that a worker ever served.
create view howdah.deployments as
select
  d.name,
  d.kind,
  d.created_at,
  (select coalesce(array_agg(v.name order by v.name), '{}')
     from howdah_core.service v where v.deployment = d.no) as services,
  (select count(*)
     from howdah_core.worker w
    where w.deployment = d.no and w.stopped_at is null and w.fenced_at is null) as workers
from howdah_core.deployment d;

comment on view howdah.deployments is
  'Versions of the code: one row for each that a worker ever served.';
comment on column howdah.deployments.name is
  'The name given at the start, or a digest of the handlers'' code.';
comment on column howdah.deployments.kind is
  'local: executed inside howdah''s own workers.';
comment on column howdah.deployments.created_at is 'When it was first served.';
comment on column howdah.deployments.services is
  'The services whose current version it is; empty once others have replaced it everywhere.';
comment on column howdah.deployments.workers is 'How many workers serve it now.';
