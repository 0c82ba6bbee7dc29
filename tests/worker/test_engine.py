import asyncio
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    RunOptions,
    Service,
    TerminalError,
    VirtualObject,
    as_completed,
    gather,
    select,
    wait_completed,
)
from support.engines import (
    assert_healthy,
    call,
    result,
    running_engine,
    send,
    submission,
    until,
    until_true,
)

Database: TypeAlias = "asyncpg.Connection[Any]"
ALWAYS_SUSPEND: dict[str, Any] = {"inactivity_timeout": timedelta(0)}
FAST = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))


class Program:
    """Services for one test, with a record of what really ran."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.gate = asyncio.Event()
        self.failures = 0
        self.service = service = Service("Steps", invocation_retry_policy=FAST)
        self.counter = counter = VirtualObject("Counter", invocation_retry_policy=FAST)

        @service.handler()
        async def three(ctx: Context) -> list[int]:
            async def step(n: int) -> int:
                self.effects.append(f"step {n}")
                return n

            return [await ctx.run(f"step {n}", step, args=(n,)) for n in range(3)]

        @service.handler()
        async def echo(ctx: Context, text: str) -> str:
            return text

        @service.handler()
        async def wait_for_gate(ctx: Context) -> str:
            async def wait() -> str:
                await self.gate.wait()
                return "open"

            return await ctx.run("gate", wait)

        @service.handler()
        async def calls(ctx: Context, n: int) -> list[str]:
            futures = [ctx.service_call(echo, arg=str(i)) for i in range(n)]
            return [await future for future in await gather(*futures)]

        @service.handler()
        async def race(ctx: Context) -> str:
            gate = ctx.service_call(wait_for_gate, arg=None)
            name, _ = await select(gate=gate, timeout=ctx.sleep(timedelta(milliseconds=30)))
            return str(name)

        @service.handler()
        async def order(ctx: Context) -> list[str]:
            slow = ctx.sleep(timedelta(milliseconds=60))
            fast = ctx.service_call(echo, arg="fast")
            done, pending = await wait_completed(slow, fast)
            found = [str(len(done)), str(len(pending))]
            async for future in as_completed(slow, fast):
                found.append("slow" if future is slow else "fast")
            return found

        @service.handler()
        async def nap(ctx: Context, milliseconds: int) -> None:
            await ctx.sleep(timedelta(milliseconds=milliseconds), name="nap")

        @service.handler()
        async def refuse(ctx: Context) -> None:
            raise TerminalError("no such thing", 404, {"thing": "x"})

        @service.handler()
        async def calls_refuse(ctx: Context) -> str:
            try:
                await ctx.service_call(refuse, arg=None)
            except TerminalError as error:
                return f"{error.status_code} {error.message} {error.metadata}"
            return "?"

        @service.handler()
        async def fails_twice(ctx: Context) -> int:
            await ctx.run("before", lambda: self.effects.append("before"))
            self.failures += 1
            if self.failures < 3:
                raise ValueError(f"failure {self.failures}")
            return self.failures

        @service.handler(
            invocation_retry_policy=InvocationRetryPolicy(
                initial_interval=timedelta(milliseconds=1), max_attempts=2
            )
        )
        async def always_fails(ctx: Context) -> None:
            raise ValueError("never \x00 works")

        @service.handler()
        async def step_fails(ctx: Context) -> str:
            def broken() -> str:
                self.effects.append("try")
                raise OSError("broken")

            try:
                options = RunOptions[str](
                    max_attempts=3, initial_retry_interval=timedelta(milliseconds=1)
                )
                return await ctx.run_typed("broken", broken, options)
            except TerminalError as error:
                return error.message

        @service.handler()
        async def unserializable(ctx: Context) -> object:
            return object()

        @service.handler()
        async def same_every_time(ctx: Context) -> list[object]:
            first = [ctx.random().random(), str(ctx.uuid()), await ctx.time()]
            await ctx.sleep(timedelta(milliseconds=5))
            return [*first, ctx.request().id]

        @counter.handler()
        async def add(ctx: ObjectContext, n: int) -> int:
            value = (await ctx.get("n", type_hint=int) or 0) + n
            ctx.set("n", value)
            return value

        @counter.handler()
        async def add_slowly(ctx: ObjectContext, n: int) -> int:
            value = await ctx.get("n", type_hint=int) or 0
            await ctx.sleep(timedelta(milliseconds=10))
            ctx.set("n", value + n)
            return value + n

        @counter.handler(kind="shared")
        async def read(ctx: ObjectSharedContext) -> dict[str, int | None]:
            return {name: await ctx.get(name, type_hint=int) for name in await ctx.state_keys()}

        @counter.handler()
        async def reset(ctx: ObjectContext) -> None:
            ctx.set("other", 1)
            ctx.clear_all()
            ctx.set("n", 0)

        @counter.handler()
        async def set_then_fail(ctx: ObjectContext) -> None:
            ctx.set("n", 42)
            raise TerminalError("after set")

        @service.handler()
        async def add_once(ctx: Context, key: str) -> list[str]:
            one = ctx.object_call(add, key=key, arg=1, idempotency_key="only")
            two = ctx.object_call(add, key=key, arg=1, idempotency_key="only")
            sent = ctx.object_send(add, key=key, arg=1, idempotency_key="only")
            ids = {await one.invocation_id(), await two.invocation_id(), await sent.invocation_id()}
            return [str(len(ids)), str(await one), str(await two)]

        @service.handler()
        async def send_later(ctx: Context, key: str) -> str:
            handle = ctx.object_send(add, key=key, arg=5, send_delay=timedelta(milliseconds=50))
            return await handle.invocation_id()

        @service.handler()
        async def in_order(ctx: Context, key: str) -> list[int]:
            ctx.object_send(add, key=key, arg=1)
            second = ctx.object_call(add, key=key, arg=10)
            ctx.object_send(add, key=key, arg=100)
            return [await second, await ctx.object_call(add, key=key, arg=1000)]

    @property
    def services(self) -> list[Service | VirtualObject]:
        return [self.service, self.counter]


@pytest.fixture(params=[{}, ALWAYS_SUSPEND], ids=["resident", "always-suspend"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


async def test_steps_are_recorded_and_executed_once(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/three") == [0, 1, 2]

    assert program.effects == ["step 0", "step 1", "step 2"]
    types = await db.fetch("select type from howdah.journal order by index")
    assert [row[0] for row in types] == [
        "input", "run", "run completed", "run", "run completed", "run", "run completed", "output",
    ]  # fmt: skip
    await assert_healthy(db)


async def test_calls_return_in_order_however_they_complete(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/calls", 30) == [str(n) for n in range(30)]
    await assert_healthy(db)


async def test_a_timeout_wins_over_what_never_comes(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/race") == "timeout"
        program.gate.set()
        await until(db, "select count(*) = 0 from howdah_core.live")
    await assert_healthy(db)


async def test_wait_completed_and_as_completed_follow_the_journal(
    dsn: str, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/order") == ["1", "1", "fast", "slow"]


async def test_a_terminal_error_reaches_the_caller_with_its_facts(
    dsn: str, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        outcome = await call(engine, "Steps/refuse")
        through = await result(engine, "Steps/calls_refuse")

    assert (outcome.outcome, outcome.code, outcome.message) == ("failed", 404, "no such thing")
    assert outcome.metadata == {"thing": "x"}
    assert through == "404 no such thing {'thing': 'x'}"


async def test_a_failing_attempt_is_retried_without_repeating_its_steps(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/fails_twice") == 3

    assert program.effects == ["before"]
    assert await db.fetchval("select last_failure from howdah.invocations") == (
        "[500] ValueError: failure 2"
    )


async def test_retries_that_are_used_up_pause_the_invocation_and_somebody_is_told(
    dsn: str, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    program = Program()
    async with running_engine(dsn, program.services) as engine:
        accepted = await send(engine, "Steps/always_fails")
        await until(db, "select status = 'paused' from howdah.invocations")
        await until_true(lambda: not engine.residents)

    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.message == "an invocation is paused: its attempts are used up"
    assert vars(error)["invocation_id"] == str(accepted.id)

    row = await db.fetchrow("select attempts, last_failure, waiting_for from howdah.invocations")
    assert row is not None
    assert tuple(row)[:2] == (2, "[500] ValueError: never \ufffd works")
    assert row["waiting_for"].startswith("an operator")


async def test_a_step_that_fails_for_good_is_a_terminal_error(
    dsn: str, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert "broken" in await result(engine, "Steps/step_fails")
    assert program.effects == ["try"] * 3


async def test_a_result_that_cannot_be_written_fails_clearly(dsn: str) -> None:
    program = Program()
    async with running_engine(dsn, program.services) as engine:
        outcome = await call(engine, "Steps/unserializable")
    assert outcome.code == 500
    assert "can't be written" in (outcome.message or "")


async def test_random_uuid_and_time_are_the_same_on_replay(dsn: str, db: Database) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **ALWAYS_SUSPEND) as engine:
        values = await result(engine, "Steps/same_every_time")
    assert len(values) == 4
    assert await db.fetchval("select attempts > 1 from howdah.invocations")


async def test_sleeping_holds_no_slot_and_never_ends_early(dsn: str, db: Database) -> None:
    program = Program()
    async with running_engine(dsn, program.services, max_resident=10) as engine:
        for _ in range(50):
            await send(engine, "Steps/nap", 4_000)
        await until(db, "select count(*) = 50 from howdah.invocations where status = 'suspended'")
        assert len(engine.residents) == 0
        assert await result(engine, "Steps/echo", "not delayed") == "not delayed"
        await until(db, "select count(*) = 0 from howdah_core.live")
    assert await db.fetchval(
        "select bool_and(duration >= interval '4 s') from howdah.journal where type = 'sleep'"
    )
    await assert_healthy(db)


async def test_a_key_has_one_writer_and_serves_in_order(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        values = await asyncio.gather(
            *(result(engine, "Counter/k/add_slowly", 1) for _ in range(20))
        )
    assert values == list(range(1, 21))
    assert await db.fetchval("select value from howdah.state where name = 'n'") == "20"
    await assert_healthy(db)


async def test_state_is_read_shared_cleared_and_kept_after_a_failure(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        await result(engine, "Counter/a/add", 3)
        assert await result(engine, "Counter/a/read") == {"n": 3}
        await result(engine, "Counter/a/reset")
        assert await result(engine, "Counter/a/read") == {"n": 0}
        assert (await call(engine, "Counter/a/set_then_fail")).outcome == "failed"
        assert await result(engine, "Counter/a/read") == {"n": 42}
        assert await result(engine, "Counter/b/read") == {}
    await assert_healthy(db)


async def test_an_idempotency_key_yields_one_invocation(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        first, second = await asyncio.gather(
            result(engine, "Counter/k/add", 1, idempotency_key="x"),
            result(engine, "Counter/k/add", 1, idempotency_key="x"),
        )
        third = await result(engine, "Counter/k/add", 1, idempotency_key="x")
        assert (first, second, third) == (1, 1, 1)
        assert await result(engine, "Steps/add_once", "other") == ["1", "1", "1"]
        again = await engine.accept(
            submission(engine, "Counter/k/add", 1, idempotency_key="x", wait=False)
        )
        assert not again.is_new
        await until(db, "select count(*) = 0 from howdah_core.live")
    await assert_healthy(db)


async def test_a_delayed_send_waits_outside_the_key(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        sent = await result(engine, "Steps/send_later", "k")
        assert await result(engine, "Counter/k/add", 1) == 1
        await until(db, "select count(*) = 0 from howdah_core.live")
    row = await db.fetchrow(
        "select output, started_at >= scheduled_at from howdah.invocations where id::text = $1",
        sent,
    )
    assert row is not None
    assert tuple(row) == ("6", True)
    await assert_healthy(db)


async def test_sends_and_calls_of_one_handler_arrive_in_the_order_made(
    dsn: str, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/in_order", "k") == [11, 1111]


async def test_values_that_postgres_refuses_harm_nobody_else(dsn: str, db: Database) -> None:
    program = Program()
    async with running_engine(dsn, program.services) as engine:
        bad = submission(engine, "Counter/k\x00/add", 1)
        good = asyncio.gather(*(result(engine, "Counter/k/add", 1) for _ in range(5)))
        with pytest.raises(asyncpg.PostgresError):
            await engine.accept(bad)
        assert await good == [1, 2, 3, 4, 5]
    await assert_healthy(db)


async def test_changed_code_is_reported_and_the_journal_is_unharmed(dsn: str, db: Database) -> None:
    def version(name: str) -> tuple[Service, list[str]]:
        service = Service("Changing", invocation_retry_policy=FAST)

        @service.handler()
        async def go(ctx: Context) -> None:
            await ctx.run(name, lambda: None)
            await ctx.sleep(timedelta(seconds=3))

        return service, []

    old, _ = version("old name")
    async with running_engine(dsn, [old]) as engine:
        await send(engine, "Changing/go")
        await until(db, "select status = 'suspended' from howdah.invocations")
        await engine.drain()
    new, _ = version("new name")
    async with running_engine(dsn, [new]) as engine:
        failure = await until(db, "select last_failure from howdah.invocations")
        await engine.drain()
    assert "old name" in failure
    assert "new name" in failure
    async with running_engine(dsn, [old]):
        await until(db, "select status = 'completed' from howdah.invocations")
    await assert_healthy(db)
