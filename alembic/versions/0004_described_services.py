"""What each deployment says of its services, kept; and what operators changed of them."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
-- described: what the deployment registered of the service, to be made current again when the versions
-- after it are gone; null for those that registered before there was this column. revision: which of the
-- service's versions it is, counted over all deployments; the greatest that is served is current.
alter table howdah_core.deployment_service add column described jsonb;
update howdah_core.deployment_service s set revision = r.n
  from (select d.deployment, d.service,
               row_number() over (partition by d.service order by d.deployment) as n
          from howdah_core.deployment_service d) r
 where r.deployment = s.deployment and r.service = s.service;

-- overrides: what operators set, before what any version says: {is_public, idempotency_retention_seconds,
-- workflow_retention_seconds, journal_retention_seconds, inactivity_timeout_seconds,
-- abort_timeout_seconds}.
alter table howdah_core.service add column overrides jsonb;

-- Whether an empty output has its content type, too.
alter table howdah_core.handler add column labels_empty_output boolean not null default false;
"""

DOWNGRADE = """
alter table howdah_core.handler drop column labels_empty_output cascade;
alter table howdah_core.service drop column overrides cascade;
alter table howdah_core.deployment_service drop column described cascade;
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away; what operators changed of handlers stays until they are registered again."""
    op.execute(DOWNGRADE)
