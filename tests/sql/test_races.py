"""Forced interleavings of the SQL functions: one side holds its locks in an open transaction."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import pytest

from support.engines import assert_healthy, until
from support.holding import held

Connection: TypeAlias = "asyncpg.Connection[Any]"

COMMIT = """select what, id, n from howdah_core.commit_batch(
  $1, $2, '{}', '{}', '{}', 1000000, false, false, $3, $4, $5, '{}', '{}',
  '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
  $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, '{}', '{}',
  '{}', '{}', '{}', '{}', '{}', '{}', '{}',
  '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
  '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
  $19, $20, $21, $22, $23, $24, '{}', '{}', '{}', '{}',
  '{}', '{}')"""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def worker(db: Connection) -> int:
    """A registered worker and an object 'Seat' with one exclusive handler, number 1 each."""
    await db.execute(
        """select howdah_core.register_deployment('d', '[{"name": "Seat", "kind": "object",
             "handlers": [{"name": "hold", "kind": "exclusive", "input_required": false,
               "is_public": true, "idempotency_retention_seconds": 60,
               "journal_retention_seconds": 60}]}]')"""
    )
    no: int = await db.fetchval(
        "select howdah_core.register_worker($1, 'h', 1, '{worker}', 10, 1, '0')", uuid.uuid4()
    )
    return no


async def accept(
    connection: Connection,
    worker: int,
    *ids: uuid.UUID,
    key: str = "k",
    idem: str | None = None,
    is_granted: bool = True,
) -> list[Any]:
    """Requests from outside for Seat/<key>/hold."""
    n = len(ids)
    return list(
        await connection.fetch(
            COMMIT,
            worker,
            1,
            [],
            [],
            [],
            [0] * n,
            list(ids),
            [1] * n,
            [1] * n,
            [key] * n,
            [True] * n,
            [None] * n,
            [b""] * n,
            [None] * n,
            [idem] * n,
            [None] * n,
            [is_granted] * n,
            [False] * n,
            [],
            [],
            [],
            [],
            [],
            [],
        )
    )


async def suspend(connection: Connection, worker: int, id_: uuid.UUID, cid: int) -> list[Any]:
    """Give a lease back, waiting for a completion."""
    return list(
        await connection.fetch(
            COMMIT,
            worker,
            1,
            [id_],
            [1],
            ["S"],
            *([[]] * 13),
            [1],
            ["suspended"],
            [None],
            [None],
            [f"{{{cid}}}"],
            [False],
        )
    )


async def is_blocked(db: Connection, other: Connection) -> None:
    """Wait until `other` waits for a lock."""
    await until(db, "select cardinality(pg_blocking_pids($1)) > 0", other.get_server_pid())


