"""Forced interleavings of what operators do with what workers do: one side holds its locks in an
open transaction, the other waits or is refused, and nothing is lost or done twice."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support.batches import MAILER, SEAT, Connection, accept, commit, connected, letters
from support.engines import assert_healthy, until


@asynccontextmanager
async def holding(dsn: str) -> AsyncIterator[Connection]:
    """A connection in a transaction, committed at the end of the block."""
    async with connected(dsn) as connection, connection.transaction():
        yield connection


async def complete(
    connection: Connection,
    worker: int,
    id_: UUID,
    key: str | None = "k",
    value: bytes = b"1",
    **facts: Any,
) -> list[Any]:
    """The end of an attempt of Seat/<key>/hold (or Mailer/send): a state entry, an output, success."""
    write = (
        {"w_u": [1], "w_service": [SEAT], "w_key": [key], "w_name": ["by"], "w_value": [value]}
        if key
        else {}
    )
    kinds = [9, 2] if key else [2]
    n = len(kinds)
    return await commit(
        connection,
        worker,
        u_id=[id_],
        u_epoch=[1],
        u_final=["D"],
        j_u=[1] * n,
        j_idx=list(range(1, n + 1)),
        j_kind=kinds,
        j_cid=[None] * n,
        j_name=["by", None][-n:],
        j_value=[value] * n,
        j_ref=[None] * n,
        j_detail=[None] * n,
        d_u=[1],
        d_outcome=["succeeded"],
        d_value=[value],
        d_code=[None],
        d_message=[None],
        d_metadata=[None],
        d_service=[SEAT if key else MAILER],
        d_key=[key],
        d_retention=[timedelta(seconds=60)],
        **write,
        **facts,
    )


async def suspend(
    connection: Connection, worker: int, id_: UUID, status: str = "suspended"
) -> list[Any]:
    """Give a lease back, waiting for completion 1."""
    return await commit(
        connection,
        worker,
        u_id=[id_],
        u_epoch=[1],
        u_final=["S"],
        s_u=[1],
        s_status=[status],
        s_run_at=[None],
        s_delay=[None],
        s_wait_ids=["{1}" if status == "suspended" else None],
        s_wait_all=[False],
    )


async def append(connection: Connection, worker: int, id_: UUID, idx: int) -> list[bytes]:
    """A step's entry by the short path."""
    rows = await connection.fetch(
        "select what from howdah_core.append_batch($1, 1, $2, '{1}', '{1}', $3, '{3}', $3, '{step}',"
        " '{null}', '{null}', '{null}')",
        worker,
        [id_],
        [idx],
    )
    return [row["what"] for row in rows]


async def operate(connection: Connection, id_: UUID, verb: str) -> Any:
    return await connection.fetchrow("select * from howdah_core.operate($1, $2)", id_, verb)


async def while_it_waits(db: Connection, other: Connection, waiting: Awaitable[Any]) -> Any:
    """Start something on `other` and wait until it waits for a lock; returns its task."""
    task = asyncio.ensure_future(waiting)
    await until(db, "select cardinality(pg_blocking_pids($1)) > 0", other.get_server_pid())
    return task


async def status(db: Connection, id_: UUID) -> str | None:
    found: str | None = await db.fetchval(
        "select coalesce(outcome, status) from howdah.invocations where id = $1", id_
    )
    return found


# Against what its worker writes.


@pytest.mark.parametrize("verb", ["kill", "pause"])
async def test_taking_away_waits_for_the_batch_in_flight_and_refuses_the_next(
    dsn: str, db: Connection, worker: int, verb: str
) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, first, second)
    async with connected(dsn) as operator:
        async with holding(dsn) as lane:
            await append(lane, worker, first, 1)
            taking = await while_it_waits(db, operator, operate(operator, first, verb))
        row = await taking

    assert row["worker"] == worker
    assert await append(db, worker, first, 2) == [b"L"]
    assert b"L" in letters(await complete(db, worker, first))
    assert await db.fetchval("select count(*) from howdah_core.journal where id = $1", first) == 1
    assert await db.fetchval("select count(*) from howdah_core.state") == 0
    assert await status(db, second) == {"kill": "ready", "pause": "inbox"}[verb]
    await assert_healthy(db)


