"""howdah_core.clean: what has expired goes with all that is its own, and nothing else does."""

from typing import Any
from uuid import UUID

import pytest

from support import histories
from support.engines import assert_healthy
from support.histories import (
    ANN,
    ATTACHED,
    FAILED,
    GATHERED,
    JOE,
    READY,
    SEAT_2B,
    SUE_1,
    SUE_2,
    UNRESERVE,
    Database,
)

CLEAN = "select howdah_core.clean(100)"
TABLES = ("invocation", "outcome", "journal", "failure", "idem")
COMPLETED = {JOE, SEAT_2B, FAILED, GATHERED[0], SUE_1, SUE_2}
_WORKFLOW = """[
  {"name": "Checkout", "kind": "workflow", "handlers": [
    {"name": "run", "kind": "workflow", "input_required": false, "is_public": true,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400},
    {"name": "pay", "kind": "shared", "input_required": false, "is_public": true,
     "idempotency_retention_seconds": 86400, "journal_retention_seconds": 86400}]}
]"""
RUN, PAY, PAY_LATE = UUID(int=0x51), UUID(int=0x52), UUID(int=0x53)


@pytest.fixture
async def history(db: Database) -> Database:
    await histories.write_history(db)
    return db


@pytest.fixture
async def workflow(history: Database) -> Database:
    """Checkout/w: its run and one of two calls of a shared handler are completed; two promises."""
    await history.execute("select howdah_core.register_deployment('v1', $1)", _WORKFLOW)
    for id_, handler, at in ((RUN, "run", 1), (PAY, "pay", 2), (PAY_LATE, "pay", 3)):
        await history.execute(
            "insert into howdah_core.invocation"
            " (id, service, handler, key, is_exclusive, created_at, invoked_by, input)"
            " select $1, h.service, h.no, 'w', h.kind = 'workflow', history.at($3), 'ingress', ''"
            "  from howdah_core.handler h where h.name = $2",
            id_,
            handler,
            at,
        )
    await history.execute(
        f"""
        insert into howdah_core.idem (handler, key, idempotency_key, id)
        select handler, key, '', id from howdah_core.invocation where id = '{RUN}';
        insert into howdah_core.outcome (id, outcome, created_at, started_at, completed_at, expires_at,
                                         attempts_total, value)
        select id, 'succeeded', created_at, created_at, created_at, created_at + interval '1 day', 1, ''
          from howdah_core.invocation where id in ('{RUN}', '{PAY}');
        insert into howdah_core.live (id, status, q, created_at, modified_at)
        select id, 'suspended', service, created_at, clock_timestamp()
          from howdah_core.invocation where id = '{PAY_LATE}';
        insert into howdah_core.journal (id, idx, kind, cid, name, at)
        values ('{PAY_LATE}', 1, 14, 1, 'paid', history.at(3));
        insert into howdah_core.keylock (service, key, tail) values (4, 'w', 1);
        insert into howdah_core.journal (id, idx, kind, name, value, at)
        values ('{RUN}', 1, 9, 'step', '3', history.at(1)), ('{RUN}', 2, 2, null, '', history.at(1));
        insert into howdah_core.state values (4, 'w', 'step', '3');
        insert into howdah_core.promise (service, key, name, value, completed_at)
        values (4, 'w', 'paid', null, null), (4, 'w', 'shipped', '1', history.at(2));
        insert into howdah_core.promise_waiter values (4, 'w', 'paid', '{PAY_LATE}', 1);
        """
    )
    await assert_healthy(history)
    return history


async def expire(db: Database, *ids: UUID) -> None:
    await db.execute(
        "update howdah_core.outcome set expires_at = history.at(100) where id = any ($1)", list(ids)
    )


async def left(db: Database) -> set[UUID]:
    return {row["id"] for row in await db.fetch("select id from howdah_core.outcome")}


async def names(db: Database, query: str) -> list[Any]:
    return [tuple(row) if len(row) > 1 else row[0] for row in await db.fetch(query)]


async def count(db: Database, table: str, id_: UUID) -> int:
    found: int = await db.fetchval(f"select count(*) from howdah_core.{table} where id = $1", id_)
    return found


async def clean_all(db: Database) -> int:
    total = 0
    while done := await db.fetchval(CLEAN):
        total += done
    return total


async def test_nothing_goes_before_its_time(history: Database) -> None:
    assert await history.fetchval(CLEAN) == 0

    assert await left(history) == COMPLETED


async def test_what_has_expired_goes_with_all_that_is_its_own(history: Database) -> None:
    await history.execute(
        "insert into howdah_core.failure (id, n, failed_at, code, message)"
        " values ($1, 1, history.at(9), 500, 'no')",
        FAILED,
    )
    await expire(history, FAILED)

    assert await history.fetchval(CLEAN) == 1

    assert await left(history) == COMPLETED - {FAILED}
    assert [await count(history, table, FAILED) for table in TABLES] == [0] * 5
    assert await history.fetchval(CLEAN) == 0
    await assert_healthy(history)


