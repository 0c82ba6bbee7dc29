"""Nothing begins before its reason is on disk: steps wait for what the handler was shown before them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from howdah import Context, InvocationRetryPolicy, Service, blocking
from howdah.worker.engine import Engine
from support.engines import assert_healthy, running_engine, send, submission, until, until_true
from support.holding import held

Database: TypeAlias = "asyncpg.Connection[Any]"

FIRST_RESULT = "new.kind = 103 and new.cid = 1"


class Program:
    """Two steps, one on the strength of the other, in each kind of handler."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.service = service = Service("Steps")

        def begin(name: str) -> Callable[[], str]:
            def step() -> str:
                self.began.append(name)
                return name

            return step

        @service.handler()
        async def as_coroutine(ctx: Context) -> list[str]:
            return [
                await ctx.run("first", begin("first")),
                await ctx.run("second", begin("second")),
            ]

        @service.handler()
        async def quick(ctx: Context) -> None:
            pass

        @service.handler(
            invocation_retry_policy=InvocationRetryPolicy(max_attempts=1, on_max_attempts="pause")
        )
        async def refused(ctx: Context) -> None:
            await ctx.run("first", begin("first"))
            ctx.service_send(quick, None, headers={"bad": "\x00"})
            await ctx.run("second", begin("second"))

        @service.handler()
        def in_a_thread(ctx: blocking.Context) -> list[str]:
            return [ctx.run("first", begin("first")), ctx.run("second", begin("second"))]

        @service.handler()
        def begun_in_a_thread(ctx: blocking.Context) -> list[str]:
            first = ctx.begin.run("first", begin("first")).result()
            return [first, ctx.begin.run("second", begin("second")).result()]


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
async def engine(dsn: str, db: Database, program: Program) -> AsyncIterator[Engine]:
    async with running_engine(dsn, [program.service], drain_timeout=timedelta(0)) as engine:
        yield engine
        await assert_healthy(db)


@pytest.mark.parametrize("handler", ["as_coroutine", "in_a_thread", "begun_in_a_thread"])
async def test_a_step_begins_after_the_commit_of_the_result_before_it(
    dsn: str, db: Database, engine: Engine, program: Program, handler: str
) -> None:
    async with held(dsn, db, "insert on howdah_core.journal", FIRST_RESULT) as hold:
        asked = await engine.accept(submission(engine, f"Steps/{handler}"))
        await hold.reached()
        # The handler had its turn: it wants to go on with the second step.
        await until_true(lambda: engine.residents[asked.id].machine.next_cid == 3)
        assert program.began == ["first"]
        await hold.let_go()
    assert asked.outcome is not None
    outcome = await asyncio.wait_for(asked.outcome, 20)
    assert msgspec.json.decode(outcome.value) == ["first", "second"]
    assert program.began == ["first", "second"]


async def test_a_step_that_waits_for_what_the_database_refuses_never_begins(
    db: Database, engine: Engine, program: Program
) -> None:
    free = engine.free_slots()
    await send(engine, "Steps/refused")
    await until(db, "select status = 'paused' from howdah.invocations where handler = 'refused'")
    await until_true(lambda: not engine.residents)
    assert program.began == ["first"]
    assert engine.free_slots() == free
    rest = "select count(*) from howdah.journal where index > 0 and name is distinct from 'first'"
    assert await db.fetchval(rest) == 0


@pytest.mark.parametrize("handler", ["as_coroutine", "in_a_thread"])
async def test_a_step_that_waits_for_a_commit_is_left_to_whoever_comes_after_a_drain(
    dsn: str, db: Database, engine: Engine, program: Program, handler: str
) -> None:
    async with held(dsn, db, "insert on howdah_core.journal", FIRST_RESULT) as hold:
        asked = await engine.accept(submission(engine, f"Steps/{handler}"))
        await hold.reached()
        await until_true(lambda: engine.residents[asked.id].machine.next_cid == 3)
        engine.serve_nothing()  # what it gives back is not taken again here
        engine.residents[asked.id].release()
        await hold.let_go()
        await until_true(lambda: not engine.residents)
        assert program.began == ["first"]
    await engine.drain()
    async with running_engine(dsn, [program.service]) as other:
        outcome = await asyncio.wait_for(other.attach(asked.id), 20)
    assert msgspec.json.decode(outcome.value) == ["first", "second"]
    assert program.began == ["first", "second"]
