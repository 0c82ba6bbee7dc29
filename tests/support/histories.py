"""Histories written as rows, without an engine: what views and checks are shown and measured on.

`write_history` leaves one invocation of every status behind, consistent to the last row. `fill`
makes a large one of few patterns, for plans.
"""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

Database: TypeAlias = "asyncpg.Connection[Any]"


def _id(n: int) -> UUID:
    return UUID(f"01970000-0000-7000-8000-{n:012d}")


# CartObject/joe/addTicket, completed, called TicketObject/seat2B/reserve, completed, which sent
# TicketObject/seat2B/unreserve, scheduled.
JOE, SEAT_2B, UNRESERVE = _id(1), _id(2), _id(3)
# CartObject/ann/addTicket, suspended, calls TicketObject/seat3A/reserve, backing off; another one
# waits for the key ann.
ANN, SEAT_3A, ANN_NEXT = _id(4), _id(5), _id(6)
# Mailer/send: running, sleeping, paused, ready, failed.
RUNNING, SLEEPING, PAUSED, READY, FAILED = _id(7), _id(8), _id(9), _id(10), _id(11)
# Mailer/send, suspended: waits for three calls, the first of which is answered in its mailbox.
GATHERS, GATHERED = _id(12), (_id(13), _id(14), _id(15))
# CartObject/sue: two exclusive invocations after each other.
SUE_1, SUE_2 = _id(16), _id(17)
# Mailer/send, suspended: called CartObject/ann/addTicket with the idempotency key of ANN.
ATTACHED, NEVER_MADE = _id(18), _id(19)
# Mailer/send, suspended: waits for a sleep or a call, whichever is first.
RACES, RACED = _id(20), _id(21)

_SERVICES = """[
  {"name": "CartObject", "kind": "object", "description": "Carts.", "handlers": [
    {"name": "addTicket", "kind": "exclusive", "description": "Add a ticket.",
     "input_content_type": "application/json", "input_required": true,
     "output_content_type": "application/json", "is_public": true,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400},
    {"name": "get", "kind": "shared", "input_required": false, "is_public": true,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400}]},
  {"name": "TicketObject", "kind": "object", "handlers": [
    {"name": "reserve", "kind": "exclusive", "input_required": false, "is_public": true,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400},
    {"name": "unreserve", "kind": "exclusive", "input_required": false, "is_public": false,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400}]},
  {"name": "Mailer", "kind": "service", "handlers": [
    {"name": "send", "kind": "stateless", "input_content_type": "application/json",
     "input_required": true, "is_public": true,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400}]}
]"""

