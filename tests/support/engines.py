"""Engines for tests: the product's own, on the test's database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from howdah.options import Options
from howdah.service import AnyService
from howdah.store.units import Outcome
from howdah.worker.engine import Accepted, Engine, RemoteExecutor, Submission
from howdah.worker.local_attempt import LocalAttempt

BOUND_SECONDS = 20.0


@asynccontextmanager
async def running_engine(
    dsn: str,
    services: Sequence[AnyService],
    before_call: Callable[[str], None] | None = None,
    *,
    always_replay: bool = False,
    remote: RemoteExecutor | None = None,
    **options: Any,
) -> AsyncIterator[Engine]:
    """A started engine; stopped (not drained) at the end."""
    options.setdefault("drain_timeout", timedelta(seconds=5))
    engine = Engine(
        dsn=dsn,
        options=Options(**options),
        services=services,
        before_call=before_call,
        always_replay=always_replay,
        remote=remote,
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def resident(engine: Engine, id_: UUID) -> LocalAttempt:
    """The attempt that executes an invocation in this engine."""
    attempt = engine.residents[id_]
    assert isinstance(attempt, LocalAttempt)
    return attempt


def submission(engine: Engine, target: str, argument: Any = None, **facts: Any) -> Submission:
    """A request for 'Service/handler' or 'Object/key/handler' with a JSON argument."""
    service, *key, handler = target.split("/")
    row = engine.registry.service(service)
    assert row is not None
    return Submission(
        handler=row.handlers[handler],
        key=key[0] if key else None,
        body=b"" if argument is None else msgspec.json.encode(argument),
        headers=[],
        **facts,
    )


async def send(engine: Engine, target: str, argument: Any = None, **facts: Any) -> Accepted:
    """Accept a request without waiting for its outcome."""
    return await engine.accept(submission(engine, target, argument, wait=False, **facts))


async def call(engine: Engine, target: str, argument: Any = None, **facts: Any) -> Outcome:
    """Accept a request and wait for its outcome."""
    accepted = await engine.accept(submission(engine, target, argument, **facts))
    assert accepted.outcome is not None
    return await asyncio.wait_for(accepted.outcome, BOUND_SECONDS)


async def result(engine: Engine, target: str, argument: Any = None, **facts: Any) -> Any:
    """The value of a request that succeeds."""
    outcome = await call(engine, target, argument, **facts)
    assert outcome.outcome == "succeeded", outcome
    return msgspec.json.decode(outcome.value) if outcome.value else None


async def until(db: asyncpg.Connection[Any], query: str, *arguments: Any) -> Any:
    """Wait until a query's first column is true; the bound is in time, the condition is not."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            value = await db.fetchval(query, *arguments)
            if value:
                return value
            await asyncio.sleep(0.01)


async def fence(db: asyncpg.Connection[Any], worker_no: int) -> None:
    """Take a worker's right to write at once, as others do after its lease, and what it held."""
    async with asyncio.timeout(BOUND_SECONDS):
        fenced = "select fenced_at is not null from howdah_core.worker where no = $1"
        while not await db.fetchval(fenced, worker_no):
            beat = "select beat from howdah_core.worker where no = $1"
            try:
                await db.fetchval(
                    "select howdah_core.fence($1, $2)",
                    worker_no,
                    await db.fetchval(beat, worker_no),
                )
            except asyncpg.LockNotAvailableError:
                await db.fetchval("select howdah_core.terminate_holders($1)", worker_no)
    for row in await db.fetch("select * from howdah_core.reclaim(1000)"):
        await db.execute("select pg_notify('howdah_work', $1)", str(row["q"]))


async def crash(engine: Engine, db: asyncpg.Connection[Any]) -> None:
    """End an engine in the middle of whatever it does, as a kill would, and fence it.

    What it holds in memory is gone, nothing is given back, nobody is told.
    """
    await engine.loops.stop()
    engine.abandon_all()
    if engine.heartbeat is not None:
        await asyncio.to_thread(engine.heartbeat.stop)
    engine.lane.disconnect()
    worker_no, engine.worker_no = engine.worker_no, 0
    await engine.stop()
    await fence(db, worker_no)


async def until_true(condition: Callable[[], object]) -> None:
    """Wait until a condition of this process holds; bounded as `until`."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


async def assert_healthy(db: asyncpg.Connection[Any]) -> None:
    """No invariant is violated."""
    rows = await db.fetch("select * from howdah.check()")
    assert rows == [], [tuple(row) for row in rows]