async def test_everything_completed_may_go_and_all_others_stay(history: Database) -> None:
    others = "select id, status from howdah.invocations where status <> 'completed' order by id"
    before = await history.fetch(others)
    await expire(history, *COMPLETED)

    assert await clean_all(history) == len(COMPLETED)
    await history.execute("update howdah_core.outcome set expires_at = expires_at - interval '6 s'")
    assert await clean_all(history) == 1  # JOE, whose idempotency key went first

    assert await left(history) == set()
    assert await history.fetch(others) == before
    await assert_healthy(history)


async def test_an_idempotency_key_goes_first_and_the_rest_a_moment_later(
    history: Database,
) -> None:
    await expire(history, JOE)

    assert await history.fetchval(CLEAN) == 1
    assert (await count(history, "idem", JOE), await count(history, "outcome", JOE)) == (0, 1)
    assert await history.fetchval(CLEAN) == 0

    await expire(history, JOE)
    assert await history.fetchval(CLEAN) == 1
    assert await count(history, "outcome", JOE) == 0
    await assert_healthy(history)


async def test_a_batch_is_limited_and_the_oldest_go_first(history: Database) -> None:
    await expire(history, FAILED, SEAT_2B, GATHERED[0])
    await history.execute(
        "update howdah_core.outcome set expires_at = history.at(99) where id = $1", SEAT_2B
    )

    assert await history.fetchval("select howdah_core.clean(1)") == 1
    assert await left(history) == COMPLETED - {SEAT_2B}
    assert await history.fetchval("select howdah_core.clean(1)") == 1
    assert await history.fetchval("select howdah_core.clean(2)") == 1


async def test_nothing_goes_within_five_seconds_of_its_end(history: Database) -> None:
    await history.execute(
        "update howdah_core.outcome set completed_at = clock_timestamp() - interval '4 s',"
        " expires_at = clock_timestamp() - interval '4 s' where id = $1",
        FAILED,
    )

    assert await history.fetchval(CLEAN) == 0


async def test_nothing_goes_while_somebody_waits_for_it(history: Database) -> None:
    await expire(history, FAILED)
    await history.execute("insert into howdah_core.sink (target_id, worker) values ($1, 1)", FAILED)
    assert await history.fetchval(CLEAN) == 0

    await history.execute("select howdah_core.deliver_sinks(null, 10)")
    assert await history.fetchval(CLEAN) == 1


async def test_a_journal_may_go_before_its_outcome_and_nothing_is_said_that_is_not_so(
    history: Database,
) -> None:
    await history.execute(
        "update howdah_core.outcome set journal_expires_at = history.at(100) where id = any ($1)",
        [SUE_1, SEAT_2B],
    )

    assert await history.fetchval(CLEAN) == 2

    assert await left(history) == COMPLETED
    assert [await count(history, "journal", id_) for id_ in (SUE_1, SEAT_2B)] == [0, 0]
    assert await names(
        history,
        "select journal_length, output from howdah.invocations"
        f" where id in ('{SUE_1}', '{SEAT_2B}') order by id",
    ) == [(1, "true"), (1, "null")]
    assert await history.fetchval("select (howdah.restart_as_new($1)).result", SUE_1) == "gone"
    assert await history.fetchval(CLEAN) == 0
    await assert_healthy(history)


# Keys.


async def test_a_key_goes_with_its_last_invocation(history: Database) -> None:
    await history.execute("delete from howdah_core.state where key in ('sue', 'seat2B')")
    keys = "select key from howdah_core.keylock where key in ('sue', 'seat2B') order by key"
    await expire(history, SUE_1, SEAT_2B)
    await clean_all(history)
    assert await names(history, keys) == ["seat2B", "sue"]

    await expire(history, SUE_2)
    await clean_all(history)
    assert await names(history, keys) == ["seat2B"]
    assert await names(history, "select id from howdah_core.live where status = 'scheduled'") == [
        UNRESERVE
    ]
    await assert_healthy(history)


async def test_a_key_with_state_stays(history: Database) -> None:
    await expire(history, SUE_1, SUE_2)
    await clean_all(history)

    assert await history.fetchval("select tail from howdah_core.keylock where key = 'sue'") == 2
    assert await history.fetchval("select count(*) from howdah_core.state where key = 'sue'") == 1
    await assert_healthy(history)


# Workflows.