# history.at(s) is a moment s seconds into the history, history.id(n) the id of invocation n.
_HISTORY = """
create schema history;
create table history.moment as select clock_timestamp() - interval '1 hour' as t;
create function history.at(p_seconds float8) returns timestamptz language sql
  as $$ select m.t + make_interval(secs => p_seconds) from history.moment m $$;
create function history.id(n int) returns uuid language sql immutable
  as $$ select ('01970000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
create function history.invocation(
  n int, p_service text, p_key text, p_handler text, p_seconds float8, p_input text,
  p_parent int default null, p_cid int default null, p_idem text default null,
  p_delay float8 default null)
returns void language sql as $$
  insert into howdah_core.invocation (id, service, handler, key, is_exclusive, created_at,
    scheduled_at, invoked_by, parent_id, parent_cid, idempotency_key, headers, input)
  select history.id(n), v.no, h.no, p_key, h.kind = 'exclusive', history.at(p_seconds),
         history.at(p_seconds + p_delay), case when p_parent is null then 'ingress' else 'service' end,
         history.id(p_parent), p_cid, p_idem,
         case when p_parent is null then '[["x-trace", "7"]]'::jsonb end, convert_to(p_input, 'UTF8')
    from howdah_core.service v join howdah_core.handler h on h.service = v.no
   where v.name = p_service and h.name = p_handler;
  insert into howdah_core.idem (handler, key, idempotency_key, id)
  select i.handler, coalesce(i.key, ''), i.idempotency_key, i.id
    from howdah_core.invocation i where i.id = history.id(n) and i.idempotency_key is not null;
$$;
create function history.live(
  n int, p_status text, p_seconds float8, p_worker int default null,
  p_run_at timestamptz default null, p_wait_ids int[] default null, p_all boolean default false,
  p_attempts int default 1)
returns void language sql as $$
  insert into howdah_core.live (id, status, q, created_at, started_at, modified_at, run_at, worker,
    epoch, attempts, attempts_total, deployment, wait_ids, wait_all)
  select i.id, p_status, case when p_status = 'scheduled' then 0 else i.service end, i.created_at,
         case when p_attempts > 0 then history.at(p_seconds) end, history.at(p_seconds), p_run_at,
         p_worker, p_attempts, p_attempts, p_attempts, case when p_attempts > 0 then 1 end,
         p_wait_ids, p_all
    from howdah_core.invocation i where i.id = history.id(n);
$$;
create function history.outcome(
  n int, p_start float8, p_end float8, p_outcome text, p_value text, p_code int default null,
  p_message text default null)
returns void language sql as $$
  insert into howdah_core.outcome (id, outcome, created_at, started_at, completed_at, expires_at,
    attempts_total, deployment, worker, code, message, value)
  select i.id, p_outcome, i.created_at, history.at(p_start), history.at(p_end),
         history.at(p_end) + interval '1 day', 1, 1, 1, p_code, p_message, convert_to(p_value, 'UTF8')
    from howdah_core.invocation i where i.id = history.id(n);
$$;
create function history.entry(
  n int, p_idx int, p_kind int, p_seconds float8, p_cid int default null, p_name text default null,
  p_value text default null, p_ref int default null, p_detail jsonb default null)
returns void language sql as $$
  insert into howdah_core.journal (id, idx, kind, cid, name, value, ref, detail, at)
  values (history.id(n), p_idx, p_kind, p_cid, p_name, convert_to(p_value, 'UTF8'), history.id(p_ref),
          p_detail, history.at(p_seconds));
$$;
create function history.held(p_service text, p_key text, n int, p_tail int)
returns void language sql as $$
  insert into howdah_core.keylock (service, key, holder, tail)
  select v.no, p_key, history.id(n), p_tail from howdah_core.service v where v.name = p_service;
$$;
create function history.state(p_service text, p_key text, p_name text, p_value text)
returns void language sql as $$
  insert into howdah_core.state (service, key, name, value)
  select v.no, p_key, p_name, convert_to(p_value, 'UTF8')
    from howdah_core.service v where v.name = p_service;
$$;

insert into howdah_core.worker (id, host, pid, roles, slots, deployment, version, started_at, beat,
                                beat_at, fenced_at, stopped_at)
values (gen_random_uuid(), 'node-a', 101, '{ingress,worker}', 1000, 1, '0.1.0', history.at(0), 3600,
        clock_timestamp(), null, null),
       (gen_random_uuid(), 'node-b', 102, '{worker}', 1000, 1, '0.1.0', history.at(0), 60,
        history.at(60), history.at(70), null),
       (gen_random_uuid(), 'node-b', 103, '{worker}', 1000, 1, '0.1.0', history.at(0), 60,
        history.at(60), history.at(61), history.at(61));

select history.invocation(1, 'CartObject', 'joe', 'addTicket', 1, '"seat2B"', p_idem => 'joe-1'),
       history.entry(1, 1, 7, 1.1, p_name => 'cart'),
       history.entry(1, 2, 5, 1.1, 1, 'TicketObject/seat2B/reserve', '', 2),
       history.entry(1, 3, 105, 1.5, 1, p_value => 'true'),
       history.entry(1, 4, 9, 1.6, p_name => 'cart', p_value => '["seat2B"]'),
       history.entry(1, 5, 2, 1.6, p_value => 'true'),
       history.outcome(1, 1.05, 1.6, 'succeeded', 'true'),
       history.held('CartObject', 'joe', null, 1),
       history.state('CartObject', 'joe', 'cart', '["seat2B"]');
select history.invocation(2, 'TicketObject', 'seat2B', 'reserve', 1.1, '', 1, 1),
       history.entry(2, 1, 7, 1.2, p_name => 'status'),
       history.entry(2, 2, 9, 1.2, p_name => 'status', p_value => '"reserved"'),
       history.entry(2, 3, 6, 1.2, null, 'TicketObject/seat2B/unreserve', '', 3, '{"delay_ms": 7200000}'),
       history.entry(2, 4, 2, 1.5, p_value => 'true'),
       history.outcome(2, 1.1, 1.5, 'succeeded', 'true'),
       history.held('TicketObject', 'seat2B', null, 1),
       history.state('TicketObject', 'seat2B', 'status', '"reserved"');
select history.invocation(3, 'TicketObject', 'seat2B', 'unreserve', 1.2, '', 2, p_delay => 7200),
       history.live(3, 'scheduled', 1.2, p_run_at => history.at(7201.2), p_attempts => 0);

select history.invocation(4, 'CartObject', 'ann', 'addTicket', 2, '"seat3A"', p_idem => 'ann-1'),
       history.entry(4, 1, 5, 2.1, 1, 'TicketObject/seat3A/reserve', '', 5),
       history.live(4, 'suspended', 3.1, p_wait_ids => '{1}'),
       history.held('CartObject', 'ann', 4, 2);
select history.invocation(5, 'TicketObject', 'seat3A', 'reserve', 2.1, '', 4, 1),
       history.live(5, 'backing_off', 3000, p_run_at => history.at(7200), p_attempts => 2),
       history.held('TicketObject', 'seat3A', 5, 1);
insert into howdah_core.failure (id, n, worker, failed_at, code, message, stacktrace, entry_name)
values (history.id(5), 1, 1, history.at(2.2), 500, 'OSError: no route', 'Traceback …', 'reserve'),
       (history.id(5), 2, 1, history.at(3000), 500, 'OSError: timed out', 'Traceback …', 'reserve');
select history.invocation(6, 'CartObject', 'ann', 'addTicket', 4, '"seat4C"');
insert into howdah_core.inbox (service, key, seq, id, q, created_at)
select i.service, i.key, 2, i.id, i.service, i.created_at
  from howdah_core.invocation i where i.id = history.id(6);

select history.invocation(7, 'Mailer', null, 'send', 5, '{"to": "joe"}'),
       history.entry(7, 1, 3, 5.1, 1, 'render'),
       history.entry(7, 2, 103, 5.3, 1, p_value => '"Dear Joe"'),
       history.entry(7, 3, 3, 5.4, 2, 'smtp'),
       history.live(7, 'running', 5.05, 1);
select history.invocation(8, 'Mailer', null, 'send', 6, '{"to": "ann"}'),
       history.entry(8, 1, 4, 6.1, 1, 'tomorrow', p_detail => '{"delay_ms": 86400000}'),
       history.live(8, 'suspended', 7.1, p_run_at => history.at(86406.1), p_wait_ids => '{1}');
select history.invocation(9, 'Mailer', null, 'send', 7, '{"to": "sue"}'),
       history.live(9, 'paused', 1000, p_attempts => 70);
insert into howdah_core.failure (id, n, worker, failed_at, code, error_code, message)
values (history.id(9), 70, 1, history.at(1000), 500, 'HD2001', 'NonDeterminism: another command');
select history.invocation(10, 'Mailer', null, 'send', 8, '{"to": "bob"}'),
       history.live(10, 'ready', 8, p_run_at => history.at(8), p_attempts => 0);
insert into howdah_core.sink (target_id, worker) values (history.id(10), 1);
select history.invocation(11, 'Mailer', null, 'send', 9, '{"to": ""}'),
       history.entry(11, 1, 3, 9.1, 1, 'smtp'),
       history.entry(11, 2, 103, 9.2, 1, p_detail => '{"code": 400, "message": "no address"}'),
       history.entry(11, 3, 2, 9.3, p_detail => '{"code": 400, "message": "no address"}'),
       history.outcome(11, 9.05, 9.3, 'failed', '', 400, 'no address');

select history.invocation(12, 'Mailer', null, 'send', 10, '{"to": "all"}'),
       history.entry(12, 1, 5, 10.1, 1, 'Mailer/send', '1', 13),
       history.entry(12, 2, 5, 10.1, 2, 'Mailer/send', '2', 14),
       history.entry(12, 3, 5, 10.1, 3, 'Mailer/send', '3', 15),
       history.live(12, 'suspended', 11.1, p_wait_ids => '{1,2,3}', p_all => true);
select history.invocation(13, 'Mailer', null, 'send', 10.1, '1', 12, 1),
       history.entry(13, 1, 2, 12, p_value => '"sent"'),
       history.outcome(13, 11, 12, 'succeeded', '"sent"');
insert into howdah_core.mailbox (id, kind, cid, value, at)
values (history.id(12), 105, 1, '"sent"', history.at(12));
select history.invocation(14, 'Mailer', null, 'send', 10.1, '2', 12, 2),
       history.live(14, 'ready', 10.1, p_run_at => history.at(10.1), p_attempts => 0);
select history.invocation(15, 'Mailer', null, 'send', 10.1, '3', 12, 3),
       history.live(15, 'running', 10.2, 1);

select history.invocation(16, 'CartObject', 'sue', 'addTicket', 20, '1'),
       history.entry(16, 1, 9, 20.1, p_name => 'a', p_value => '1'),
       history.entry(16, 2, 9, 20.1, p_name => 'b', p_value => '2'),
       history.entry(16, 3, 2, 20.2, p_value => 'null'),
       history.outcome(16, 20.05, 20.2, 'succeeded', 'null'),
       history.invocation(17, 'CartObject', 'sue', 'addTicket', 20.1, '2'),
       history.entry(17, 1, 9, 20.3, p_name => 'c', p_value => '3'),
       history.entry(17, 2, 11, 20.3),
       history.entry(17, 3, 9, 20.4, p_name => 'd', p_value => '4'),
       history.entry(17, 4, 9, 20.4, p_name => 'e', p_value => '5'),
       history.entry(17, 5, 10, 20.5, p_name => 'e'),
       history.entry(17, 6, 2, 20.5, p_value => 'null'),
       history.outcome(17, 20.2, 20.5, 'succeeded', 'null'),
       history.held('CartObject', 'sue', null, 2),
       history.state('CartObject', 'sue', 'd', '4');

select history.invocation(18, 'Mailer', null, 'send', 30, '{"to": "ann"}'),
       history.entry(18, 1, 5, 30.1, 1, 'CartObject/ann/addTicket', '"seat3A"', 19,
                     '{"idempotency_key": "ann-1"}'),
       history.entry(18, 2, 106, 30.1, 2, p_ref => 4),
       history.live(18, 'suspended', 31.1, p_wait_ids => '{1}');
insert into howdah_core.sink (target_id, waiter_id, cid) values (history.id(4), history.id(18), 1);

select history.invocation(20, 'Mailer', null, 'send', 40, '{"to": "bob"}'),
       history.entry(20, 1, 5, 40.1, 1, 'Mailer/send', '"quick"', 21),
       history.entry(20, 2, 4, 40.1, 2, p_detail => '{"delay_ms": 86400000}'),
       history.live(20, 'suspended', 41.1, p_run_at => history.at(86440.1), p_wait_ids => '{1,2}');
select history.invocation(21, 'Mailer', null, 'send', 40.1, '"quick"', 20, 1),
       history.live(21, 'ready', 40.1, p_run_at => history.at(40.1), p_attempts => 0);
"""


