"""The result of a step is shown before it is on disk; nothing outside may rest on it before it is."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeAlias, TypeVar

import asyncpg
import msgspec

from howdah import Context, Service, wait_completed
from howdah.errors import StoreUnavailable
from howdah.machine.entries import Kind, signal_cid
from howdah.store.batch import APPEND_BATCH, COMMIT_BATCH
from howdah.store.units import Mail
from support.engines import assert_healthy, running_engine, send, submission, until_true
from support.holding import held

Database: TypeAlias = "asyncpg.Connection[Any]"
T = TypeVar("T")


async def bounded(awaitable: Awaitable[T] | None) -> T:
    assert awaitable is not None
    return await asyncio.wait_for(awaitable, 20)


class Program:
    """Two steps, the second of which says what the first one gave."""

    def __init__(self) -> None:
        self.first = 0
        self.shown: list[int] = []
        self.executed: list[int] = []
        self.may_end = asyncio.Event()
        self.service = service = Service("Steps")

        async def first() -> int:
            self.first += 1
            return self.first

        async def second(given: int) -> str:
            self.executed.append(given)
            return f"second after {given}"

        @service.handler()
        async def two(ctx: Context) -> str:
            given = await ctx.run("first", first)
            self.shown.append(given)
            return await ctx.run("second", second, args=(given,))

        @service.handler()
        async def one(ctx: Context) -> int:
            given = await ctx.run("first", first)
            self.shown.append(given)
            return given

        async def wait() -> str:
            await self.may_end.wait()
            return "step"

        @service.handler()
        async def race(ctx: Context) -> list[str]:
            futures = {"signal": ctx.signal("word", type_hint=str), "step": ctx.run("wait", wait)}
            done, _ = await wait_completed(*futures.values())
            names = [name for name, future in futures.items() if future in done]
            self.shown.append(len(names))
            return names


RESULT = "new.kind = 103 and new.cid = 1"


async def test_a_step_waits_until_the_result_that_it_rests_on_is_on_disk(
    dsn: str, db: Database
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service]) as engine:
        async with held(dsn, db, "insert on howdah_core.journal", RESULT) as hold:
            asked = await engine.accept(submission(engine, "Steps/two"))
            await hold.reached()
            await until_true(lambda: program.shown)
            # The handler has gone on, but what it began outside has not begun.
            assert (program.shown, program.executed) == ([1], [])
        outcome = await bounded(asked.outcome)

    assert outcome.value == b'"second after 1"'
    assert program.executed == [1]
    await assert_healthy(db)


async def test_nobody_is_answered_before_the_result_that_the_answer_rests_on_is_on_disk(
    dsn: str, db: Database
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service]) as engine:
        async with held(dsn, db, "insert on howdah_core.journal", RESULT) as hold:
            asked = await engine.accept(submission(engine, "Steps/one"))
            await hold.reached()
            await until_true(lambda: program.shown)
            assert isinstance(asked.outcome, asyncio.Future)
            assert not asked.outcome.done()
        outcome = await bounded(asked.outcome)

    assert outcome.value == b"1"
    await assert_healthy(db)


async def test_a_step_does_not_rest_on_a_result_that_was_lost(dsn: str, db: Database) -> None:
    program = Program()
    losses = 0

    def lose_once(statement: str) -> None:
        nonlocal losses
        if statement in (APPEND_BATCH, COMMIT_BATCH) and program.shown and not losses:
            losses += 1
            raise StoreUnavailable(doing="testing what happens then")

    async with running_engine(dsn, [program.service], lose_once) as engine:
        asked = await engine.accept(submission(engine, "Steps/two"))
        outcome = await bounded(asked.outcome)

    assert losses == 1
    assert program.shown == [1, 2]
    assert program.executed == [2]
    assert outcome.value == b'"second after 2"'
    await assert_healthy(db)


async def test_a_result_is_not_shown_before_what_comes_before_it_in_the_journal(
    dsn: str, db: Database
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service]) as engine:
        sent = await send(engine, "Steps/race")
        await until_true(lambda: sent.id in engine.residents)
        async with held(dsn, db, "insert on howdah_core.journal", "new.kind = 150") as hold:
            body = msgspec.json.encode("hello")
            mail = Mail(sent.id, Kind.SIGNAL, signal_cid("word"), body, None, "word")
            await engine.deliver(mail)
            await hold.reached()
            program.may_end.set()
            attempt = engine.residents[sent.id]
            # The signal and the result, in this order, neither on disk.
            await until_true(lambda: attempt.uncommitted == 2)
            assert program.shown == []
        outcome = await bounded(engine.attach(sent.id))

    assert outcome.value == b'["signal"]'
    await assert_healthy(db)
