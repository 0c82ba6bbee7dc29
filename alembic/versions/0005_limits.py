"""Scopes, limit keys, and the rules of how many invocations of one may run at once.

Only additions; the check constraint is not validated against what is there, which has no scopes.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
-- scope: part of the identity of what is idempotent. With limit_key it says where it is counted.
alter table howdah_core.invocation add column scope text, add column limit_key text;

-- limit_path: 'scope', 'scope/a' or 'scope/a/b'. What has one is in the negative of its queue's
-- number, from which only claim_limited takes. held: it is due, and has not begun yet.
alter table howdah_core.live
  add column limit_path text collate "C",
  drop constraint live_status_check,
  add constraint live_status_check check (status in
    ('scheduled', 'held', 'ready', 'running', 'suspended', 'backing_off', 'paused')) not valid,
  add constraint live_limit_path_check check ((limit_path is not null) = (q < 0)) not valid;
create index live_limited_idx on howdah_core.live (q, limit_path, run_at)
  where q < 0 and run_at is not null;
create index live_limited_running_idx on howdah_core.live (limit_path)
  where q < 0 and worker is not null;

-- pattern: one to three components, each a name or '*'. concurrency null: no limit, where a less
-- specific rule has one. version: of all rules together, after the last change of this one. The rule
-- in force at a place is, of those with level and likeness of it, the one of the least rank: an
-- earlier component counts more.
create sequence howdah_core.limit_rule_version as int;
create table howdah_core.limit_rule (
  pattern text not null,
  concurrency int,
  description text,
  is_disabled boolean not null default false,
  version int not null,
  modified_at timestamptz not null,
  level int not null generated always as
    (1 + length(pattern) - length(replace(pattern, '/', ''))) stored,
  likeness text not null generated always as
    (replace(replace(pattern, '_', '\\_'), '*', '%')) stored,
  rank int not null generated always as
    ((split_part(pattern, '/', 1) = '*')::int * 4 + (split_part(pattern, '/', 2) = '*')::int * 2
     + (split_part(pattern, '/', 3) = '*')::int) stored,
  constraint limit_rule_pkey primary key (pattern),
  constraint limit_rule_concurrency_check check (concurrency >= 0)
);
"""

DOWNGRADE = """
drop table howdah_core.limit_rule cascade;
drop sequence howdah_core.limit_rule_version;
drop index howdah_core.live_limited_idx, howdah_core.live_limited_running_idx;
alter table howdah_core.live drop constraint live_limit_path_check;
update howdah_core.live set q = -q, status = case status when 'held' then 'ready' else status end
 where q < 0;
alter table howdah_core.live
  drop constraint live_status_check,
  add constraint live_status_check check (status in
    ('scheduled', 'ready', 'running', 'suspended', 'backing_off', 'paused'));
alter table howdah_core.live drop column limit_path cascade;
alter table howdah_core.invocation drop column limit_key cascade, drop column scope cascade;
"""


def upgrade() -> None:
    """Add the columns, indexes and the table of rules."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away; invocations with a scope go on without it, and without a limit."""
    op.execute(DOWNGRADE)
