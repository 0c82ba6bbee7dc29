"""What an attempt does when its lease is taken away by an operator, and what its caller sees.

The operations go to the database directly, so that no hint tells the process: it finds out by
itself, at the worst moment.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import Cancelled, Context, DurableFuture, Service, TerminalError, gather
from howdah.store.wakeups import channel_of
from howdah.worker.engine import Accepted, Engine
from support.engines import assert_healthy, running_engine, send, submission, until, until_true

Database: TypeAlias = "asyncpg.Connection[Any]"

OPERATE = "select result from howdah_core.operate($1, $2)"
CALLEE = "select id from howdah.invocations where handler = 'answer' and status = 'running'"


class Program:
    """A caller whose callee ends when the test says so, in the same moment as a step of its own."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.step_may_end = asyncio.Event()
        self.began = 0
        self.service = service = Service("Taken")

        @service.handler()
        async def answer(ctx: Context) -> str:
            self.began += 1
            await self.may_end.wait()
            return f"answer {self.began}"

        async def wait() -> str:
            await self.may_end.wait()
            return "step"

        async def wait_longer() -> str:
            await self.step_may_end.wait()
            return "last step"

        @service.handler()
        async def ask(ctx: Context) -> list[str]:
            answered = ctx.service_call(answer, arg=None)
            step = ctx.run("step", wait)
            last = ctx.run("last step", wait_longer)
            return [await said(future) for future in await gather(answered, step, last)]


async def said(future: DurableFuture[str]) -> str:
    try:
        return await future
    except TerminalError as error:
        return f"{error.status_code} {error.message}"


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
async def engine(dsn: str, program: Program) -> AsyncIterator[Engine]:
    async with running_engine(dsn, [program.service]) as engine:
        yield engine


async def ask_and_take(engine: Engine, db: Database, program: Program, verb: str) -> Accepted:
    """Ask, take the callee's lease away, and let it end in the belief that it has it."""
    asked = await engine.accept(submission(engine, "Taken/ask"))
    callee = await until(db, CALLEE)
    attempt = engine.residents[callee]
    assert await db.fetchval(OPERATE, callee, verb) in ("done", "accepted")

    program.may_end.set()
    await until_true(lambda: engine.residents.get(callee) is not attempt)
    await engine.lane.settled()
    return asked


async def outcome_of(asked: Accepted) -> Any:
    assert asked.outcome is not None
    return await asyncio.wait_for(asked.outcome, 20)


async def test_a_caller_does_not_see_the_end_of_a_callee_that_was_paused_before_it(
    engine: Engine, db: Database, program: Program
) -> None:
    asked = await ask_and_take(engine, db, program, "pause")

    assert await db.fetchval("select count(*) from howdah_core.journal where kind = 105") == 0
    callee = await db.fetchval("select id from howdah.invocations where status = 'paused'")
    assert await engine.operate("resume", callee) == "done"
    program.step_may_end.set()
    outcome = await outcome_of(asked)

    assert outcome.value == b'["answer 2","step","last step"]'
    await assert_healthy(db)


async def test_a_caller_sees_that_its_callee_was_killed_and_not_what_it_would_have_answered(
    engine: Engine, db: Database, program: Program
) -> None:
    asked = await ask_and_take(engine, db, program, "kill")
    program.step_may_end.set()
    outcome = await outcome_of(asked)

    assert outcome.value == b'["409 killed","step","last step"]'
    await assert_healthy(db)


async def test_a_late_word_that_a_lease_was_taken_does_not_end_the_attempt_that_has_it_again(
    engine: Engine, db: Database, program: Program
) -> None:
    sent = await send(engine, "Taken/answer")
    await until_true(lambda: program.began == 1)
    first = engine.residents[sent.id]
    assert await engine.operate("pause", sent.id) == "accepted"
    await until_true(lambda: sent.id not in engine.residents)
    assert await engine.operate("resume", sent.id) == "done"
    await until_true(lambda: program.began == 2)

    await db.execute("select pg_notify($1, $2)", channel_of(engine.worker_no), f"k:{sent.id}")
    # Words are heard in order: when this one was acted on, so was the one before.
    other = await send(engine, "Taken/answer")
    await until_true(lambda: program.began == 3)
    taken = await db.fetchval(OPERATE, other.id, "kill")
    await db.execute("select pg_notify($1, $2)", channel_of(engine.worker_no), f"k:{other.id}")
    await until_true(lambda: other.id not in engine.residents)

    assert taken == "done"
    assert engine.residents[sent.id] is not first
    program.may_end.set()
    await until(db, "select status = 'completed' from howdah.invocations where id = $1", sent.id)
    await assert_healthy(db)


async def test_who_claims_what_it_executes_already_ends_that_attempt(
    dsn: str, db: Database
) -> None:
    """Its lease was taken and given back, and nobody told this process."""
    service, told = Service("Again"), []

    @service.handler()
    async def go(ctx: Context) -> None:
        async def wait() -> None:
            told.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                told.append("ended")

        await ctx.run("wait", wait)

    async with running_engine(dsn, [service]) as engine:
        sent = await send(engine, "Again/go")
        await until(db, "select count(*) = 1 from howdah_core.journal")
        # Nor does it write anything by which it would learn it.
        for verb in ("pause", "resume"):
            await db.execute(OPERATE, sent.id, verb)
        engine.claiming.poll.now.set()
        await until_true(lambda: len(told) == 3)
        assert sorted(told[1:]) == ["begun", "ended"]
    await assert_healthy(db)


async def test_a_step_that_is_cancelled_before_it_begins_has_an_end(dsn: str, db: Database) -> None:
    service, effects = Service("Late"), []
    proceed = asyncio.Event()

    @service.handler()
    async def go(ctx: Context) -> list[str]:
        await proceed.wait()
        step = ctx.run("step", lambda: effects.append("ran"))
        heard = []
        for _ in range(2):
            try:
                await step
            except Cancelled:
                heard.append("cancelled")
            except TerminalError as error:
                heard.append(error.message)
        return heard

    async with running_engine(dsn, [service]) as engine:
        asked = await engine.accept(submission(engine, "Late/go"))
        assert await engine.operate("cancel", asked.id) == "accepted"
        await until(db, "select count(*) = 1 from howdah_core.journal where kind = 150")
        await engine.lane.settled()
        proceed.set()
        outcome = await outcome_of(asked)

    assert outcome.value == b'["cancelled","step \'step\' was cancelled"]'
    assert effects == []
    await assert_healthy(db)