@pytest.mark.parametrize("verb", ["kill", "pause"])
async def test_a_batch_that_comes_while_it_is_taken_away_waits_and_is_refused(
    dsn: str, db: Connection, worker: int, verb: str
) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, first, second)
    async with connected(dsn) as lane:
        async with holding(dsn) as operator:
            await operate(operator, first, verb)
            completing = await while_it_waits(db, lane, complete(lane, worker, first))
        rows = await completing

    assert letters(rows) == [b"L"]
    assert await db.fetchval("select count(*) from howdah_core.state") == 0
    assert await status(db, first) == {"kill": "killed", "pause": "paused"}[verb]
    await assert_healthy(db)


@pytest.mark.parametrize("verb", ["kill", "pause", "cancel"])
async def test_what_completes_first_stays_completed(
    dsn: str, db: Connection, worker: int, verb: str
) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, first, second)
    async with connected(dsn) as operator:
        async with holding(dsn) as lane:
            await complete(lane, worker, first)
            taking = await while_it_waits(db, operator, operate(operator, first, verb))
        row = await taking

    assert row["result"] == "completed"
    assert await status(db, first) == "succeeded"
    assert await db.fetchval("select holder from howdah_core.keylock") == second
    assert await db.fetchval("select count(*) from howdah_core.mailbox") == 0
    await assert_healthy(db)


async def test_two_kills_at_once_end_it_once(dsn: str, db: Connection, worker: int) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    async with connected(dsn) as late:
        async with holding(dsn) as operator:
            assert (await operate(operator, id_, "kill"))["result"] == "done"
            killing = await while_it_waits(db, late, operate(late, id_, "kill"))
        row = await killing

    assert row["result"] == "completed"
    await assert_healthy(db)


async def test_an_owner_that_changed_meanwhile_is_asked_for_again(
    dsn: str, db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    async with connected(dsn) as operator:
        async with holding(dsn) as lane:
            await append(lane, worker, id_, 1)
            await lane.execute("update howdah_core.live set worker = 2, epoch = 2")
            killing = await while_it_waits(db, operator, operate(operator, id_, "kill"))
        row = await killing

    assert row["result"] == "again"
    assert await status(db, id_) == "running"
    row = await operate(db, id_, "kill")
    assert (row["result"], row["worker"]) == ("done", 2)
    await assert_healthy(db)


async def test_a_worker_of_which_one_is_taken_away_keeps_the_others(
    dsn: str, db: Connection, worker: int
) -> None:
    first, other = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, first)
    await accept(db, worker, other, key="other")

    await operate(db, first, "kill")

    assert letters(await complete(db, worker, other, "other")) == []
    await assert_healthy(db)


# Against suspensions.


async def test_a_suspension_waits_for_nothing_while_it_is_cancelled_and_is_not_deaf(
    dsn: str, db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_, service=MAILER, key=None)
    async with holding(dsn) as operator:
        row = await operate(operator, id_, "cancel")
        deferred = await suspend(db, worker, id_)
    assert (row["mail_id"], letters(deferred)) == (id_, [b"B"])

    assert letters(await suspend(db, worker, id_)) == [b"R"]
    assert await status(db, id_) == "ready"


async def test_a_cancellation_that_waits_for_a_suspension_wakes_it(
    dsn: str, db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_, service=MAILER, key=None)
    async with connected(dsn) as operator:
        async with holding(dsn) as lane:
            await suspend(lane, worker, id_)
            cancelling = await while_it_waits(db, operator, operate(operator, id_, "cancel"))
        row = await cancelling

    assert (row["queues"], row["mail_id"]) == ([MAILER], None)
    assert await status(db, id_) == "ready"


