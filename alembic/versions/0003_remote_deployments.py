"""Remote deployments: services that run elsewhere and are driven over HTTP."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
-- name: for remote ones the id that people use, dp_…. protocol_type: BIDI_STREAM, REQUEST_RESPONSE.
alter table howdah_core.deployment
  drop constraint deployment_kind_check,
  add constraint deployment_kind_check check (kind in ('local', 'remote')),
  add column uri text,
  add column headers jsonb,
  add column metadata jsonb,
  add column protocol_type text,
  add column http_version text,
  add column use_http_11 boolean not null default false,
  add column min_protocol_version int,
  add column max_protocol_version int,
  add column sdk_version text,
  add column modified_at timestamptz,
  add column removed_at timestamptz,
  add constraint deployment_uri_check check ((kind = 'remote') = (uri is not null));

-- manifest: what a remote deployment said of the service, as it came: options of its handlers.
alter table howdah_core.deployment_service
  add column manifest jsonb,
  add column revision int not null default 1,
  add column removed_at timestamptz;
"""

DOWNGRADE = """
delete from howdah_core.deployment_service s
 using howdah_core.deployment d where d.no = s.deployment and d.kind = 'remote'
   and not exists (select from howdah_core.service v where v.deployment = d.no);
alter table howdah_core.deployment_service
  drop column manifest cascade, drop column revision cascade, drop column removed_at cascade;
update howdah_core.deployment set kind = 'local';
alter table howdah_core.deployment
  drop column uri cascade, drop column headers cascade, drop column metadata cascade,
  drop column protocol_type cascade, drop column http_version cascade,
  drop column use_http_11 cascade, drop column min_protocol_version cascade,
  drop column max_protocol_version cascade, drop column sdk_version cascade,
  drop column modified_at cascade, drop column removed_at cascade,
  drop constraint deployment_kind_check,
  add constraint deployment_kind_check check (kind in ('local'));
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away; remote deployments become names of versions that nobody serves."""
    op.execute(DOWNGRADE)
