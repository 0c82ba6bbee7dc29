-- Every version of the code that a worker ever served.
create view howdah.deployments as
select
  d.name,
  d.kind,
  d.created_at,
  (select coalesce(array_agg(v.name order by v.name), '{}')
     from howdah_core.deployment_service s join howdah_core.service v on v.no = s.service
    where s.deployment = d.no) as services,
  (select coalesce(array_agg(v.name order by v.name), '{}')
     from howdah_core.deployment_service s join howdah_core.service v on v.no = s.service
    where s.deployment = d.no
      and not exists (
        select from howdah_core.deployment_service n
          join howdah_core.worker w on w.deployment = n.deployment and w.fenced_at is null
         where n.service = s.service and n.deployment > d.no)) as latest_of,
  (select count(*)
     from howdah_core.worker w
    where w.deployment = d.no and w.stopped_at is null and w.fenced_at is null) as workers,
  (select count(*) from howdah_core.live l where l.deployment = d.no) as in_flight
from howdah_core.deployment d;

comment on view howdah.deployments is
  'Versions of the code: one row for each that a worker ever served.';
comment on column howdah.deployments.name is
  'The name given at the start, or a digest of the handlers'' code.';
comment on column howdah.deployments.kind is
  'local: executed inside howdah''s own workers.';
comment on column howdah.deployments.created_at is 'When it was first served.';
comment on column howdah.deployments.services is 'The services that it has.';
comment on column howdah.deployments.latest_of is
  'Those of them whose new invocations it executes: no later version that has them is being served.';
comment on column howdah.deployments.workers is 'How many workers serve it now.';
comment on column howdah.deployments.in_flight is
  'Invocations that it has begun and that are not completed: they stay with it.';