async def test_a_caller_that_suspends_hears_that_its_callee_was_killed(
    dsn: str, db: Connection, worker: int
) -> None:
    caller, callee = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, caller, service=MAILER, key=None)
    await accept(db, worker, callee, parent=caller)
    async with connected(dsn) as operator:
        async with holding(dsn) as lane:
            # Another worker's: that of the callee is waited for before its caller's row is.
            await lane.execute(
                "select from howdah_core.live where id = $1 for no key update", caller
            )
            killing = await while_it_waits(db, operator, operate(operator, callee, "kill"))
            await lane.execute(
                "update howdah_core.live set status = 'suspended', worker = null, wait_ids = '{1}'"
                " where id = $1",
                caller,
            )
        row = await killing

    assert (row["result"], row["queues"]) == ("done", [MAILER])
    assert await status(db, caller) == "ready"
    await assert_healthy(db)


async def test_a_caller_may_not_suspend_while_its_callee_is_killed(
    dsn: str, db: Connection, worker: int
) -> None:
    caller, callee = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, caller, service=MAILER, key=None)
    await accept(db, worker, callee, parent=caller)
    await db.execute("update howdah_core.live set worker = 2 where id = $1", callee)
    async with holding(dsn) as operator:
        await operate(operator, callee, "kill")
        assert letters(await suspend(db, worker, caller)) == [b"B"]

    assert letters(await suspend(db, worker, caller)) == [b"R"]
    await assert_healthy(db)


async def test_a_completion_for_a_caller_that_is_locked_is_sent_again(
    dsn: str, db: Connection, worker: int
) -> None:
    caller, callee = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, caller, service=MAILER, key=None)
    await accept(db, worker, callee, parent=caller)
    facts: dict[str, Any] = {
        "t_u": [1],
        "t_id": [caller],
        "t_kind": [105],
        "t_cid": [1],
        "t_name": [None],
        "t_value": [b"1"],
        "t_detail": [None],
    }
    async with holding(dsn) as other:
        await suspend(other, worker, caller)
        assert letters(await complete(db, worker, callee, **facts)) == [b"B"]
        assert await status(db, callee) == "running"

    assert letters(await complete(db, worker, callee, **facts)) == [b"W"]
    await db.fetch("select howdah_core.wake($1)", [caller])
    assert await status(db, caller) == "ready"
    await assert_healthy(db)


# Against keys that change hands.


async def test_an_inbox_that_is_left_meanwhile_is_asked_for_again(
    dsn: str, db: Connection, worker: int
) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, first, second)
    async with connected(dsn) as operator:
        async with holding(dsn) as lane:
            await complete(lane, worker, first)
            killing = await while_it_waits(db, operator, operate(operator, second, "kill"))
        row = await killing

    assert row["result"] == "again"
    assert (await operate(db, second, "kill"))["result"] == "done"
    assert await db.fetchval("select holder from howdah_core.keylock") is None
    await assert_healthy(db)


async def test_a_key_is_not_handed_to_what_is_being_killed(
    dsn: str, db: Connection, worker: int
) -> None:
    first, second, third = (uuid.uuid4() for _ in range(3))
    await accept(db, worker, first, second, third)
    async with connected(dsn) as lane:
        async with holding(dsn) as operator:
            assert (await operate(operator, second, "kill"))["result"] == "done"
            completing = await while_it_waits(db, lane, complete(lane, worker, first))
        await completing

    assert await db.fetchval("select holder from howdah_core.keylock") == third
    await assert_healthy(db)


async def test_a_request_that_takes_a_key_while_its_holder_is_killed_has_it_or_waits(
    dsn: str, db: Connection, worker: int
) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, first)
    async with connected(dsn) as lane:
        async with holding(dsn) as operator:
            await operate(operator, first, "kill")
            accepting = await while_it_waits(db, lane, accept(lane, 2, second))
        await accepting

    assert await db.fetchval("select holder from howdah_core.keylock") == second
    await assert_healthy(db)


