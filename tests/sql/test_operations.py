"""howdah_core.operate and restart_as_new: every verb in every status, over rows without an engine."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support import histories
from support.engines import assert_healthy
from support.histories import (
    ANN,
    ANN_NEXT,
    ATTACHED,
    FAILED,
    GATHERED,
    GATHERS,
    JOE,
    PAUSED,
    READY,
    RUNNING,
    SEAT_2B,
    SEAT_3A,
    SLEEPING,
    SUE_1,
    UNRESERVE,
    Database,
)

UNKNOWN = UUID(int=99)
STATUSES = {
    "running": RUNNING,
    "suspended": SLEEPING,
    "paused": PAUSED,
    "ready": READY,
    "backing_off": SEAT_3A,
    "inbox": ANN_NEXT,
    "scheduled": UNRESERVE,
    "completed": JOE,
    "unknown": UNKNOWN,
}
# By verb and status: the word, and the status after it (None: it is gone).
NEEDS_COMPLETED = {
    **{status: ("not completed", status) for status in STATUSES},
    "unknown": ("unknown", None),
}
EXPECTED = {
    "cancel": {
        "running": ("accepted", "running"),
        "suspended": ("accepted", "ready"),
        "paused": ("accepted", "ready"),
        "ready": ("accepted", "ready"),
        "backing_off": ("accepted", "backing_off"),
        "inbox": ("done", "completed"),
        "scheduled": ("done", "completed"),
        "completed": ("completed", "completed"),
        "unknown": ("unknown", None),
    },
    "kill": {
        **{status: ("done", "completed") for status in STATUSES},
        "completed": ("completed", "completed"),
        "unknown": ("unknown", None),
    },
    "pause": {
        **{status: ("accepted", "paused") for status in STATUSES},
        "paused": ("done", "paused"),
        "inbox": ("not running", "inbox"),
        "scheduled": ("not running", "scheduled"),
        "completed": ("completed", "completed"),
        "unknown": ("unknown", None),
    },
    "resume": {
        **{status: ("done", "ready") for status in STATUSES},
        "running": ("done", "running"),
        "inbox": ("not started", "inbox"),
        "scheduled": ("not started", "scheduled"),
        "completed": ("completed", "completed"),
        "unknown": ("unknown", None),
    },
    "purge": {**NEEDS_COMPLETED, "completed": ("done", None)},
    "purge_journal": {**NEEDS_COMPLETED, "completed": ("done", "completed")},
}
CASES = [(verb, status) for verb, by_status in EXPECTED.items() for status in by_status]


@pytest.fixture
async def history(db: Database) -> Database:
    await histories.write_history(db)
    return db


async def operate(
    db: Database, id_: UUID, verb: str, deployment: str | None = None
) -> asyncpg.Record:
    row: asyncpg.Record | None = await db.fetchrow(
        "select * from howdah_core.operate($1, $2, $3)", id_, verb, deployment
    )
    assert row is not None
    return row


async def status(db: Database, id_: UUID) -> str | None:
    found: str | None = await db.fetchval(
        "select status from howdah.invocations where id = $1", id_
    )
    return found


async def outcome(db: Database, id_: UUID) -> tuple[Any, ...]:
    row = await db.fetchrow(
        "select outcome, code, message from howdah_core.outcome where id = $1", id_
    )
    assert row is not None
    return tuple(row)


async def count(db: Database, table: str, id_: UUID, column: str = "id") -> int:
    found: int = await db.fetchval(
        f"select count(*) from howdah_core.{table} where {column} = $1", id_
    )
    return found


@pytest.mark.parametrize(("verb", "before"), CASES)
async def test_every_verb_in_every_status(history: Database, verb: str, before: str) -> None:
    id_ = STATUSES[before]

    result = (await operate(history, id_, verb))["result"]

    assert (result, await status(history, id_)) == EXPECTED[verb][before]
    await assert_healthy(history)


@pytest.mark.parametrize("verb", ["cancel", "kill"])
@pytest.mark.parametrize("before", ["inbox", "scheduled"])
async def test_what_has_not_begun_ends_at_once(history: Database, verb: str, before: str) -> None:
    id_ = STATUSES[before]

    await operate(history, id_, verb)

    expected = {"cancel": ("failed", 409, "canceled"), "kill": ("killed", 409, "killed")}[verb]
    assert await outcome(history, id_) == expected
    assert await history.fetchval(
        "select k.tail = (select count(*) from howdah_core.invocation x"
        "                  where x.service = k.service and x.key = k.key and x.is_exclusive)"
        "  from howdah_core.keylock k join howdah_core.invocation i"
        "    on i.service = k.service and i.key = k.key where i.id = $1",
        id_,
    )


async def test_a_verb_that_is_none_is_refused(history: Database) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="is no verb"):
        await operate(history, JOE, "destroy")


async def test_a_stricter_isolation_level_is_refused(history: Database) -> None:
    with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
        async with history.transaction(isolation="repeatable_read"):
            await operate(history, RUNNING, "kill")


async def test_cancel_of_a_running_invocation_is_mail_for_its_worker(history: Database) -> None:
    row = await operate(history, RUNNING, "cancel")

    assert (row["worker"], row["queues"]) == (None, [])
    assert (row["mail_id"], row["mail_worker"]) == (RUNNING, 1)
    mail = await history.fetch("select kind, cid from howdah_core.mailbox where id = $1", RUNNING)
    assert [tuple(row) for row in mail] == [(150, -1)]


async def test_cancel_wakes_and_says_which_queue(history: Database) -> None:
    row = await operate(history, SLEEPING, "cancel")

    assert (row["queues"], row["mail_id"]) == ([3], None)
    assert await count(history, "mailbox", SLEEPING) == 1


async def test_kill_of_a_running_invocation_names_its_worker_and_leaves_no_mail(
    history: Database,
) -> None:
    await operate(history, RUNNING, "cancel")

    row = await operate(history, RUNNING, "kill")

    assert (row["worker"], row["orders"], row["has_sinks"]) == (1, 0, False)
    assert await outcome(history, RUNNING) == ("killed", 409, "killed")
    assert await count(history, "mailbox", RUNNING) == 0
    assert await count(history, "journal", RUNNING) == 3


async def test_kill_hands_the_key_on_and_orders_the_same_for_what_was_called(
    history: Database,
) -> None:
    row = await operate(history, ANN, "kill")

    assert (row["queues"], row["worker"], row["orders"], row["has_sinks"]) == ([1], None, 1, True)
    assert await history.fetchval("select holder from howdah_core.keylock where key = 'ann'") == (
        ANN_NEXT
    )
    assert await status(history, ANN_NEXT) == "ready"
    orders = await history.fetch("select * from howdah_core.next_orders(10)")
    assert [(order["id"], order["verb"]) for order in orders] == [(SEAT_3A, "kill")]
    await assert_healthy(history)

    carried = await history.fetch("select * from howdah_core.carry_out($1)", orders[0]["seq"])

    assert [(row["id"], row["verb"], row["result"]) for row in carried] == [
        (SEAT_3A, "kill", "done")
    ]
    assert await outcome(history, SEAT_3A) == ("killed", 409, "killed")
    assert await history.fetchval(
        "select holder from howdah_core.keylock where key = 'seat3A'"
    ) is (None)
    assert await history.fetch("select * from howdah_core.next_orders(10)") == []
    await assert_healthy(history)


async def test_kill_gives_the_next_holder_an_epoch_that_says_whether_it_has_a_journal(
    history: Database,
) -> None:
    await history.execute("update howdah_core.invocation set copied = 2 where id = $1", ANN_NEXT)

    await operate(history, ANN, "kill")

    assert await history.fetchval("select epoch from howdah_core.live where id = $1", ANN_NEXT) == 1


async def test_kill_of_what_called_with_an_idempotency_key_reaches_the_one_that_it_got(
    history: Database,
) -> None:
    row = await operate(history, ATTACHED, "kill")

    assert row["orders"] == 1
    assert await history.fetchval("select id from howdah_core.nudge") == ANN


async def test_completed_callees_and_those_of_the_original_are_not_ordered_to_end(
    history: Database,
) -> None:
    row = await operate(history, GATHERS, "kill")
    assert row["orders"] == 2
    assert set(GATHERED[1:]) == {
        order["id"] for order in await history.fetch("select id from howdah_core.nudge")
    }

    await history.execute("update howdah_core.invocation set copied = 9 where id = $1", ANN)
    assert (await operate(history, ANN, "kill"))["orders"] == 0


async def test_kill_tells_the_caller_and_wakes_it(history: Database) -> None:
    row = await operate(history, SEAT_3A, "kill")

    assert (row["queues"], row["mail_id"]) == ([1], None)
    assert await status(history, ANN) == "ready"
    mail = await history.fetchrow(
        "select kind, cid, value, detail->>'code' as code, detail->>'message' as message"
        "  from howdah_core.mailbox where id = $1",
        ANN,
    )
    assert mail is not None
    assert tuple(mail) == (105, 1, None, "409", "killed")


async def test_kill_of_one_of_several_callees_wakes_only_who_has_all(history: Database) -> None:
    await operate(history, GATHERED[1], "kill")
    assert await status(history, GATHERS) == "suspended"

    await operate(history, GATHERED[2], "kill")
    assert await status(history, GATHERS) == "ready"
    await assert_healthy(history)


async def test_kill_tells_a_running_caller_by_its_worker(history: Database) -> None:
    await history.execute(
        "update howdah_core.live set status = 'running', worker = 1, wait_ids = null where id = $1",
        ANN,
    )

    row = await operate(history, SEAT_3A, "kill")

    assert (row["queues"], row["mail_id"], row["mail_worker"]) == ([], ANN, 1)


async def test_kill_tells_the_process_whose_client_waits(history: Database) -> None:
    await history.execute("update howdah_core.invocation set origin = 1 where id = $1", RUNNING)

    assert (await operate(history, RUNNING, "kill"))["origin"] == 1


@pytest.mark.parametrize(
    ("change", "outcome_seconds", "journal_seconds"),
    [
        ("journal_retention = '50 s'", 50, None),
        ("journal_retention = '50 s', idempotency_retention = '70 s'", 70, 50),
        ("journal_retention = '90 s', idempotency_retention = '70 s'", 70, None),
        ("kind = 'workflow', journal_retention = '90 s'", 86_400, 90),
        ("kind = 'workflow', workflow_retention = '20 s'", 20, None),
    ],
)
async def test_what_is_killed_is_kept_as_its_handler_says(
    history: Database, change: str, outcome_seconds: int, journal_seconds: int | None
) -> None:
    id_ = ANN if "idempotency" in change else SEAT_3A
    await history.execute(f"update howdah_core.handler set {change}")

    await operate(history, id_, "kill")

    row = await history.fetchrow(
        "select extract(epoch from expires_at - completed_at)::int,"
        " extract(epoch from journal_expires_at - completed_at)::int"
        " from howdah_core.outcome where id = $1",
        id_,
    )
    assert row is not None
    assert tuple(row) == (outcome_seconds, journal_seconds)


async def test_kill_of_who_waits_for_a_promise_ends_the_wait(history: Database) -> None:
    await history.execute(
        "insert into howdah_core.promise_waiter values (1, 'ann', 'paid', $1, 9)", ANN
    )

    await operate(history, ANN, "kill")

    assert await count(history, "promise_waiter", ANN, "waiter_id") == 0


async def test_pause_takes_a_running_invocation_away(history: Database) -> None:
    row = await operate(history, RUNNING, "pause")

    assert (row["result"], row["worker"]) == ("accepted", 1)
    assert (await operate(history, RUNNING, "pause"))["worker"] is None


async def test_pause_keeps_mail_and_key_and_resume_starts_the_count_of_retries_again(
    history: Database,
) -> None:
    await operate(history, SEAT_3A, "pause")
    assert await history.fetchval(
        "select holder from howdah_core.keylock where key = 'seat3A'"
    ) == (SEAT_3A)

    row = await operate(history, SEAT_3A, "resume")

    assert row["queues"] == [2]
    live = await history.fetchrow(
        "select status, attempts, attempts_total, q from howdah_core.live where id = $1", SEAT_3A
    )
    assert live is not None
    assert tuple(live) == ("ready", 0, 2, 2)


@pytest.fixture
async def versions(history: Database) -> Database:
    """Deployments v1, which began everything, v2 with all services, v3 without the Mailer."""
    await history.execute(
        """
        insert into howdah_core.deployment (name) values ('v2'), ('v3');
        insert into howdah_core.deployment_service (deployment, service)
        select d.no, s.no from howdah_core.deployment d, howdah_core.service s
         where d.name <> 'v3' or s.name <> 'Mailer' order by d.no, s.no on conflict do nothing;
        update howdah_core.live l set q = d.q
          from howdah_core.invocation i, howdah_core.deployment_service d
         where i.id = l.id and d.service = i.service and d.deployment = l.deployment;
        """
    )
    await assert_healthy(history)
    return history


async def _version(db: Database, id_: UUID) -> tuple[Any, ...]:
    row = await db.fetchrow(
        "select coalesce(d.name, 'none'), coalesce(s.name, 'of ' || v.name) from howdah_core.live l"
        "  left join howdah_core.deployment d on d.no = l.deployment"
        "  left join howdah_core.service v on v.no = l.q"
        "  left join howdah_core.deployment_service x on x.q = l.q"
        "  left join howdah_core.deployment s on s.no = x.deployment where l.id = $1",
        id_,
    )
    assert row is not None
    return tuple(row)


@pytest.mark.parametrize(
    ("id_", "deployment", "result", "version"),
    [
        (PAUSED, None, "done", ("v1", "v1")),
        (PAUSED, "keep", "done", ("v1", "v1")),
        (PAUSED, "latest", "done", ("none", "of Mailer")),
        (SLEEPING, "latest", "done", ("none", "of Mailer")),
        (PAUSED, "v2", "done", ("v2", "v2")),
        (PAUSED, "v3", "unknown deployment", ("v1", "v1")),
        (PAUSED, "v4", "unknown deployment", ("v1", "v1")),
        (RUNNING, "latest", "still running", ("v1", "v1")),
        (RUNNING, "v2", "still running", ("v1", "v1")),
        (SEAT_3A, "latest", "still running", ("v1", "v1")),
        (SEAT_3A, "keep", "done", ("v1", "v1")),
        (READY, "latest", "done", ("none", "of Mailer")),
        (READY, "v2", "still running", ("none", "of Mailer")),
    ],
)
async def test_resume_may_exchange_the_version(
    versions: Database, id_: UUID, deployment: str | None, result: str, version: tuple[Any, ...]
) -> None:
    assert (await operate(versions, id_, "resume", deployment))["result"] == result

    assert await _version(versions, id_) == version
    word = (
        await versions.fetchval("select howdah.resume($1, $2)", id_, deployment)
        if result != "done"
        else result
    )
    assert word == result
    await assert_healthy(versions)


async def test_what_nobody_serves_may_be_moved_before_its_next_attempt(versions: Database) -> None:
    assert await versions.fetch("select * from howdah_core.stranded()") == []
    await versions.execute(
        "update howdah_core.live set status = 'ready', worker = null, run_at = now() where id = $1",
        RUNNING,
    )
    await versions.execute("update howdah_core.worker set fenced_at = clock_timestamp()")

    stranded = [row[0] for row in await versions.fetch(
        "select id from howdah_core.stranded_invocations()"
    )]  # fmt: skip
    assert {RUNNING, SEAT_3A, SLEEPING} <= set(stranded)
    assert PAUSED not in stranded  # it waits for an operator
    counts = await versions.fetch("select * from howdah_core.stranded()")
    assert [tuple(row) for row in counts] == [("v1", len(stranded))]
    for id_ in (RUNNING, SEAT_3A):  # ready, and backing off
        assert await versions.fetchval("select howdah.resume($1, 'latest')", id_) == "accepted"
        assert (await operate(versions, id_, "resume", "latest"))["result"] == "done"
        assert (await _version(versions, id_))[0] == "none"
    assert (await operate(versions, SLEEPING, "resume", "v2"))["result"] == "done"
    left = await versions.fetchval("select n from howdah_core.stranded()")
    assert left == len(stranded) - 3


async def test_purge_leaves_nothing_of_an_invocation(history: Database) -> None:
    assert (await operate(history, JOE, "purge"))["result"] == "done"

    for table in ("invocation", "outcome", "journal", "failure", "idem"):
        assert await count(history, table, JOE) == 0
    assert await history.fetchval("select value from howdah_core.state where key = 'joe'")
    assert (await operate(history, JOE, "purge"))["result"] == "unknown"
    await assert_healthy(history)


async def test_purge_tells_those_who_still_wait(history: Database) -> None:
    await operate(history, ANN, "kill")
    await history.execute("delete from howdah_core.nudge")

    assert (await operate(history, ANN, "purge"))["result"] == "done"

    assert await count(history, "sink", ANN, "target_id") == 0
    mail = await history.fetchrow(
        "select kind, cid, detail->>'message' from howdah_core.mailbox where id = $1", ATTACHED
    )
    assert mail is not None
    assert tuple(mail) == (105, 1, "killed")
    assert await history.fetchval("select count(*) from howdah_core.wake($1)", [ATTACHED]) == 1


async def test_a_purged_journal_is_told_from_none_and_the_outcome_stays(history: Database) -> None:
    assert (await operate(history, FAILED, "purge_journal"))["result"] == "done"
    assert (await operate(history, FAILED, "purge_journal"))["result"] == "done"

    assert await count(history, "journal", FAILED) == 0
    assert await outcome(history, FAILED) == ("failed", 400, "no address")
    assert await restart(history, FAILED) == ("gone", None)
    await assert_healthy(history)


async def test_orders_for_one_invocation_come_one_after_the_other(history: Database) -> None:
    await history.execute(
        "select howdah.pause($1); select howdah.pause($2); select howdah.resume($1)".replace(
            "$1", f"'{RUNNING}'"
        ).replace("$2", f"'{SLEEPING}'")
    )

    first = await history.fetch("select seq, id, verb from howdah_core.next_orders(10)")
    assert [(row["id"], row["verb"]) for row in first] == [(RUNNING, "pause"), (SLEEPING, "pause")]
    await history.fetch("select * from howdah_core.carry_out($1)", first[0]["seq"])
    second = await history.fetch("select seq, id, verb from howdah_core.next_orders(10)")
    assert [(row["id"], row["verb"]) for row in second] == [
        (SLEEPING, "pause"),
        (RUNNING, "resume"),
    ]
    assert await history.fetch("select * from howdah_core.carry_out($1)", first[0]["seq"]) == []


# Restarts.


async def restart(
    db: Database, id_: UUID, from_entry: int = 0, deployment: str | None = None
) -> tuple[str, UUID | None]:
    row = await db.fetchrow(
        "select result, new_id from howdah_core.restart_as_new($1, $2, $3)",
        id_,
        from_entry,
        deployment,
    )
    assert row is not None
    return row["result"], row["new_id"]


async def restarted(db: Database, id_: UUID, from_entry: int = 0) -> UUID:
    result, new_id = await restart(db, id_, from_entry)
    assert result == "done"
    assert new_id is not None
    await assert_healthy(db)
    return new_id


@pytest.mark.parametrize(
    ("before", "result"),
    [
        ("running", "still running"),
        ("suspended", "still running"),
        ("paused", "still running"),
        ("ready", "still running"),
        ("backing_off", "still running"),
        ("inbox", "not started"),
        ("scheduled", "not started"),
        ("unknown", "unknown"),
    ],
)
async def test_only_what_is_completed_is_restarted(
    history: Database, before: str, result: str
) -> None:
    assert await restart(history, STATUSES[before]) == (result, None)


async def test_a_restart_has_the_same_input_and_nothing_else(history: Database) -> None:
    new_id = await restarted(history, FAILED)

    row = await history.fetchrow(
        "select n.service = o.service and n.handler = o.handler and n.input = o.input"
        "   and n.headers = o.headers as is_same, n.idempotency_key, n.parent_id, n.invoked_by,"
        "   n.restarted_from, n.copied, n.seed, l.status, l.q, l.epoch, l.deployment"
        "  from howdah_core.invocation n join howdah_core.live l on l.id = n.id"
        "  join howdah_core.invocation o on o.id = n.restarted_from where n.id = $1",
        new_id,
    )
    assert row is not None
    assert tuple(row) == (True, None, None, "restart", FAILED, 0, None, "ready", 3, 0, None)
    assert new_id.version == 7


async def test_a_restart_of_an_exclusive_handler_is_queued_at_its_key(history: Database) -> None:
    new_id = await restarted(history, JOE)

    assert await status(history, new_id) == "scheduled"
    await history.execute("select howdah_core.promote(1, 1, 10)")

    assert await status(history, new_id) == "ready"
    assert await history.fetchval("select holder from howdah_core.keylock where key = 'joe'") == (
        new_id
    )
    await assert_healthy(history)


async def test_a_restart_with_a_journal_gets_it_with_its_lease(history: Database) -> None:
    new_id = await restarted(history, FAILED, 1)

    rows = await history.fetch(
        "select what, id, idx, kind, cid"
        "  from howdah_core.claim(1, 1, '{3}', '{1}', '{3}', 0, 10) where id = $1",
        new_id,
    )

    assert [tuple(row)[2:] for row in rows if row["what"] == b"J"] == [(1, 3, 1), (2, 103, 1)]


async def test_completions_of_copied_commands_come_along_and_the_entries_are_dense(
    history: Database,
) -> None:
    await history.execute(
        "delete from howdah_core.journal where id = history.id(16);"
        "select history.entry(16, 1, 4, 20.1, 1, 'first', p_detail => '{\"delay_ms\": 1}'),"
        "       history.entry(16, 2, 9, 20.1, p_name => 'a', p_value => '1'),"
        "       history.entry(16, 3, 5, 20.11, 2, 'Mailer/send', '', 13, '{\"idempotency_key\": \"x\"}'),"
        "       history.entry(16, 4, 106, 20.11, 3, p_ref => 13),"
        "       history.entry(16, 5, 3, 20.12, 4, 'step'),"
        "       history.entry(16, 6, 103, 20.15, 4, p_value => '2'),"
        "       history.entry(16, 7, 150, 20.16, -17, p_value => '3'),"
        "       history.entry(16, 8, 105, 20.17, 2, p_value => '\"sent\"'),"
        "       history.entry(16, 9, 104, 20.18, 1),"
        "       history.entry(16, 10, 2, 20.2, p_value => 'null')"
    )

    new_id = await restarted(history, SUE_1, 3)

    rows = await history.fetch(
        "select idx, kind, cid, at from howdah_core.journal where id = $1 order by idx", new_id
    )
    assert [tuple(row)[:3] for row in rows] == [
        (1, 4, 1),
        (2, 9, None),
        (3, 5, 2),
        (4, 106, 3),
        (5, 105, 2),
        (6, 104, 1),
    ]
    facts = await history.fetchrow(
        "select copied, seed from howdah_core.invocation where id = $1", new_id
    )
    assert facts is not None
    assert tuple(facts) == (6, SUE_1)


async def test_a_restart_of_a_restart_draws_the_first_ones_random_numbers(
    history: Database,
) -> None:
    second = await restarted(history, SEAT_2B, 3)
    await operate(history, second, "kill")

    third = await restarted(history, second, 1)

    facts = await history.fetchrow(
        "select restarted_from, copied, seed from howdah_core.invocation where id = $1", third
    )
    assert facts is not None
    assert tuple(facts) == (second, 1, SEAT_2B)


@pytest.mark.parametrize(
    ("from_entry", "result"),
    [(-1, "out of range"), (2, "done"), (3, "out of range"), (4, "out of range")],
)
async def test_a_restart_begins_within_the_journal_and_before_its_output(
    history: Database, from_entry: int, result: str
) -> None:
    assert (await restart(history, FAILED, from_entry))[0] == result


async def test_a_restart_from_a_command_without_its_completion_is_refused(
    history: Database,
) -> None:
    await operate(history, ANN, "kill")

    assert await restart(history, ANN, 1) == ("incomplete", None)
    assert (await restart(history, ANN, 0))[0] == "done"


async def test_the_run_of_a_workflow_is_not_restarted(history: Database) -> None:
    await history.execute("update howdah_core.handler set kind = 'workflow'")

    assert await restart(history, JOE) == ("unsupported", None)


async def test_a_restart_may_name_a_version(versions: Database) -> None:
    assert await restart(versions, FAILED, 0, "v4") == ("unknown deployment", None)
    assert await restart(versions, FAILED, 0, "v3") == ("unknown deployment", None)
    assert await restart(versions, JOE, 0, "v2") == ("unsupported", None)

    for deployment, version in (
        (None, ("none", "of Mailer")),
        ("latest", ("none", "of Mailer")),
        ("keep", ("v1", "v1")),
        ("v2", ("v2", "v2")),
    ):
        result, new_id = await restart(versions, FAILED, 0, deployment)
        assert result == "done"
        assert new_id is not None
        assert await _version(versions, new_id) == version
    await assert_healthy(versions)


async def test_a_restarted_invocation_may_be_killed_without_touching_what_it_took_over(
    history: Database,
) -> None:
    new_id = await restarted(history, SEAT_2B, 3)

    row = await operate(history, new_id, "kill")

    assert (row["result"], row["orders"]) == ("done", 0)
    await assert_healthy(history)
