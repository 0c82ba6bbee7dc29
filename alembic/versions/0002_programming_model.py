"""Promises, orders of operators, versions, restarted invocations, journals kept shorter than results.

Only additions: columns that are null or have a constant default, and new tables, so that nothing is
rewritten and the release before goes on working beside this one.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
-- restarted_from: the invocation that this one repeats. copied: journal entries 1 to n that it took
-- over from there; their effects happened there. seed: whose random numbers it draws.
alter table howdah_core.invocation
  add column restarted_from uuid,
  add column copied int not null default 0,
  add column seed uuid,
  drop constraint invocation_invoked_by_check,
  add constraint invocation_invoked_by_check
    check (invoked_by in ('ingress', 'service', 'sql', 'restart'));

-- wait_note: what a suspended invocation waits for that its wait_ids do not say: signals by name.
alter table howdah_core.live add column wait_note text;

-- Null: the journal goes with the outcome.
alter table howdah_core.outcome add column journal_expires_at timestamptz;
create index outcome_journal_expires_at_idx on howdah_core.outcome (journal_expires_at)
  where journal_expires_at is not null;

-- kind: what the waiter's journal will call it (105 a call's completion, 118 an attachment's).
alter table howdah_core.sink add column kind smallint not null default 105;

alter table howdah_core.handler
  add column workflow_retention interval,
  add column metadata jsonb;
alter table howdah_core.service add column metadata jsonb;

-- One row from the first touch on; completed once.
create table howdah_core.promise (
  service int not null,
  key text not null,
  name text not null,
  value bytea,
  detail jsonb,
  completed_at timestamptz,
  constraint promise_pkey primary key (service, key, name)
);
create table howdah_core.promise_waiter (
  service int not null,
  key text not null,
  name text not null,
  waiter_id uuid not null,
  cid int not null,
  constraint promise_waiter_pkey primary key (service, key, name, waiter_id, cid)
);
create index promise_waiter_waiter_id_idx on howdah_core.promise_waiter (waiter_id);

-- What an operator ordered inside a transaction of their own: a worker carries it out in one of its
-- own, because it takes locks that nobody may hold for long.
create table howdah_core.nudge (
  seq bigint generated always as identity,
  id uuid not null,
  verb text not null,
  deployment text,
  at timestamptz not null default clock_timestamp(),
  constraint nudge_pkey primary key (seq),
  constraint nudge_verb_check check (verb in ('cancel', 'kill', 'pause', 'resume'))
);

-- Which services a deployment has. q: the queue of invocations that this version has begun; those
-- that nobody has begun yet are in the queue of the service's own number.
create table howdah_core.deployment_service (
  deployment int not null,
  service int not null,
  q int generated always as identity (start with 1000000),
  constraint deployment_service_pkey primary key (deployment, service),
  constraint deployment_service_q_key unique (q),
  constraint deployment_service_deployment_fkey
    foreign key (deployment) references howdah_core.deployment (no),
  constraint deployment_service_service_fkey
    foreign key (service) references howdah_core.service (no)
);
"""

DOWNGRADE = """
drop table howdah_core.deployment_service, howdah_core.nudge, howdah_core.promise_waiter,
  howdah_core.promise cascade;
update howdah_core.live set q = i.service
  from howdah_core.invocation i where i.id = live.id and live.q >= 1000000;
alter table howdah_core.service drop column metadata cascade;
alter table howdah_core.handler drop column metadata cascade, drop column workflow_retention cascade;
alter table howdah_core.sink drop column kind cascade;
alter table howdah_core.outcome drop column journal_expires_at cascade;
alter table howdah_core.live drop column wait_note cascade;
update howdah_core.invocation set invoked_by = 'sql' where invoked_by = 'restart';
alter table howdah_core.invocation
  drop column restarted_from cascade,
  drop column copied cascade,
  drop column seed cascade,
  drop constraint invocation_invoked_by_check,
  add constraint invocation_invoked_by_check check (invoked_by in ('ingress', 'service', 'sql'));
"""


def upgrade() -> None:
    """Add the tables and columns."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away again; promises, orders and the versions of running invocations are lost."""
    op.execute(DOWNGRADE)
