"""What needs a row that somebody has locked is sent again: it takes along what was written meanwhile,
nothing of it is begun before, and nobody else waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from howdah import Context, ObjectContext, Service, VirtualObject
from howdah.service import AnyService
from howdah.store.batch import COMMIT_BATCH
from howdah.worker.engine import Accepted, Engine
from support.engines import assert_healthy, result, running_engine, send, until_true
from support.holding import held

Database: TypeAlias = "asyncpg.Connection[Any]"

# Nobody is suspended within the test's bound.
STAYING: dict[str, Any] = {"inactivity_timeout": timedelta(minutes=5)}


class Program:
    """Handlers that tell a target, which the test locks; and what they began outside."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.may_tell, self.may_end = asyncio.Event(), asyncio.Event()
        self.service = service = Service("Service")
        self.shelf = shelf = VirtualObject("Shelf")
        self.services: list[AnyService] = [service, shelf]

        @service.handler()
        async def listen(ctx: Context) -> str:
            return await ctx.signal("word", type_hint=str)

        @service.handler()
        async def effect(ctx: Context) -> None:
            self.effects.append("effect")

        @service.handler()
        async def wait(ctx: Context) -> str:
            await self.may_end.wait()
            return "waited"

        @service.handler()
        async def quick(ctx: Context) -> str:
            return "quick"

        @service.handler()
        async def tell_and_send(ctx: Context, target: str) -> None:
            ctx.resolve_signal(target, "word", "hello")
            ctx.service_send(effect, arg=None)

        @service.handler()
        async def tell_and_wait(ctx: Context, target: str) -> str:
            waited = ctx.service_call(wait, arg=None)
            await self.may_tell.wait()
            ctx.resolve_signal(target, "word", "hello")
            return await waited

        @shelf.handler()
        async def tell_and_replace(ctx: ObjectContext, target: str) -> str:
            ctx.set("old", 1)
            await ctx.run("may tell", self.may_tell.wait)
            ctx.resolve_signal(target, "word", "hello")
            await ctx.run("may end", self.may_end.wait)
            ctx.clear_all()
            ctx.set("new", 2)
            await ctx.run("after", lambda: self.effects.append("after"))
            return "replaced"

        @shelf.handler()
        async def touch(ctx: ObjectContext) -> str:
            return "touched"


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
async def engine(dsn: str, db: Database, program: Program) -> AsyncIterator[Engine]:
    async with running_engine(dsn, program.services, **STAYING) as running:
        yield running
    await assert_healthy(db)


@asynccontextmanager
async def locked(dsn: str, id_: UUID) -> AsyncIterator[None]:
    """Somebody's transaction holds an invocation's row."""
    somebody = await asyncpg.connect(dsn)
    try:
        async with somebody.transaction():
            await somebody.execute("select from howdah_core.live where id = $1 for update", id_)
            yield
    finally:
        await somebody.close()


@asynccontextmanager
async def on_its_way(
    dsn: str, db: Database, engine: Engine, program: Program, attempt_of: Accepted, target: UUID
) -> AsyncIterator[None]:
    """Let a handler tell a target that is locked; its unit is on its way, and will come back."""
    attempt = engine.residents[attempt_of.id]
    await engine.lane.settled()
    async with (
        locked(dsn, target),
        held(dsn, db, "insert on howdah_core.invocation") as hold,
    ):
        async with engine.lane.turn:  # both go with one batch
            program.may_tell.set()
            beside = asyncio.create_task(send(engine, "Service/quick"))
            await until_true(lambda: attempt.unit is not None and attempt.unit.mail)
            await until_true(lambda: engine.lane._accepts)
        await hold.reached()
        yield
        await until_true(lambda: attempt.unit is not None and attempt.unit.is_queued)
    await asyncio.wait_for(beside, 20)


async def value(engine: Engine, accepted: Accepted) -> Any:
    return (await asyncio.wait_for(engine.attach(accepted.id), 20)).value


async def test_what_was_written_meanwhile_goes_with_it(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    target = await send(engine, "Service/listen")
    asked = await send(engine, "Shelf/k/tell_and_replace", str(target.id))
    await until_true(lambda: asked.id in engine.residents)
    async with on_its_way(dsn, db, engine, program, asked, target.id):
        program.may_end.set()

    assert await value(engine, asked) == b'"replaced"'
    assert await value(engine, target) == b'"hello"'
    state = await db.fetch("select name, value from howdah_core.state")
    assert [tuple(row) for row in state] == [("new", b"2")]
    assert program.effects == ["after"]


async def test_what_became_tied_to_it_meanwhile_stays_tied(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    target = await send(engine, "Service/listen")
    asked = await send(engine, "Service/tell_and_wait", str(target.id))
    await until_true(lambda: len(engine.residents) == 3)
    async with on_its_way(dsn, db, engine, program, asked, target.id):
        program.may_end.set()

    assert await value(engine, asked) == b'"waited"'
    assert await value(engine, target) == b'"hello"'


async def test_whom_it_calls_does_not_begin_before_it_is_written(
    dsn: str, engine: Engine, program: Program
) -> None:
    target = await send(engine, "Service/listen")
    await engine.lane.settled()
    async with locked(dsn, target.id):
        asked = await send(engine, "Service/tell_and_send", str(target.id))
        attempt = engine.residents[asked.id]
        await until_true(lambda: attempt._finishing is not None and attempt._finishing.refusals > 2)
        assert program.effects == []
        assert await result(engine, "Service/quick") == "quick"

    assert await value(engine, target) == b'"hello"'
    await until_true(lambda: not engine.residents)
    assert program.effects == ["effect"]
    assert engine.free_slots() == engine.options.max_resident


async def test_a_request_for_a_key_that_somebody_keeps_locked_is_not_refused(
    dsn: str, db: Database, program: Program
) -> None:
    calls: list[str] = []
    async with running_engine(dsn, program.services, calls.append) as engine:
        assert await result(engine, "Shelf/k/touch") == "touched"
        calls.clear()
        async with db.transaction():
            await db.execute("select from howdah_core.keylock for update")
            asked = asyncio.create_task(result(engine, "Shelf/k/touch"))
            # It waits for a second, and is sent again.
            await until_true(lambda: calls.count(COMMIT_BATCH) >= 2)
            assert not asked.done()
        assert await asyncio.wait_for(asked, 20) == "touched"
    await assert_healthy(db)