async def test_a_workflows_run_goes_with_the_keys_state_and_those_who_wait_stay(
    workflow: Database,
) -> None:
    await expire(workflow, RUN)

    assert await workflow.fetchval(CLEAN) == 1

    assert await left(workflow) == COMPLETED | {PAY}
    assert await names(workflow, "select name from howdah_core.state where key = 'w'") == []
    assert await names(workflow, "select id from howdah_core.idem where idempotency_key = ''") == []
    assert await names(
        workflow,
        "select name, value, completed_at from howdah_core.promise where key = 'w' order by 1",
    ) == [("paid", None, None), ("shipped", None, None)]
    assert await names(workflow, "select waiter_id from howdah_core.promise_waiter") == [PAY_LATE]
    await assert_healthy(workflow)


async def test_the_last_invocation_of_a_workflow_takes_key_and_promises_along(
    workflow: Database,
) -> None:
    await expire(workflow, RUN, PAY)
    await clean_all(workflow)
    await workflow.execute("select * from howdah_core.operate($1, 'kill')", PAY_LATE)
    assert await names(workflow, "select name from howdah_core.promise") != []
    await workflow.execute(
        "update howdah_core.outcome set completed_at = history.at(90), created_at = history.at(3),"
        " started_at = null where id = $1",
        PAY_LATE,
    )
    await expire(workflow, PAY_LATE)

    assert await workflow.fetchval(CLEAN) == 1

    for table in ("promise", "promise_waiter", "keylock"):
        assert await names(workflow, f"select key from howdah_core.{table} where key = 'w'") == []
    await assert_healthy(workflow)


async def test_a_workflow_whose_key_is_held_stays(workflow: Database) -> None:
    await expire(workflow, RUN)
    await workflow.execute("update howdah_core.keylock set holder = $1 where key = 'w'", READY)
    assert await workflow.fetchval(CLEAN) == 0

    await workflow.execute("update howdah_core.keylock set holder = null where key = 'w'")
    assert await workflow.fetchval(CLEAN) == 1


async def test_purge_of_a_workflow_begins_its_key_anew(workflow: Database) -> None:
    assert await workflow.fetchval("select howdah.purge($1)", RUN) == "done"

    assert await names(workflow, "select name from howdah_core.state where key = 'w'") == []
    assert await names(
        workflow, "select holder, tail from howdah_core.keylock where key = 'w'"
    ) == [(None, 0)]
    assert await names(
        workflow, "select count(*) from howdah_core.promise where completed_at is not null"
    ) == [0]
    again = await workflow.fetchval("select howdah.send('Checkout', 'run', key => 'w')")
    assert again != RUN
    await workflow.execute("select howdah_core.promote(1, 1, 10)")
    assert await names(
        workflow, "select holder, tail from howdah_core.keylock where key = 'w'"
    ) == [(again, 1)]
    await assert_healthy(workflow)


async def test_purge_of_a_workflow_whose_key_is_held_is_for_another_time(
    workflow: Database,
) -> None:
    await workflow.execute("update howdah_core.keylock set holder = $1 where key = 'w'", READY)

    assert await workflow.fetchval("select howdah.purge($1)", RUN) == "again"


# The rest.


async def test_who_waits_for_what_is_gone_hears_so(history: Database) -> None:
    await history.execute(
        "update howdah_core.sink set target_id = $1 where waiter_id = $2", UUID(int=99), ATTACHED
    )
    await history.execute(
        "insert into howdah_core.sink (target_id, worker) values ($1, 1)", UUID(int=99)
    )

    assert await history.fetchval(CLEAN) == 2

    assert await names(
        history,
        f"select kind, cid, detail->>'code' from howdah_core.mailbox where id = '{ATTACHED}'",
    ) == [(105, 1, "404")]


async def test_workers_of_last_week_go_unless_they_hold_something(history: Database) -> None:
    await history.execute(
        "update howdah_core.worker set started_at = now() - interval '9 days',"
        " beat_at = now() - interval '8 days', fenced_at = now() - interval '8 days' where no > 1;"
        "update howdah_core.live set worker = 3 where status = 'running'"
    )

    assert await history.fetchval(CLEAN) == 1

    assert await names(history, "select no from howdah_core.worker order by no") == [1, 3]


async def test_under_a_stricter_isolation_level_nothing_is_removed(history: Database) -> None:
    with pytest.raises(Exception, match="READ COMMITTED"):
        async with history.transaction(isolation="repeatable_read"):
            await history.fetchval(CLEAN)


async def test_what_is_ordered_for_what_is_gone_is_dropped(history: Database) -> None:
    await history.execute("select howdah.kill($1)", ANN)
    await history.execute("update howdah_core.nudge set id = $1", UUID(int=99))

    rows = await history.fetch(
        "select c.result from howdah_core.next_orders(5) o"
        " cross join lateral howdah_core.carry_out(o.seq) c"
    )

    assert [row["result"] for row in rows] == ["unknown"]
    assert await names(history, "select seq from howdah_core.nudge") == []