async def test_mail_that_is_being_delivered_is_never_slept_through(
    dsn: str, db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    async with connected(dsn) as deliverer:
        async with deliverer.transaction():
            await deliverer.execute("select from howdah_core.live where id = $1 for share", id_)
            await deliverer.execute(
                "insert into howdah_core.mailbox (id, kind, cid, at) values ($1, 105, 1, now())",
                id_,
            )
            deferred = await suspend(db, worker, id_, 1)
        assert [row["what"] for row in deferred] == [b"B"]
        ready = await suspend(db, worker, id_, 1)

    assert [row["what"] for row in ready] == [b"R"]
    assert await db.fetchval("select status from howdah_core.live") == "ready"


async def test_other_mail_does_not_wake(db: Connection, worker: int) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    await suspend(db, worker, id_, 1)
    await db.execute(
        "insert into howdah_core.mailbox (id, kind, cid, at) values ($1, 105, 2, now())", id_
    )

    assert await db.fetch("select * from howdah_core.wake($1)", [id_]) == []
    await db.execute(
        "insert into howdah_core.mailbox (id, kind, cid, at) values ($1, 105, 1, now())", id_
    )
    assert len(await db.fetch("select * from howdah_core.wake($1)", [id_])) == 1


@pytest.mark.parametrize("by", ["claim", "reconcile"])
async def test_a_signal_that_comes_while_others_are_taken_into_the_journal_is_kept(
    dsn: str, db: Connection, worker: int, by: str
) -> None:
    id_ = uuid.uuid4()
    await accept(db, worker, id_)
    if by == "claim":
        await suspend(db, worker, id_, 1)
        await db.execute("update howdah_core.live set status = 'ready', run_at = now()")
    await db.execute("select howdah.signal($1, 'word', '1')", id_)
    async with connected(dsn) as taker:
        async with held(dsn, db, "insert on howdah_core.journal", "new.kind = 150") as hold:
            taking = asyncio.create_task(
                taker.fetch(
                    "select what from howdah_core.claim($1, 1, '{1}', '{1}', '{1}', 0, 10)"
                    if by == "claim"
                    else "select what from howdah_core.reconcile($1, 1, 0, '{}', '{}')",
                    worker,
                )
            )
            await hold.reached()
            # Whoever sends a signal in SQL locks nothing.
            await db.execute("select howdah.signal($1, 'word', '2')", id_)
        taken = await taking

    assert [row["what"] for row in taken].count(b"J") == 1
    journal = await db.fetch("select value from howdah_core.journal order by idx")
    mailbox = await db.fetch("select value from howdah_core.mailbox order by seq")
    assert [row["value"] for row in (*journal, *mailbox)] == [b"1", b"2"]


async def test_a_key_that_is_being_taken_has_one_holder_and_an_order(
    dsn: str, db: Connection, worker: int
) -> None:
    first, second, third = (uuid.uuid4() for _ in range(3))
    async with connected(dsn) as slow, connected(dsn) as late:
        transaction = slow.transaction()
        await transaction.start()
        await accept(slow, worker, first)
        waiting = asyncio.create_task(accept(late, worker, second, third))
        await is_blocked(db, late)
        await transaction.commit()
        rows = await waiting

    assert rows == []
    assert await db.fetchval("select holder from howdah_core.keylock") == first
    inbox = await db.fetch("select id from howdah_core.inbox order by seq")
    assert [row[0] for row in inbox] == [second, third]
    await assert_healthy(db)


async def test_an_idempotency_key_that_is_being_taken_is_attached_to(
    dsn: str, db: Connection, worker: int
) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    async with connected(dsn) as slow, connected(dsn) as late:
        transaction = slow.transaction()
        await transaction.start()
        await accept(slow, worker, first, idem="x")
        waiting = asyncio.create_task(accept(late, worker, second, idem="x"))
        await is_blocked(db, late)
        await transaction.commit()
        rows = await waiting

    assert [(row["what"], row["id"]) for row in rows if row["what"] == b"D"] == [(b"D", second)]
    assert await db.fetchval("select count(*) from howdah_core.invocation") == 1
    await assert_healthy(db)


async def test_a_batch_in_flight_is_waited_out_by_the_fence_and_later_ones_are_refused(
    dsn: str, db: Connection, worker: int
) -> None:
    id_ = uuid.uuid4()
    async with connected(dsn) as zombie, connected(dsn) as fencer:
        transaction = zombie.transaction()
        await transaction.start()
        await accept(zombie, worker, id_)
        fencing = asyncio.create_task(fencer.fetchval("select howdah_core.fence($1, 0)", worker))
        await is_blocked(db, fencer)
        await transaction.commit()
        assert await fencing

        refused = await accept(zombie, worker, uuid.uuid4(), key="other")

    assert [row["what"] for row in refused] == [b"F"]
    assert await db.fetchval("select count(*) from howdah_core.invocation") == 1


async def test_a_worker_that_beat_meanwhile_is_not_fenced(db: Connection, worker: int) -> None:
    seen = await db.fetchval("select beat from howdah_core.worker")
    await db.fetchval("select howdah_core.beat($1)", worker)

    assert not await db.fetchval("select howdah_core.fence($1, $2)", worker, seen)


CALLS = {
    "append": "select what from howdah_core.append_batch($1, 1,"
    " array(select id from howdah_core.live where status = 'running'), '{1}', '{1}', '{1}', '{3}', '{1}',"
    " '{step}', '{null}', '{null}', '{null}')",
    "claim": "select what from howdah_core.claim($1, 1, '{1}', '{1}', '{1}', 0, 10)",
    "promote": "select q from howdah_core.promote($1, 1, 10)",
    "reconcile": "select what from howdah_core.reconcile($1, 1, 0, '{}', '{}')",
}


async def reply(connection: Connection, worker: int, call: str) -> list[Any]:
    """The rows of one call, by generation 1."""
    if call == "commit":
        return await accept(connection, worker, uuid.uuid4(), key="third")
    return list(await connection.fetch(CALLS[call], worker))


LIVE = "select id, status, worker, epoch from howdah_core.live order by id"


@pytest.mark.parametrize("call", ["commit", *CALLS])
@pytest.mark.parametrize("ended", ["next_generation($1) = 2", "fence($1, 0)"])
@pytest.mark.parametrize("when", ["afterwards", "meanwhile"])
async def test_what_an_old_connection_or_a_fenced_worker_still_sends_is_refused(
    dsn: str, db: Connection, worker: int, call: str, ended: str, when: str
) -> None:
    running, ready = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, running)
    await accept(db, worker, ready, key="other", is_granted=False)
    await db.execute("select howdah.send('Seat', 'hold', key => 'due')")
    before = await db.fetch(LIVE)
    async with connected(dsn) as late, connected(dsn) as ending:
        transaction = ending.transaction()
        await transaction.start()
        assert await ending.fetchval(f"select howdah_core.{ended}", worker)
        if when == "afterwards":
            await transaction.commit()
        sending = asyncio.create_task(reply(late, worker, call))
        if when == "meanwhile":
            await is_blocked(db, late)
            await transaction.commit()
        rows = await sending

    assert [row[0] for row in rows] == ([] if call == "promote" else [b"F"])
    assert await db.fetch(LIVE) == before
    assert await db.fetchval("select count(*) from howdah_core.journal") == 0


@pytest.mark.parametrize(
    "by", ["next_generation($1)", "reconcile($1, 1, 0, '{}', '{}')", "fence($1, 0)"]
)
async def test_a_claim_in_flight_is_waited_out(
    dsn: str, db: Connection, worker: int, by: str
) -> None:
    """Its reply may be lost: whoever asks what this worker holds must see it."""
    id_ = uuid.uuid4()
    await accept(db, worker, id_, is_granted=False)
    async with connected(dsn) as lost, connected(dsn) as asking:
        transaction = lost.transaction()
        await transaction.start()
        await lost.fetch(CALLS["claim"], worker)
        asked = asyncio.create_task(asking.fetch(f"select * from howdah_core.{by}", worker))
        await is_blocked(db, asking)
        await transaction.commit()
        rows = await asked

    if by.startswith("reconcile"):
        assert [(row["id"], row["epoch"]) for row in rows if row["what"] == b"I"] == [(id_, 2)]


@pytest.mark.parametrize("call", ["commit", *CALLS])
async def test_stricter_isolation_is_refused(db: Connection, worker: int, call: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
        async with db.transaction(isolation="repeatable_read"):
            await reply(db, worker, call)
