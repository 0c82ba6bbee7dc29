"""The threads of sync handlers: when they are short, hang, or outlive their attempt."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import Context, InvocationRetryPolicy, Service, VirtualObject, blocking
from howdah.errors import Interrupt, UsageError
from support.engines import assert_healthy, result, running_engine, send, until

Database: TypeAlias = "asyncpg.Connection[Any]"
FAST = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))
BOUND_SECONDS = 20.0
STATUS = "select status = $1 from howdah.invocations where handler = $2"


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something in this process is true."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


class Program:
    """Handlers that hold threads, and gates that let them go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.events: list[Any] = []
        self.leaked: list[blocking.ObjectContext] = []
        self.service = service = Service("Held", invocation_retry_policy=FAST)
        self.keyed = keyed = VirtualObject("Keyed", invocation_retry_policy=FAST)

        @service.handler()
        def chain(ctx: blocking.Context, depth: int) -> int:
            return 1 + ctx.service_call(chain, depth - 1) if depth else 0

        @service.handler()
        def echo(ctx: blocking.Context, n: int) -> int:
            return n

        @service.handler()
        async def call_chain(ctx: Context, depth: int) -> int:
            return 1 + await ctx.service_call(chain, depth)

        @service.handler()
        def sleep(ctx: blocking.Context) -> str:
            ctx.sleep(timedelta(seconds=30))
            return "rested"

        @service.handler()
        def begins_and_waits(ctx: blocking.Context) -> int:
            begun = ctx.begin.run("slow", self.gate.wait)
            quick = ctx.begin.service_call(echo, 1)
            blocking.gather(begun, quick)
            return quick.result()

        @service.handler()
        def hold(ctx: blocking.Context) -> str:
            self.reached.set()
            self.gate.wait()
            return "let go"

        @keyed.handler()
        def writes_late(ctx: blocking.ObjectContext) -> str:
            self.events.append("begun")
            if len(self.events) > 1:
                return "second"
            try:
                self.gate.wait()
                ctx.set("x", "zombie")
                ctx.run("zombie", lambda: self.events.append("zombie"))
            finally:
                try:
                    ctx.get("x")
                except Interrupt as interrupt:
                    self.events.append(type(interrupt).__name__)
            return "first"

        @keyed.handler()
        def steps_late(ctx: blocking.ObjectContext) -> str:
            self.events.append("begun")
            return str(ctx.run("step", self._step))

        @keyed.handler()
        def swallows(ctx: blocking.ObjectContext) -> str:
            try:
                ctx.sleep(timedelta(seconds=30))
            except BaseException:
                self.events.append("swallowed")
            for verb in (ctx.clear_all, lambda: ctx.set("x", 1), lambda: ctx.run("y", int)):
                try:
                    verb()
                except BaseException as error:
                    self.events.append(type(error).__name__)
            return "a result that nobody wants"

        @keyed.handler()
        def never_ends(ctx: blocking.ObjectContext) -> str:
            while not self.gate.is_set():
                try:
                    ctx.sleep(timedelta(seconds=30))
                except BaseException:
                    self.events.append("again")
            return "ended"

        @service.handler()
        def misuses(ctx: blocking.Context) -> list[str]:
            found = []

            def in_another_thread() -> None:
                try:
                    ctx.run("other", int)
                except UsageError as error:
                    found.append(str(error))

            thread = threading.Thread(target=in_another_thread)
            thread.start()
            thread.join()
            return [*found, ctx.run("a step", lambda: self._verb_in_step(ctx))]

        @keyed.handler()
        def leaks(ctx: blocking.ObjectContext) -> None:
            self.leaked.append(ctx)

        @service.handler()
        def mixes(ctx: blocking.Context) -> str:
            return str(blocking.gather(1, 2))  # type: ignore[arg-type]

    def _step(self) -> str:
        self.reached.set()
        self.gate.wait()
        return "done"

    @staticmethod
    def _verb_in_step(ctx: blocking.Context) -> str:
        try:
            ctx.sleep(timedelta(0))
        except UsageError as error:
            return str(error)
        return "?"

    @property
    def services(self) -> list[Service | VirtualObject]:
        return [self.service, self.keyed]


