"""The core tables: invocations, journals, mailboxes, keys, state, workers, deployments.

An invocation's facts are inserted once and never change. What changes often (readiness,
leases, key locks) sits in narrow tables of its own, so that an update touches few bytes and
few indexes. An invocation is in exactly one of `live`, `inbox` and `outcome`.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UPGRADE = """
create schema if not exists howdah_core;
create schema if not exists howdah;

create table howdah_core.deployment (
  no int generated always as identity,
  name text not null,
  kind text not null default 'local',
  created_at timestamptz not null default clock_timestamp(),
  constraint deployment_pkey primary key (no),
  constraint deployment_name_key unique (name),
  constraint deployment_kind_check check (kind in ('local'))
);

create table howdah_core.service (
  no int generated always as identity,
  name text not null,
  kind text not null,
  description text,
  deployment int not null,
  revision int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  constraint service_pkey primary key (no),
  constraint service_name_key unique (name),
  constraint service_kind_check check (kind in ('service', 'object', 'workflow')),
  constraint service_deployment_fkey foreign key (deployment) references howdah_core.deployment (no)
);

-- What the latest deployment says of a handler. Rows stay when a handler is removed (retired_at),
-- because invocations refer to their number for ever.
create table howdah_core.handler (
  no int generated always as identity,
  service int not null,
  name text not null,
  kind text not null,
  description text,
  input_content_type text,
  input_required boolean not null default false,
  input_schema jsonb,
  output_content_type text,
  output_schema jsonb,
  is_public boolean not null default true,
  idempotency_retention interval not null default interval '1 day',
  journal_retention interval not null default interval '1 day',
  retired_at timestamptz,
  constraint handler_pkey primary key (no),
  constraint handler_service_name_key unique (service, name),
  constraint handler_kind_check check (kind in ('stateless', 'exclusive', 'shared', 'workflow')),
  constraint handler_service_fkey foreign key (service) references howdah_core.service (no)
);

create table howdah_core.worker (
  no int generated always as identity,
  id uuid not null,
  gen int not null default 1,
  beat bigint not null default 0,
  beat_at timestamptz not null default clock_timestamp(),
  backend_pid int,
  backend_start timestamptz,
  started_at timestamptz not null default clock_timestamp(),
  stopped_at timestamptz,
  fenced_at timestamptz,
  host text not null,
  pid int not null,
  roles text[] not null,
  slots int not null,
  deployment int,
  version text not null,
  constraint worker_pkey primary key (no),
  constraint worker_id_key unique (id)
) with (fillfactor = 20);

create table howdah_core.invocation (
  id uuid not null,
  service int not null,
  handler int not null,
  key text,
  is_exclusive boolean not null,
  created_at timestamptz not null,
  scheduled_at timestamptz,
  invoked_by text not null,
  parent_id uuid,
  parent_cid int,
  origin int,
  idempotency_key text,
  headers jsonb,
  input bytea,
  constraint invocation_pkey primary key (id),
  constraint invocation_invoked_by_check check (invoked_by in ('ingress', 'service', 'sql'))
);
create index invocation_service_key_id_idx on howdah_core.invocation (service, key, id)
  where key is not null;
create index invocation_handler_id_idx on howdah_core.invocation (handler, id);
create index invocation_parent_id_idx on howdah_core.invocation (parent_id)
  where parent_id is not null;

