"""What an invocation waits for as a tree of futures, when it is neither any nor all of its ids."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
-- wait_tree: which of wait_ids suffice, in the numbers of is_resolved; null: any, or all if wait_all is
-- set. Like wait_all it means something only where wait_ids is not null.
alter table howdah_core.live add column wait_tree int[];
"""

DOWNGRADE = """
alter table howdah_core.live drop column wait_tree cascade;
"""


def upgrade() -> None:
    """Add the column."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop it: suspended invocations wait for any of their ids."""
    op.execute(DOWNGRADE)