async def write_history(db: Database) -> None:
    """One invocation of every status, an hour old; the helpers stay in the session's history."""
    await db.fetchval("select howdah_core.register_deployment('v1', $1)", _SERVICES)
    await db.execute(_HISTORY)


_FILL = """
insert into howdah_core.invocation (id, service, handler, key, is_exclusive, created_at, invoked_by,
                                    input)
select lpad(to_hex(n), 32, '0')::uuid, v.no, h.no, case when v.kind = 'object' then 'k' || n % 1000 end,
       h.kind = 'exclusive', clock_timestamp() - make_interval(secs => $1 - n), 'ingress', '{}'
  from generate_series(1, $1) n
  join howdah_core.service v
    on v.name = case when n % 50 = 0 then 'CartObject' when n % 2 = 0 then 'TicketObject' else 'Mailer' end
  join howdah_core.handler h
    on h.service = v.no
   and h.name = case v.name when 'CartObject' then 'addTicket' when 'TicketObject' then 'reserve'
                            else 'send' end;

insert into howdah_core.outcome (id, outcome, created_at, started_at, completed_at, expires_at,
                                 attempts_total, deployment, worker, code, message, value)
select i.id, case when z.n % 100 = 1 then 'failed' else 'succeeded' end, i.created_at, i.created_at,
       i.created_at, i.created_at + interval '1 day', 1, 1, 1, case when z.n % 100 = 1 then 500 end,
       case when z.n % 100 = 1 then 'no' end, 'true'
  from howdah_core.invocation i
 cross join lateral (select ('x' || right(i.id::text, 8))::bit(32)::int as n) z
 where z.n % 10 <> 0;

insert into howdah_core.inbox (service, key, seq, id, q, created_at)
select i.service, i.key, z.n, i.id, i.service, i.created_at
  from howdah_core.invocation i
 cross join lateral (select ('x' || right(i.id::text, 8))::bit(32)::int as n) z
 where z.n % 10 = 0 and i.is_exclusive and z.n % 20 = 0;

insert into howdah_core.live (id, status, q, created_at, modified_at, run_at, worker, epoch, attempts,
                              attempts_total, wait_ids)
select i.id, s.status, i.service, i.created_at, i.created_at,
       case when s.status = 'ready' then i.created_at end, case when s.status = 'running' then 1 end,
       1, 1, 1, case when s.status = 'suspended' then '{1}'::int[] end
  from howdah_core.invocation i
 cross join lateral (select ('x' || right(i.id::text, 8))::bit(32)::int as n) z
 cross join lateral (select case when z.n % 1000 = 10 then 'running' when z.n % 30 = 0 then 'ready'
                                 else 'suspended' end as status) s
 where z.n % 10 = 0 and not exists (select from howdah_core.inbox b where b.id = i.id);

insert into howdah_core.journal (id, idx, kind, cid, name, value, at)
select i.id, x.idx, case x.idx % 2 when 1 then 3 else 103 end, (x.idx + 1) / 2,
       case x.idx % 2 when 1 then 'step' end, case x.idx % 2 when 0 then 'true'::bytea end, i.created_at
  from howdah_core.invocation i cross join generate_series(1, 4) x (idx);
"""


async def fill(db: Database, count: int) -> None:
    """Many invocations, a second apart: 90% completed, the others suspended, ready, inboxed.

    Plans and durations are what they are for; locks, state and waits are not consistent.
    """
    await db.fetchval("select howdah_core.register_deployment('v1', $1)", _SERVICES)
    for statement in _FILL.split(";\n"):
        if "$1" in statement:
            await db.execute(statement, count)
        elif statement.strip():
            await db.execute(statement)
    await db.execute("vacuum analyze")