@pytest.mark.parametrize("is_free", [True, False])
async def test_what_is_promoted_meanwhile_is_killed_where_it_is_then(
    dsn: str, db: Connection, worker: int, is_free: bool
) -> None:
    holder, delayed = uuid.uuid4(), uuid.uuid4()
    if not is_free:
        await accept(db, worker, holder)
    await accept(db, worker, delayed, delay=timedelta(microseconds=1))
    async with connected(dsn) as operator:
        async with holding(dsn) as promoter:
            await promoter.execute("select howdah_core.promote(2, 1, 10)")
            killing = await while_it_waits(db, operator, operate(operator, delayed, "kill"))
        row = await killing

    assert row["result"] == "done"
    assert await db.fetchval("select tail from howdah_core.keylock") == (1 if is_free else 2)
    assert await db.fetchval("select holder from howdah_core.keylock") == (
        None if is_free else holder
    )
    await assert_healthy(db)


async def test_what_is_killed_before_it_is_due_is_not_promoted(
    dsn: str, db: Connection, worker: int
) -> None:
    delayed = uuid.uuid4()
    await accept(db, worker, delayed, delay=timedelta(microseconds=1))
    async with connected(dsn) as promoter:
        async with holding(dsn) as operator:
            await operate(operator, delayed, "kill")
            promoting = await while_it_waits(
                db, promoter, promoter.execute("select howdah_core.promote(2, 1, 10)")
            )
        await promoting

    assert await status(db, delayed) == "killed"
    assert await db.fetchval("select holder from howdah_core.keylock") is None
    await assert_healthy(db)


# Against others who hold on.


@pytest.mark.parametrize("verb", ["kill", "cancel", "pause", "resume"])
async def test_a_row_that_somebody_keeps_locked_is_waited_for_two_seconds(
    dsn: str, db: Connection, worker: int, verb: str
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    async with holding(dsn) as outsider:
        await outsider.execute("select from howdah_core.live for update")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await operate(db, id_, verb)

    assert (await operate(db, id_, verb))["result"] in {"done", "accepted"}


async def test_an_order_is_carried_out_by_one(dsn: str, db: Connection, worker: int) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    await db.execute("select howdah.kill($1)", id_)
    async with holding(dsn) as first:
        rows = await first.fetch("select * from howdah_core.carry_out(1)")
        assert await db.fetch("select * from howdah_core.carry_out(1)") == []

    assert [row["result"] for row in rows] == ["done"]
    assert await db.fetch("select * from howdah_core.carry_out(1)") == []
    await assert_healthy(db)


async def test_an_order_that_could_not_be_carried_out_stays(
    dsn: str, db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    await db.execute("select howdah.kill($1)", id_)
    async with holding(dsn) as outsider:
        await outsider.execute("select from howdah_core.live for update")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await db.fetch("select * from howdah_core.carry_out(1)")

    assert len(await db.fetch("select * from howdah_core.carry_out(1)")) == 1


# What is removed, against those who come for it.

CLEAN = "select howdah_core.clean(100)"
AGE = (
    "update howdah_core.outcome set created_at = created_at - interval '1 h',"
    " started_at = started_at - interval '1 h', completed_at = completed_at - interval '1 h',"
    " expires_at = expires_at - interval '1 h'"
)


async def test_a_retry_that_waits_for_the_removal_of_its_key_makes_a_new_one(
    dsn: str, db: Connection, worker: int
) -> None:
    old, new = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, old, service=MAILER, key=None, idem="x")
    await complete(db, worker, old, None)
    await db.execute(AGE)
    async with connected(dsn) as lane:
        async with holding(dsn) as cleaner:
            assert await cleaner.fetchval(CLEAN) == 1
            accepting = await while_it_waits(
                db, lane, accept(lane, worker, new, service=MAILER, key=None, idem="x")
            )
        rows = await accepting

    assert b"D" not in letters(rows)
    assert await status(db, new) == "running"
    await assert_healthy(db)


async def test_who_found_the_old_one_by_its_key_still_gets_its_outcome(
    dsn: str, db: Connection, worker: int
) -> None:
    old, caller, unused = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, old, service=MAILER, key=None, idem="x")
    await complete(db, worker, old, None)
    await accept(db, worker, caller, service=MAILER, key=None)
    await db.execute(AGE)
    async with holding(dsn) as lane:
        rows = await accept(lane, worker, unused, service=MAILER, key=None, idem="x", parent=caller)
        assert [row["ref"] for row in rows if row["what"] == b"D"] == [old]
        while await db.fetchval(CLEAN):
            pass

    assert await status(db, old) == "succeeded"
    await db.execute("select howdah_core.deliver_sinks(null, 10)")
    assert await db.fetchval("select value from howdah_core.mailbox where id = $1", caller) == b"1"
    await db.execute(AGE)
    assert await db.fetchval(CLEAN) == 1
    assert await status(db, old) is None


