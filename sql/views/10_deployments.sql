-- Every version of the code that a worker ever served, and every remote deployment.
create view howdah.deployments as
select
  d.name,
  d.kind,
  d.created_at,
  (select coalesce(array_agg(v.name order by v.name), '{}')
     from howdah_core.deployment_service s join howdah_core.service v on v.no = s.service
    where s.deployment = d.no and s.removed_at is null) as services,
  (select coalesce(array_agg(v.name order by v.name), '{}')
     from howdah_core.deployment_service s join howdah_core.service v on v.no = s.service
    where s.deployment = d.no and s.removed_at is null
      and not exists (
        select from howdah_core.deployment_service n
          join howdah_core.deployment o on o.no = n.deployment
         where n.service = s.service and n.revision > s.revision and n.removed_at is null
           and (o.kind = 'remote'
                or exists (select from howdah_core.worker w
                            where w.deployment = o.no and w.fenced_at is null)))) as latest_of,
  (select count(*)
     from howdah_core.worker w
    where w.deployment = d.no and w.stopped_at is null and w.fenced_at is null) as workers,
  (select count(*) from howdah_core.live l where l.deployment = d.no) as in_flight,
  d.uri,
  d.sdk_version,
  d.modified_at,
  d.removed_at
from howdah_core.deployment d;

comment on view howdah.deployments is
  'Versions of the code: one row for each that a worker ever served, and for each remote deployment.';
comment on column howdah.deployments.name is
  'The name given at the start, or a digest of the handlers'' code; of a remote one its id.';
comment on column howdah.deployments.kind is
  'local: executed inside howdah''s own workers. remote: at an endpoint, driven over HTTP by any worker.';
comment on column howdah.deployments.created_at is 'When it was first served, or registered.';
comment on column howdah.deployments.services is 'The services that it has.';
comment on column howdah.deployments.latest_of is
  'Those of them whose new invocations it executes: no later version that has them is being served.';
comment on column howdah.deployments.workers is
  'How many workers serve it now; 0 for a remote one, which all of them drive.';
comment on column howdah.deployments.in_flight is
  'Invocations that it has begun and that are not completed: they stay with it.';
comment on column howdah.deployments.uri is 'Of a remote one: where it is.';
comment on column howdah.deployments.sdk_version is
  'Of a remote one: what it says that its services are written with.';
comment on column howdah.deployments.modified_at is
  'Of a remote one: when it was registered again or changed; null: never.';
comment on column howdah.deployments.removed_at is
  'Of a remote one: when it was removed. What it has begun fails until it is moved to another.';
