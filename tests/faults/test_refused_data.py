"""What Postgres refuses harms nobody but the one who wrote it, and takes nothing away for good."""

from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import Context, InvocationRetryPolicy, Service, TerminalError
from support.engines import assert_healthy, call, result, running_engine, until_true

Database: TypeAlias = "asyncpg.Connection[Any]"


class Unspeakable(Exception):
    """An error that can't even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS = {
    f"{where}: {what}": error
    for where in ("step", "final", "handler")
    for what, error in (
        ("half a pair", FileNotFoundError("\udcff.txt")),
        ("NUL", ValueError("a\x00b")),
        ("no words", Unspeakable()),
    )
}
ONCE = InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill")
FAST = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))


class Program:
    def __init__(self) -> None:
        self.attempts = 0
        self.service = service = Service("Refused", invocation_retry_policy=FAST)

        @service.handler()
        async def quick(ctx: Context) -> None:
            pass

        @service.handler(invocation_retry_policy=ONCE)
        async def refused(ctx: Context) -> None:
            ctx.service_send(quick, None, headers={"bad": "\x00"})

        @service.handler()
        async def asks(ctx: Context) -> str:
            try:
                await ctx.service_call(refused, None)
            except TerminalError as error:
                return error.message
            return "no error"

        @service.handler()
        async def fails(ctx: Context, how: str) -> str:
            def fail_first() -> str:
                self.attempts += 1
                if self.attempts == 1:
                    raise ERRORS[how]
                return "second attempt"

            if how.startswith("handler"):
                return fail_first()
            if how.startswith("step"):
                return await ctx.run("step", fail_first)
            try:
                return await ctx.run("step", fail_first, max_attempts=1)
            except TerminalError as ended:
                raise TerminalError(ended.message, metadata={"bad": "\x00"}) from None


async def test_a_caller_outlives_a_callee_whose_end_is_refused(dsn: str, db: Database) -> None:
    program = Program()
    async with running_engine(dsn, [program.service]) as engine:
        assert "can't store" in await result(engine, "Refused/asks")
        await until_true(lambda: not engine.residents)
        assert engine.free_slots() == engine.options.max_resident
    await assert_healthy(db)


@pytest.mark.parametrize("how", ERRORS)
async def test_whatever_an_error_says_of_itself_it_is_recorded(
    dsn: str, db: Database, how: str
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service]) as engine:
        outcome = await call(engine, "Refused/fails", how)
    if how.startswith("final"):
        assert outcome.outcome == "failed"
        assert "step 'step' failed" in (outcome.message or "")
        assert outcome.metadata == {"bad": "\ufffd"}
    else:
        assert outcome.value == b'"second attempt"'
        failure = await db.fetchval("select message from howdah_core.failure")
        assert type(ERRORS[how]).__name__ in failure
    await assert_healthy(db)