create table howdah_core.live (
  id uuid not null,
  status text not null,
  q int not null,
  created_at timestamptz not null,
  started_at timestamptz,
  modified_at timestamptz not null,
  run_at timestamptz,
  worker int,
  epoch int not null default 0,
  attempts int not null default 0,
  attempts_total int not null default 0,
  deployment int,
  wait_ids int[],
  wait_all boolean not null default false,
  constraint live_pkey primary key (id),
  constraint live_status_check check (status in
    ('scheduled', 'ready', 'running', 'suspended', 'backing_off', 'paused')),
  constraint live_worker_check check ((worker is null) = (status <> 'running')),
  constraint live_run_at_check check (case status
    when 'running' then run_at is null
    when 'paused' then run_at is null
    when 'suspended' then true
    else run_at is not null end)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index live_q_run_at_idx on howdah_core.live (q, run_at) where run_at is not null;
create index live_worker_idx on howdah_core.live (worker) where worker is not null;
create index live_status_created_at_idx on howdah_core.live (status, created_at);
create index live_created_at_idx on howdah_core.live (created_at);

create table howdah_core.outcome (
  id uuid not null,
  outcome text not null,
  created_at timestamptz not null,
  started_at timestamptz,
  completed_at timestamptz not null,
  expires_at timestamptz not null,
  attempts_total int not null,
  deployment int,
  worker int,
  code int,
  message text,
  metadata jsonb,
  value bytea,
  constraint outcome_pkey primary key (id),
  constraint outcome_outcome_check check (outcome in ('succeeded', 'failed', 'killed')),
  constraint outcome_code_check check ((code is null) = (outcome = 'succeeded'))
);
create index outcome_outcome_created_at_idx on howdah_core.outcome (outcome, created_at);
create index outcome_created_at_idx on howdah_core.outcome (created_at);
create index outcome_expires_at_idx on howdah_core.outcome (expires_at);

-- One row for each attempt that failed; successful and suspended attempts leave none.
create table howdah_core.failure (
  id uuid not null,
  n int not null,
  worker int,
  failed_at timestamptz not null,
  code int not null,
  error_code text,
  message text not null,
  stacktrace text,
  entry_index int,
  entry_name text,
  constraint failure_pkey primary key (id, n)
);

create table howdah_core.journal (
  id uuid not null,
  idx int not null,
  kind smallint not null,
  cid int,
  name text,
  value bytea,
  ref uuid,
  detail jsonb,
  at timestamptz not null,
  constraint journal_pkey primary key (id, idx)
);

create table howdah_core.mailbox (
  id uuid not null,
  seq bigint generated always as identity,
  kind smallint not null,
  cid int,
  name text,
  value bytea,
  ref uuid,
  detail jsonb,
  at timestamptz not null,
  constraint mailbox_pkey primary key (id, seq)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create table howdah_core.keylock (
  service int not null,
  key text not null,
  holder uuid,
  tail bigint not null default 0,
  constraint keylock_pkey primary key (service, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create table howdah_core.inbox (
  service int not null,
  key text not null,
  seq bigint not null,
  id uuid not null,
  q int not null,
  created_at timestamptz not null,
  constraint inbox_pkey primary key (service, key, seq),
  constraint inbox_id_key unique (id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index inbox_created_at_idx on howdah_core.inbox (created_at);

create table howdah_core.state (
  service int not null,
  key text not null,
  name text not null,
  value bytea not null,
  constraint state_pkey primary key (service, key, name)
) with (fillfactor = 70);

-- key is '' for a service without keys: part of the identity, never null.
create table howdah_core.idem (
  handler int not null,
  key text not null,
  idempotency_key text not null,
  id uuid not null,
  constraint idem_pkey primary key (handler, key, idempotency_key)
);
create index idem_id_idx on howdah_core.idem (id);

-- Who else wants this invocation's outcome: an invocation (waiter_id, cid) or a process that
-- holds HTTP clients (worker).
create table howdah_core.sink (
  target_id uuid not null,
  seq bigint generated always as identity,
  waiter_id uuid,
  cid int,
  worker int,
  constraint sink_pkey primary key (target_id, seq),
  constraint sink_waiter_check check ((waiter_id is null) <> (worker is null)
    and (waiter_id is null) = (cid is null))
);
"""

# The version table stays: alembic writes to it after this.
DOWNGRADE = """
drop schema if exists howdah cascade;
do $$
declare r record;
begin
  for r in select p.oid::regprocedure as name from pg_proc p
            join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'howdah_core' loop
    execute format('drop function if exists %s cascade', r.name);
  end loop;
  for r in select c.oid::regclass as name from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'howdah_core' and c.relkind = 'r'
              and c.relname <> 'alembic_version' loop
    execute format('drop table if exists %s cascade', r.name);
  end loop;
end $$;
"""


def upgrade() -> None:
    """Create the tables, their constraints and indexes."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove both schemas with all that they hold."""
    op.execute(DOWNGRADE)
