"""Large values travel beside the commit lane: nobody else waits for them, and nothing overtakes them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import pytest

from howdah import Context, ObjectContext, Service, VirtualObject, gather
from howdah.errors import StoreUnavailable
from howdah.machine.entries import Kind, signal_cid
from howdah.service import AnyService
from howdah.store.lane import LARGE_BYTES
from howdah.store.units import Mail
from howdah.testing import crash_everywhere
from howdah.worker.engine import Engine
from support import postgres
from support.engines import assert_healthy, result, running_engine, send, until, until_true
from support.holding import held

T = TypeVar("T")
Database: TypeAlias = "asyncpg.Connection[Any]"

SIZE = 4 * LARGE_BYTES
TEXT = "x" * SIZE
IS_LARGE = f"octet_length(new.value) > {LARGE_BYTES}"
IS_LARGE_REQUEST = f"octet_length(new.input) > {LARGE_BYTES}"
ROWS = "select array_agg(index order by index) from howdah.journal where invocation_id = $1"


class Program:
    def __init__(self) -> None:
        self.service = service = Service("Large")
        self.shelf = shelf = VirtualObject("Shelf")
        self.may_go_on = asyncio.Event()
        self.may_end = asyncio.Event()
        self.executed: list[str] = []

        @service.handler()
        async def step(ctx: Context) -> int:
            text = await ctx.run("large", self.large)
            await ctx.run("after", self.small)
            return len(text)

        @service.handler()
        async def both(ctx: Context) -> list[int]:
            futures = await gather(ctx.run("large", self.large), ctx.run("small", self.small))
            return [len(await future) for future in futures]

        @service.handler()
        async def fetch(ctx: Context) -> int:
            text = await ctx.object_call(take, "k")
            await ctx.run("after", self.small)
            return len(text)

        @service.handler()
        async def beside(ctx: Context) -> list[int]:
            call = ctx.object_call(put, "k", "text")
            futures = await gather(ctx.run("large", self.large_or_slow), call)
            return [len(await future) for future in futures]

        @service.handler()
        async def measure(ctx: Context, text: str) -> int:
            return len(text)

        @service.handler()
        async def listen(ctx: Context) -> int:
            return len(await ctx.signal("word", type_hint=str))

        @service.handler()
        async def quick(ctx: Context) -> str:
            return await ctx.run("quick", lambda: "quick")

        @shelf.handler()
        async def take(ctx: ObjectContext) -> str:
            ctx.set("text", TEXT)
            return TEXT

        @shelf.handler()
        async def put(ctx: ObjectContext, text: str) -> str:
            await ctx.run("small", self.small)
            ctx.set("text", text)
            return text

        self.services: list[AnyService] = [service, shelf]
        self.step = step
        self.fetch = fetch

    async def large(self) -> str:
        self.executed.append("large")
        return TEXT

    async def large_or_slow(self) -> str:
        """Large at once, or when it is executed again, for as long as the test wants."""
        if self.executed:
            await self.may_end.wait()
        return await self.large()

    async def small(self) -> str:
        await self.may_go_on.wait()
        self.executed.append("small")
        return "small"


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
async def engine(dsn: str, db: Database, program: Program) -> AsyncIterator[Engine]:
    async with running_engine(dsn, program.services) as running:
        yield running
    await assert_healthy(db)


async def bounded(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, 20)


async def cut(db: Database) -> None:
    """Break the connection whose transaction is held."""
    held_by = "select array_agg(pid) from pg_locks where not granted"
    ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid = any($1)"
    assert await db.fetchval(ended, await db.fetchval(held_by)) == 1


def word(target: UUID) -> Mail:
    """A large signal."""
    return Mail(target, Kind.SIGNAL, signal_cid("word"), f'"{TEXT}"'.encode(), None, "word")


async def quick(engine: Engine) -> str:
    said: str = await bounded(result(engine, "Large/quick"))
    return said


async def test_others_go_on_while_a_large_result_is_written(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    program.may_go_on.set()
    async with held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold:
        asked = await send(engine, "Large/step")
        await hold.reached()
        for _ in range(3):
            assert await quick(engine) == "quick"
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == str(SIZE).encode()


async def test_what_an_attempt_writes_next_waits_for_its_large_value(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    async with held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold:
        asked = await send(engine, "Large/both")
        await hold.reached()
        before = await db.fetchval(ROWS, asked.id)
        program.may_go_on.set()
        await until_true(lambda: "small" in program.executed)
        assert await quick(engine) == "quick"
        assert await db.fetchval(ROWS, asked.id) == before
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == f"[{SIZE},5]".encode()
    assert await db.fetchval(ROWS, asked.id) == [0, 1, 2, 3, 4, 5]


async def test_others_go_on_while_a_large_request_is_written(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    async with held(dsn, db, "insert on howdah_core.invocation", IS_LARGE_REQUEST) as hold:
        first = asyncio.create_task(result(engine, "Large/measure", TEXT))
        await hold.reached()
        second = asyncio.create_task(result(engine, "Large/measure", TEXT + "y"))
        assert await quick(engine) == "quick"
        assert not first.done()
        assert not second.done()
    assert await bounded(first) == SIZE
    assert await bounded(second) == SIZE + 1


async def test_others_go_on_while_a_large_signal_is_written(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    listening = await send(engine, "Large/listen")
    async with held(dsn, db, "insert on howdah_core.mailbox", IS_LARGE) as hold:
        told = asyncio.create_task(engine.deliver(word(listening.id)))
        await hold.reached()
        assert await quick(engine) == "quick"
        assert not told.done()
    await bounded(told)
    outcome = await bounded(engine.attach(listening.id))
    assert outcome.value == str(SIZE).encode()


async def test_a_large_outcome_and_its_callers_completion_are_one_commit(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    program.may_go_on.set()
    async with held(dsn, db, "insert on howdah_core.outcome", IS_LARGE) as hold:
        asked = await send(engine, "Large/fetch")
        await hold.reached()
        assert await quick(engine) == "quick"
        assert await db.fetchval("select count(*) from howdah_core.state") == 0
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == str(SIZE).encode()
    assert await db.fetchval("select octet_length(value) from howdah_core.state") == SIZE + 2


async def test_a_large_value_whose_connection_breaks_is_written_again(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    async with held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold:
        asked = await send(engine, "Large/both")
        await hold.reached()
        # What it would write next must not be written without what came before.
        program.may_go_on.set()
        await until_true(lambda: "small" in program.executed)
        await cut(db)
        assert await quick(engine) == "quick"
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == f"[{SIZE},5]".encode()
    assert await quick(engine) == "quick"
    assert program.executed.count("large") == 2


async def test_what_is_tied_to_a_large_value_goes_on_when_its_connection_breaks(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    async with held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold:
        asked = await send(engine, "Large/beside")
        await hold.reached()
        # The callee's end is tied to its caller, whose large value is on its way.
        program.may_go_on.set()
        await until_true(lambda: "small" in program.executed)
        await until_true(lambda: engine.lane._units and not engine.lane._wanted.is_set())
        await cut(db)
        # The caller executes its step again and writes nothing meanwhile.
        await until(db, "select exists (select from howdah.state where service = 'Shelf')")
        program.may_end.set()
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == f"[{SIZE},4]".encode()


async def test_nothing_of_an_attempt_is_sent_while_it_is_not_known_what_holds(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    async with held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold:
        asked = await send(engine, "Large/both")
        await hold.reached()
        async with engine.lane.turn:  # so that it cannot ask the database yet
            program.may_go_on.set()
            await until_true(lambda: engine.lane._units)
            await cut(db)
            await until_true(lambda: engine.lane._unknown)
            assert not engine.lane._take()
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == f"[{SIZE},5]".encode()


async def test_a_lost_lane_cuts_off_what_is_beside_it(
    dsn: str, db: Database, engine: Engine, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("howdah.store.lane.LANDING_SECONDS", 0.01)  # less than it is held for
    program.may_go_on.set()
    async with held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold:
        asked = await send(engine, "Large/step")
        await hold.reached()
        lane = "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        lane += " where application_name = 'howdah lane' and datname = current_database()"
        assert await db.fetchval(lane) == 1
        noticed = asyncio.create_task(quick(engine))
        # It must not land after it was given up: the attempt begins again, from its journal.
        await until_true(lambda: program.executed.count("large") == 2)
        assert await noticed == "quick"
    outcome = await bounded(engine.attach(asked.id))
    assert outcome.value == str(SIZE).encode()


async def test_who_sent_a_large_signal_is_told_when_a_process_stops_that_does_not_know(
    dsn: str, db: Database, engine: Engine
) -> None:
    listening = await send(engine, "Large/listen")
    async with held(dsn, db, "insert on howdah_core.mailbox", IS_LARGE) as hold:
        told = asyncio.create_task(engine.deliver(word(listening.id)))
        await hold.reached()
        async with engine.lane.turn:  # so that it cannot ask the database yet
            await cut(db)
            await until_true(lambda: engine.lane._unknown)
            await engine.stop()
        with pytest.raises(StoreUnavailable):
            await bounded(told)


async def test_who_made_a_large_request_is_told_when_a_process_stops_that_asks(
    dsn: str, db: Database, engine: Engine
) -> None:
    worker_no = engine.worker_no
    async with held(dsn, db, "insert on howdah_core.invocation", IS_LARGE_REQUEST) as hold:
        asked = asyncio.create_task(send(engine, "Large/measure", TEXT))
        await hold.reached()
        await db.execute("select pg_advisory_lock_shared(1, $1)", worker_no)
        await cut(db)
        await until_true(lambda: engine.recovery.is_running and not engine.lane._unknown)
        stopping = asyncio.create_task(engine.stop())
        with pytest.raises(StoreUnavailable):
            await bounded(asked)
        await db.execute("select pg_advisory_unlock_shared(1, $1)", worker_no)
        await bounded(stopping)


async def test_large_values_go_through_the_lane_when_there_is_no_second_connection(
    dsn: str, db: Database, engine: Engine, program: Program
) -> None:
    program.may_go_on.set()
    engine.lane._beside._dsn = "postgresql://127.0.0.1:1/nobody"
    assert await bounded(result(engine, "Large/step")) == SIZE
    assert await bounded(result(engine, "Large/measure", TEXT)) == SIZE
    assert program.executed == ["large", "small"]


async def test_a_stop_waits_for_no_large_value(dsn: str, db: Database, program: Program) -> None:
    async with (
        held(dsn, db, "insert on howdah_core.journal", IS_LARGE) as hold,
        running_engine(dsn, program.services) as engine,
    ):
        asked = await send(engine, "Large/step")
        await hold.reached()
        async with asyncio.timeout(10):
            await engine.stop()
    program.may_go_on.set()
    async with running_engine(dsn, program.services) as engine:
        outcome = await bounded(engine.attach(asked.id))
        assert outcome.value == str(SIZE).encode()
    await assert_healthy(db)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["step", "fetch"])
async def test_a_crash_around_a_large_value_changes_nothing(
    program: Program, postgres_server: postgres.Server, name: str
) -> None:
    program.may_go_on.set()
    report = await crash_everywhere(
        getattr(program, name),
        services=program.services,
        database_url=postgres_server.dsn("postgres"),
    )
    assert report.result == SIZE