async def test_who_comes_too_late_for_an_id_hears_that_it_is_not_found(
    dsn: str, db: Connection, worker: int
) -> None:
    old, caller = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, old, service=MAILER, key=None)
    await complete(db, worker, old, None)
    await accept(db, worker, caller, service=MAILER, key=None)
    await db.execute(AGE)
    async with holding(dsn) as attaching:
        await attaching.execute(
            "insert into howdah_core.sink (target_id, waiter_id, cid, kind) values ($1, $2, 1, 118)",
            old,
            caller,
        )
        assert await db.fetchval(CLEAN) == 1

    assert await db.fetchval(CLEAN) == 1
    mail = await db.fetchrow("select kind, cid, detail->>'code' from howdah_core.mailbox")
    assert mail is not None
    assert tuple(mail) == (118, 1, "404")
    assert await db.fetchval("select count(*) from howdah_core.sink") == 0


async def test_only_one_cleans(dsn: str, db: Connection, worker: int) -> None:
    old = uuid.uuid4()
    await accept(db, worker, old, service=MAILER, key=None)
    await complete(db, worker, old, None)
    await db.execute(AGE)
    async with holding(dsn) as cleaner:
        assert await cleaner.fetchval(CLEAN) == 1
        assert await db.fetchval(CLEAN) == 0


async def test_what_is_being_purged_is_left_alone(dsn: str, db: Connection, worker: int) -> None:
    old = uuid.uuid4()
    await accept(db, worker, old, service=MAILER, key=None)
    await complete(db, worker, old, None)
    await db.execute(AGE)
    async with connected(dsn) as late:
        async with holding(dsn) as operator:
            assert await operator.fetchval("select howdah.purge($1)", old) == "done"
            assert await db.fetchval(CLEAN) == 0
            restarting = await while_it_waits(
                db, late, late.fetchval("select (howdah.restart_as_new($1)).result", old)
            )
        assert await restarting in {"unknown", "again"}
    assert await db.fetchval("select howdah.purge($1)", old) == "unknown"
    await assert_healthy(db)


async def test_what_is_being_restarted_is_not_removed(
    dsn: str, db: Connection, worker: int
) -> None:
    old = uuid.uuid4()
    await accept(db, worker, old, service=MAILER, key=None)
    await complete(db, worker, old, None)
    await db.execute(AGE)
    async with holding(dsn) as operator:
        await operator.fetchval("select howdah.restart_as_new($1)", old)
        assert await db.fetchval(CLEAN) == 0

    assert await db.fetchval(CLEAN) == 1
    await assert_healthy(db)


async def test_a_key_that_is_being_taken_stays_when_its_last_invocation_is_removed(
    dsn: str, db: Connection, worker: int
) -> None:
    old, new = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, old)
    await complete(db, worker, old)
    await db.execute(f"{AGE}; delete from howdah_core.state")
    async with holding(dsn) as lane:
        await accept(lane, worker, new)
        assert await db.fetchval(CLEAN) == 0
    assert await db.fetchval(CLEAN) == 1

    assert await db.fetchval("select holder from howdah_core.keylock") == new
    await assert_healthy(db)


