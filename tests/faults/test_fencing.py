"""Who is fenced, and when: by what an observer saw unchanged, on its own clock, and nothing else."""

import uuid
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah.store.database import Database
from howdah.worker import fencing as module
from howdah.worker.fencing import DISCONNECTED_SECONDS, GAP_SECONDS, Fencing
from support.engines import until, until_true

Connection: TypeAlias = "asyncpg.Connection[Any]"

LEASE_SECONDS = 10.0
OWN = 1
OTHER = 2
FENCED = "select fenced_at is not null from howdah_core.worker where no = $1"


class Clock:
    """The observer's monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
async def observer(dsn: str, db: Connection, clock: Clock) -> AsyncIterator[Fencing]:
    """Worker 1's view of worker 2, which beat an hour ago, on a connection that is there."""
    for _ in (OWN, OTHER):
        await db.execute(
            "select howdah_core.register_worker($1, 'h', 1, '{worker}', 10, null, '0')",
            uuid.uuid4(),
        )
    await beat(db)
    await db.execute("update howdah_core.worker set beat_at = beat_at - interval '1 h'")
    database = Database(dsn)
    await database.open()
    try:
        yield Fencing(database, LEASE_SECONDS)
    finally:
        await database.close()


async def beat(connection: Connection) -> None:
    await connection.execute("select howdah_core.beat($1)", OTHER)


async def watch(observer: Fencing, clock: Clock, seconds: float) -> int:
    """Look once a second for so long; returns how many were fenced."""
    count = 0
    for _ in range(round(seconds)):
        count += await observer.run_once(OWN)
        clock.now += 1.0
    return count


async def test_a_worker_is_fenced_that_was_seen_unchanged_for_a_lease(
    db: Connection, observer: Fencing, clock: Clock
) -> None:
    assert await watch(observer, clock, LEASE_SECONDS) == 0
    assert await watch(observer, clock, 1) == 1
    assert await db.fetchval(FENCED, OTHER)
    assert not await db.fetchval(FENCED, OWN)


async def test_a_worker_that_beats_is_not_fenced(
    db: Connection, observer: Fencing, clock: Clock
) -> None:
    for _ in range(5):
        assert await watch(observer, clock, LEASE_SECONDS - 1) == 0
        await beat(db)


@pytest.mark.parametrize("how", ["a pause", "a failure"])
async def test_nobody_is_fenced_for_what_the_observer_did_not_see(
    observer: Fencing, clock: Clock, how: str
) -> None:
    """It was stopped for a while, or the database was away for all of them."""
    await watch(observer, clock, LEASE_SECONDS)
    if how == "a pause":
        clock.now += GAP_SECONDS
    else:
        observer.forget()
    assert await watch(observer, clock, LEASE_SECONDS) == 0
    assert await watch(observer, clock, 1) == 1


async def test_a_worker_whose_connection_ended_is_fenced_sooner(
    dsn: str, db: Connection, observer: Fencing, clock: Clock
) -> None:
    connection = await asyncpg.connect(dsn)
    await beat(connection)
    await watch(observer, clock, 2)
    pid = connection.get_server_pid()
    await connection.close()
    await until(db, "select not exists (select from pg_stat_activity where pid = $1)", pid)

    assert await watch(observer, clock, DISCONNECTED_SECONDS + 1) == 1


async def test_a_stopped_worker_in_an_open_transaction_does_not_keep_its_lease(
    dsn: str, db: Connection, observer: Fencing, clock: Clock
) -> None:
    stopped = await asyncpg.connect(dsn)
    transaction = stopped.transaction()
    await transaction.start()
    await stopped.execute("select pg_advisory_xact_lock_shared(1, $1)", OTHER)

    assert await watch(observer, clock, LEASE_SECONDS + 1) == 1
    await until_true(stopped.is_closed)
    assert await db.fetchval(FENCED, OTHER)
