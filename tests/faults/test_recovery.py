"""When a process does not know what it holds, it asks the database before it does anything else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import Context, ObjectContext, Service, VirtualObject
from howdah.errors import StoreUnavailable
from howdah.store.batch import APPEND_BATCH, COMMIT_BATCH
from howdah.store.registry import LOAD_REGISTRY
from howdah.worker.claiming import CLAIM
from howdah.worker.recovery import NEXT_GENERATION, RECONCILE
from howdah.worker.sweeping import SWEEP
from support.engines import assert_healthy, result, running_engine, send, submission, until_true

Database: TypeAlias = "asyncpg.Connection[Any]"


class Calls:
    """What an engine asks the database, and what is kept from it."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._lost: set[str] = set()
        self.bugs: set[str] = set()

    def __call__(self, statement: str) -> None:
        self.statements.append(statement)
        if statement in self.bugs:
            self.bugs.discard(statement)
            raise RuntimeError("nobody foresaw this")
        if statement in self._lost:
            raise StoreUnavailable(doing="asking the database")

    @contextmanager
    def losing(self, statement: str) -> Iterator[None]:
        """Let a kind of call fail as if its connection was gone."""
        self._lost.add(statement)
        yield
        self._lost.discard(statement)


async def test_nothing_is_committed_while_leases_are_compared(dsn: str, db: Database) -> None:
    service, calls = Service("Quick"), Calls()

    @service.handler()
    async def go(ctx: Context) -> str:
        return "gone"

    async with running_engine(dsn, [service], calls) as engine:
        worker_no = engine.worker_no
        await db.execute("select pg_advisory_lock_shared(1, $1)", worker_no)
        engine.recovery.on_doubt()
        await until_true(lambda: NEXT_GENERATION in calls.statements)
        calls.statements.clear()
        asked = asyncio.create_task(engine.accept(submission(engine, "Quick/go")))
        await until_true(lambda: not engine.lane.is_settled)
        await db.execute("select pg_advisory_unlock_shared(1, $1)", worker_no)
        accepted = await asyncio.wait_for(asked, 20)
        assert accepted.outcome is not None
        outcome = await asyncio.wait_for(accepted.outcome, 20)
    assert outcome.value == b'"gone"'
    # What a batch grants while leases are compared would be found by the comparison, and begun twice.
    assert calls.statements.index(RECONCILE) < calls.statements.index(COMMIT_BATCH)
    await assert_healthy(db)


@pytest.mark.parametrize("statement", [COMMIT_BATCH, APPEND_BATCH, CLAIM, SWEEP])
async def test_an_error_that_nobody_foresaw_ends_no_loop(
    dsn: str, db: Database, statement: str
) -> None:
    service, calls = Service("Sturdy"), Calls()

    @service.handler()
    async def go(ctx: Context) -> str:
        await ctx.run("step", lambda: None)
        await ctx.run("another", lambda: None)
        return "gone"

    async with running_engine(dsn, [service], calls) as engine:
        assert await result(engine, "Sturdy/go") == "gone"
        calls.bugs.add(statement)
        id_ = await db.fetchval("select howdah.send('Sturdy', 'go')")
        outcome = await asyncio.wait_for(engine.attach(id_), 20)
        assert outcome.value == b'"gone"'
        await until_true(lambda: not calls.bugs)
        assert await result(engine, "Sturdy/go") == "gone"
    await assert_healthy(db)


def line(*handlers: str) -> tuple[VirtualObject, asyncio.Event]:
    """A version of an object with these handlers; the first holds its key until it may end."""
    service, may_end = VirtualObject("Line"), asyncio.Event()

    async def wait(ctx: ObjectContext) -> str:
        await may_end.wait()
        return "waited"

    async def second(ctx: ObjectContext) -> str:
        return "second"

    for name, fn in {"first": wait, "second": second}.items():
        if name in handlers:
            service.handler(name)(fn)
    return service, may_end


async def test_a_key_that_is_handed_to_a_handler_nobody_here_knows_goes_on_elsewhere(
    dsn: str, db: Database
) -> None:
    (old, may_end), (new, _), calls = line("first"), line("first", "second"), Calls()
    async with running_engine(dsn, [old], calls) as one:
        with calls.losing(LOAD_REGISTRY):
            await send(one, "Line/k/first")
            async with running_engine(dsn, [new]) as two:
                asked = await send(two, "Line/k/second")
            assert await db.fetchval("select count(*) from howdah_core.inbox") == 1
            may_end.set()
            await until_true(lambda: not one.residents and one.recovery.is_running)
        assert await result(one, "Line/other/first") == "waited"
        async with running_engine(dsn, [new]) as two:
            outcome = await asyncio.wait_for(two.attach(asked.id), 20)
    assert outcome.value == b'"second"'
    await assert_healthy(db)