async def test_a_batch_that_loses_a_key_it_found_there_is_refused_whole(
    dsn: str, db: Connection, worker: int
) -> None:
    """It waits for the key z after it saw that the key k is there; k goes meanwhile."""
    old, news = uuid.uuid4(), [uuid.uuid4(), uuid.uuid4()]
    await accept(db, worker, old)
    await complete(db, worker, old)
    await db.execute(f"{AGE}; delete from howdah_core.state")
    async with connected(dsn) as lane:
        async with holding(dsn) as other:
            await other.execute("insert into howdah_core.keylock (service, key) values (1, 'z')")
            accepting = await while_it_waits(db, lane, accept(lane, worker, *news, keys=["k", "z"]))
            assert await db.fetchval(CLEAN) == 1
        with pytest.raises(asyncpg.LockNotAvailableError, match="a key was removed"):
            await accepting
        await accept(lane, worker, *news, keys=["k", "z"])

    rows = await db.fetch("select key, holder from howdah_core.keylock order by key")
    assert [tuple(row) for row in rows] == [("k", news[0]), ("z", news[1])]
    await assert_healthy(db)


async def test_a_batch_that_loses_a_promise_it_found_there_is_refused_whole(
    dsn: str, db: Connection, worker: int
) -> None:
    old, waiter = uuid.uuid4(), uuid.uuid4()
    await db.execute("update howdah_core.service set kind = 'workflow' where name = 'Seat'")
    await accept(db, worker, old)
    await complete(db, worker, old)
    await db.execute(
        f"{AGE}; delete from howdah_core.state;"
        "insert into howdah_core.promise (service, key, name) values (1, 'k', 'p')"
    )
    await accept(db, worker, waiter, key="w")
    asks: dict[str, Any] = {
        "u_id": [waiter],
        "u_epoch": [1],
        "u_final": [""],
        "r_u": [1, 1],
        "r_kind": [14, 14],
        "r_cid": [1, 2],
        "r_service": [1, 1],
        "r_key": ["k", "z"],
        "r_name": ["p", "p"],
        "r_target": [None, None],
        "r_value": [None, None],
        "r_detail": [None, None],
    }
    async with connected(dsn) as lane:
        async with holding(dsn) as other:
            await other.execute(
                "insert into howdah_core.promise (service, key, name) values (1, 'z', 'p')"
            )
            asking = await while_it_waits(db, lane, commit(lane, worker, **asks))
            assert await db.fetchval(CLEAN) == 1
        with pytest.raises(asyncpg.LockNotAvailableError, match="a promise was removed"):
            await asking
    assert await db.fetchval("select count(*) from howdah_core.promise_waiter") == 0


async def test_a_request_that_finds_a_key_being_deleted_makes_it_again(
    dsn: str, db: Connection, worker: int
) -> None:
    old, new = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, old)
    await complete(db, worker, old)
    await db.execute(f"{AGE}; delete from howdah_core.state")
    async with connected(dsn) as lane:
        async with holding(dsn) as cleaner:
            assert await cleaner.fetchval(CLEAN) == 1
            accepting = await while_it_waits(db, lane, accept(lane, worker, new))
        await accepting

    row = await db.fetchrow("select holder, tail from howdah_core.keylock")
    assert row is not None
    assert tuple(row) == (new, 1)
    assert await status(db, new) == "running"
    await assert_healthy(db)


# Against the attempts of one worker.


async def test_an_attempt_that_was_lost_writes_nothing_when_its_worker_has_the_invocation_again(
    db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    await db.fetch("select * from howdah_core.reconcile($1, 1, 0, '{}', '{}')", worker)

    assert await append(db, worker, id_, 1) == [b"L"]
    assert letters(await suspend(db, worker, id_)) == [b"L"]
    assert letters(await complete(db, worker, id_)) == [b"L"]

    assert await status(db, id_) == "running"
    assert await db.fetchval("select count(*) from howdah_core.journal") == 0
    assert await db.fetchval("select count(*) from howdah_core.state") == 0
    await assert_healthy(db)