@pytest.fixture
def program() -> Any:
    """The program; what its handlers wait for is there in the end."""
    made = Program()
    yield made
    made.gate.set()


def handler_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("howdah handler")]


# Threads are short.


async def test_chains_deeper_than_there_are_threads(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(dsn, program.services, sync_threads_max=2) as engine:
        chains = [result(engine, "Held/chain", 5) for _ in range(8)]
        mixed = [result(engine, "Held/call_chain", 4) for _ in range(4)]
        assert await asyncio.gather(*chains, *mixed) == [5] * 12
        assert len(handler_threads()) <= 2
    await assert_healthy(db)


@pytest.mark.parametrize("threads", [1, 2])
async def test_as_many_callers_as_there_may_be(
    dsn: str, db: Database, program: Program, threads: int
) -> None:
    async with running_engine(dsn, program.services, sync_threads_max=threads) as engine:
        callers = [result(engine, "Held/chain", 1) for _ in range(64)]
        assert await asyncio.gather(*callers) == [1] * 64
    await assert_healthy(db)


async def test_who_only_waits_gives_its_thread_up(dsn: str, db: Database, program: Program) -> None:
    async with running_engine(
        dsn, program.services, sync_threads_max=1, inactivity_timeout=timedelta(hours=1)
    ) as engine:
        await send(engine, "Held/sleep")
        await until(db, "select count(*) = 1 from howdah_core.journal where kind = 4")
        began = time.monotonic()
        assert await result(engine, "Held/echo", 1) == 1
        assert time.monotonic() - began < 5
        assert await db.fetchval(STATUS, "suspended", "sleep")
    await assert_healthy(db)


async def test_who_waits_for_a_step_of_its_own_keeps_its_thread(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(dsn, program.services, sync_threads_max=1) as engine:
        waits = asyncio.ensure_future(result(engine, "Held/begins_and_waits"))
        # Its callee needs the only thread, which is not free before the step has ended.
        await eventually(lambda: engine.handler_threads.is_short)
        program.gate.set()
        assert await waits == 1
    await assert_healthy(db)


async def test_a_drain_gives_back_what_waits_for_a_thread(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(dsn, program.services, sync_threads_max=1) as engine:
        await send(engine, "Held/hold")
        await eventually(program.reached.is_set)
        await send(engine, "Held/echo", 7)
        await eventually(lambda: engine.handler_threads.is_short)
        drain = asyncio.ensure_future(engine.drain())
        await until(db, STATUS, "ready", "echo")
        assert not drain.done()
        program.gate.set()
        await drain
        assert await db.fetchval(STATUS, "completed", "hold")
    await assert_healthy(db)


async def test_threads_end_with_their_engine(dsn: str, program: Program) -> None:
    async with running_engine(dsn, program.services) as engine:
        await asyncio.gather(*(result(engine, "Held/chain", 2) for _ in range(3)))
        await send(engine, "Held/sleep")
        assert handler_threads()
    await eventually(lambda: not handler_threads())


# Threads that outlive their attempt.


async def test_a_thread_that_hangs_at_the_drain_cannot_write(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(
        dsn, program.services, drain_timeout=timedelta(milliseconds=200), sync_threads_max=1
    ) as engine:
        await send(engine, "Keyed/k/writes_late")
        await eventually(lambda: program.events)
        began = time.monotonic()
        await engine.drain()
        assert time.monotonic() - began < 5
        assert await db.fetchval(STATUS, "ready", "writes_late")
        async with running_engine(dsn, program.services):
            await until(db, STATUS, "completed", "writes_late")
        # It has its thread still, though nobody else could use it.
        assert not engine.handler_threads.has_room
        program.gate.set()
        await eventually(lambda: engine.handler_threads.has_room)
    assert program.events == ["begun", "begun", "Suspended"]
    assert await db.fetchval("select output from howdah.invocations") == '"second"'
    assert await db.fetchval("select count(*) from howdah.state") == 0
    await assert_healthy(db)


@pytest.mark.parametrize("handler", ["writes_late", "steps_late"])
async def test_a_fenced_worker_writes_nothing_from_its_threads(
    dsn: str, db: Database, program: Program, handler: str
) -> None:
    async with running_engine(dsn, program.services, lease=timedelta(seconds=2)) as engine:
        first_no = engine.worker_no
        await send(engine, f"Keyed/k/{handler}")
        await eventually(lambda: program.events)
        beat = await db.fetchval("select beat from howdah_core.worker where no = $1", first_no)
        while not await db.fetchval("select howdah_core.fence($1, $2)", first_no, beat):
            beat = await db.fetchval("select beat from howdah_core.worker where no = $1", first_no)
        await eventually(lambda: program.events[1:2] == ["begun"])
        program.gate.set()
        await until(db, STATUS, "completed", handler)
        await eventually(lambda: handler == "steps_late" or len(program.events) > 2)
        assert engine.worker_no != first_no
    assert "zombie" not in program.events
    assert program.events[2:] == (["AttemptAbandoned"] if handler == "writes_late" else [])
    assert await db.fetchval("select count(*) from howdah.state") == 0
    await assert_healthy(db)


async def test_who_catches_the_end_writes_nothing_and_is_reported(
    dsn: str, db: Database, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "howdah"):
        async with running_engine(
            dsn, program.services, inactivity_timeout=timedelta(0), sync_threads_max=1
        ) as engine:
            await send(engine, "Keyed/k/swallows")
            await until(db, STATUS, "suspended", "swallows")
            await eventually(lambda: engine.handler_threads.has_room)
    assert program.events == ["swallowed", *["Suspended"] * 3]
    assert [record.message for record in caplog.records] == [
        "a handler caught the end of its attempt; let BaseException pass"
    ]
    assert await db.fetchval("select max(index) from howdah.journal") == 1
    assert await db.fetchval("select count(*) from howdah.state") == 0
    await assert_healthy(db)


async def test_who_catches_the_end_for_ever_is_slowed_down_and_reported(
    dsn: str, db: Database, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_engine(dsn, program.services, inactivity_timeout=timedelta(0)) as engine:
        await send(engine, "Keyed/k/never_ends")
        await until(db, STATUS, "suspended", "never_ends")
        await eventually(lambda: "goes on after the end" in caplog.text)
        count = len(program.events)
        assert await result(engine, "Held/echo", 1) == 1
        await asyncio.sleep(0.5)
        assert len(program.events) - count < 20
        program.gate.set()
        await eventually(lambda: "caught the end" in caplog.text)


async def test_a_handler_that_reaches_no_verb_is_given_up(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(
        dsn,
        program.services,
        inactivity_timeout=timedelta(milliseconds=100),
        abort_timeout=timedelta(seconds=1),
        sync_threads_max=1,
    ) as engine:
        await send(engine, "Held/hold")
        await eventually(program.reached.is_set)
        # Its next attempt queues for the thread that the first one holds, which is no failure.
        await until(db, "select last_failure like '%no verb%' from howdah.invocations")
        await eventually(lambda: engine.handler_threads.is_short)
        await asyncio.sleep(2)
        assert await db.fetchval("select attempts from howdah.invocations") == 2
        program.gate.set()
        await until(db, STATUS, "completed", "hold")
    await assert_healthy(db)


# Mistakes.


async def test_verbs_belong_to_the_handlers_thread(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(dsn, program.services) as engine:
        elsewhere, in_step = await result(engine, "Held/misuses")
        assert "outside the handler's thread" in elsewhere
        assert "ctx.begin" in elsewhere
        assert "inside a step" in in_step
        await result(engine, "Keyed/k/leaks")
        with pytest.raises(UsageError, match="after the handler ended"):
            program.leaked[0].set("x", 1)
        await send(engine, "Held/mixes")
        await until(
            db, "select last_failure like '%takes futures of ctx.begin%' from howdah.invocations"
            " where handler = 'mixes'",
        )  # fmt: skip
    await assert_healthy(db)
