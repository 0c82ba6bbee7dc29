"""Forced interleavings of what arrives with what happens to the one it is for.

One side is held inside its transaction, by a trigger that waits for the test, while the other side
runs to its end or is made to wait for the first. A held batch may be given up by its lock timeout
and sent again; then it is held again, and the order is the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import pytest

from howdah import (
    Cancelled,
    Context,
    ObjectContext,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)
from howdah.errors import StoreUnavailable
from howdah.ids import awakeable_id
from howdah.machine.entries import AWAKEABLE_FIRST, CANCEL, Kind, signal_cid
from howdah.service import AnyService
from howdah.store.units import Delivery, Mail
from howdah.worker.delivering import READ_MAIL
from howdah.worker.engine import Engine
from support.engines import assert_healthy, resident, running_engine, send, until, until_true
from support.holding import held

Database: TypeAlias = "asyncpg.Connection[Any]"
T = TypeVar("T")


async def bounded(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, 20)


class Program:
    """Handlers whose ends the test decides."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.service = service = Service("Service")
        self.line = line = VirtualObject("Line")
        self.flow = flow = Workflow("Flow")

        @line.handler()
        async def first(ctx: ObjectContext) -> str:
            await ctx.run("wait", self.wait)
            return "first"

        @line.handler()
        async def second(ctx: ObjectContext) -> str:
            return await ctx.signal("word", type_hint=str)

        @line.handler()
        async def heedless(ctx: ObjectContext) -> list[str]:
            said: list[str] = []
            last = ctx.signal("word", type_hint=str)
            while True:
                try:
                    return [*said, await last]
                except Cancelled:
                    said.append("cancelled")

        @service.handler()
        async def ends(ctx: Context) -> str:
            try:
                await ctx.run("wait", self.wait)
                return "ended"
            except Cancelled:
                return "cancelled"

        @service.handler()
        async def waits(ctx: Context) -> str:
            _, answer = ctx.awakeable(type_hint=str)
            return await answer

        @service.handler()
        async def words(ctx: Context, count: int) -> list[str]:
            return [await ctx.signal("word", type_hint=str) for _ in range(count)]

        @service.handler()
        async def tells(ctx: Context, id_: str) -> None:
            ctx.resolve_signal(id_, "word", "hello")
            ctx.service_send(words, arg=0)

        @service.handler()
        async def attaches(ctx: Context, id_: str) -> str:
            return await ctx.attach_invocation(id_, type_hint=str)

        @service.handler()
        async def cancels(ctx: Context, id_: str) -> None:
            ctx.cancel_invocation(id_)

        @flow.main()
        async def run(ctx: WorkflowContext) -> str:
            return await ctx.promise("answer", type_hint=str).value()

        @flow.handler()
        async def answer(ctx: WorkflowSharedContext, text: str) -> None:
            await ctx.promise("answer", type_hint=str).resolve(text)

    async def wait(self) -> None:
        await self.may_end.wait()


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
async def engines(dsn: str, db: Database, program: Program) -> AsyncIterator[tuple[Engine, Engine]]:
    """Two engines; a waiting attempt stays for as long as the test does not suspend it."""
    services: list[AnyService] = [program.service, program.line, program.flow]
    async with running_engine(dsn, services) as one, running_engine(dsn, services) as two:
        yield one, two
        await assert_healthy(db)


async def value(engine: Engine, id_: UUID) -> Any:
    outcome = await bounded(engine.attach(id_))
    assert outcome.outcome == "succeeded", outcome
    return msgspec.json.decode(outcome.value)


def word(target: UUID, text: str) -> Mail:
    body = msgspec.json.encode(text)
    return Mail(target, Kind.SIGNAL, signal_cid("word"), body, None, "word")


def home_of(engines: tuple[Engine, Engine], id_: UUID) -> tuple[Engine, Engine]:
    """The engine in which an attempt is resident, and the other one."""
    one, two = engines
    return (one, two) if id_ in one.residents else (two, one)


async def idle(engines: tuple[Engine, Engine], id_: UUID) -> None:
    """Wait until an attempt waits for others alone."""

    def is_idle() -> bool:
        home, _ = home_of(engines, id_)
        return id_ in home.residents and resident(home, id_).is_idle

    await until_true(is_idle)


async def test_a_signal_that_comes_while_its_target_is_handed_the_key_arrives(
    dsn: str, db: Database, engines: tuple[Engine, Engine], program: Program
) -> None:
    one, two = engines
    await send(one, "Line/k/first")
    inboxed = await send(one, "Line/k/second")
    async with held(dsn, db, "insert on howdah_core.live", f"new.id = '{inboxed.id}'") as hold:
        program.may_end.set()
        await hold.reached()
        await bounded(two.deliver(word(inboxed.id, "hello")))
        assert await db.fetchval("select count(*) from howdah_core.mailbox") == 1

    assert await value(two, inboxed.id) == "hello"


async def test_a_promise_that_is_resolved_while_its_waiter_suspends_wakes_it(
    dsn: str, db: Database, engines: tuple[Engine, Engine]
) -> None:
    run = await send(engines[0], "Flow/k/run")
    await idle(engines, run.id)
    home, other = home_of(engines, run.id)
    async with held(dsn, db, "update on howdah_core.live", "new.status = 'suspended'") as hold:
        resident(home, run.id).suspend()
        await hold.reached()
        resolved = await send(other, "Flow/k/answer", "yes")
        await bounded(other.attach(resolved.id))

    assert await value(other, run.id) == "yes"


async def test_a_waiter_that_suspends_while_its_promise_is_resolved_wakes(
    dsn: str, db: Database, engines: tuple[Engine, Engine]
) -> None:
    run = await send(engines[0], "Flow/k/run")
    await idle(engines, run.id)
    home, other = home_of(engines, run.id)
    home.is_draining = True  # it takes no new work: the other one resolves
    async with held(dsn, db, "insert on howdah_core.mailbox", "new.kind = 114") as hold:
        resolved = await send(other, "Flow/k/answer", "yes")
        await hold.reached()
        resident(home, run.id).suspend()
        await until(db, "select status = 'suspended' from howdah_core.live where id = $1", run.id)
        home.is_draining = False

    assert await value(other, run.id) == "yes"
    await bounded(other.attach(resolved.id))


async def test_an_awakeable_that_is_resolved_while_the_invocation_suspends_wakes_it(
    dsn: str,
    db: Database,
    engines: tuple[Engine, Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = await send(engines[0], "Service/waits")
    await idle(engines, sent.id)
    home, other = home_of(engines, sent.id)
    tries: list[Delivery] = []
    deliver = other.lane.deliver

    def deliver_and_count(delivery: Delivery) -> None:
        tries.append(delivery)
        deliver(delivery)

    monkeypatch.setattr(other.lane, "deliver", deliver_and_count)
    async with held(dsn, db, "update on howdah_core.live", "new.status = 'suspended'") as hold:
        resident(home, sent.id).suspend()
        await hold.reached()
        mail = Mail(sent.id, Kind.SIGNAL, -AWAKEABLE_FIRST, b'"answer"', None)
        delivered = asyncio.ensure_future(other.deliver(mail))
        # The row is locked: whoever delivers asks again until it is suspended.
        await until_true(lambda: len(tries) > 2)
        assert not delivered.done()

    await bounded(delivered)
    assert await value(other, sent.id) == "answer"


async def test_an_invocation_that_suspends_while_its_awakeable_is_resolved_wakes(
    dsn: str, db: Database, engines: tuple[Engine, Engine]
) -> None:
    sent = await send(engines[0], "Service/waits")
    await idle(engines, sent.id)
    home, other = home_of(engines, sent.id)
    async with held(dsn, db, "insert on howdah_core.mailbox") as hold:
        mail = Mail(sent.id, Kind.SIGNAL, -AWAKEABLE_FIRST, b'"answer"', None)
        delivered = asyncio.ensure_future(other.deliver(mail))
        await hold.reached()
        attempt = resident(home, sent.id)
        attempt.suspend()
        suspension = attempt.unit
        assert suspension is not None
        await until_true(lambda: suspension.refusals > 2)

    await bounded(delivered)
    assert await value(other, sent.id) == "answer"


async def test_an_awakeable_that_is_resolved_in_sql_while_the_invocation_suspends_wakes_it(
    dsn: str, db: Database, engines: tuple[Engine, Engine]
) -> None:
    sent = await send(engines[0], "Service/waits")
    await idle(engines, sent.id)
    home, other = home_of(engines, sent.id)
    async with held(dsn, db, "update on howdah_core.live", "new.status = 'suspended'") as hold:
        resident(home, sent.id).suspend()
        await hold.reached()
        name = awakeable_id(sent.id, AWAKEABLE_FIRST)
        # It locks nothing, so the suspension does not see it.
        resolve = "select howdah.resolve_awakeable($1, $2)"
        assert await db.fetchval(resolve, name, '"yes"') == "accepted"

    assert await value(other, sent.id) == "yes"


@pytest.mark.parametrize("by", ["operator", "handler"])
async def test_a_cancellation_that_comes_while_its_target_ends_is_too_late(
    dsn: str, db: Database, engines: tuple[Engine, Engine], program: Program, by: str
) -> None:
    sent = await send(engines[0], "Service/ends")
    await until_true(lambda: any(sent.id in engine.residents for engine in engines))
    home, other = home_of(engines, sent.id)
    home.is_draining = True
    async with held(dsn, db, "insert on howdah_core.outcome", f"new.id = '{sent.id}'") as hold:
        program.may_end.set()
        await hold.reached()
        if by == "operator":
            cancelled: Awaitable[Any] = asyncio.ensure_future(other.operate("cancel", sent.id))
            await until(
                db,
                "select exists (select from pg_locks l join pg_stat_activity a using (pid)"
                " where not l.granted and a.query like '%operate(%' and a.pid <> pg_backend_pid())",
            )
        else:
            cancelled = other.attach((await send(other, "Service/cancels", str(sent.id))).id)
    home.is_draining = False

    answer = await bounded(cancelled)
    assert by == "handler" or answer == "completed"
    assert await value(other, sent.id) == "ended"
    mail = "select count(*) from howdah_core.mailbox where id = $1"
    assert await db.fetchval(mail, sent.id) == 0


async def test_a_target_that_ends_while_it_is_cancelled_has_one_outcome(
    dsn: str, db: Database, engines: tuple[Engine, Engine], program: Program
) -> None:
    sent = await send(engines[0], "Service/ends")
    await until_true(lambda: any(sent.id in engine.residents for engine in engines))
    home, other = home_of(engines, sent.id)
    attempt = resident(home, sent.id)
    async with held(dsn, db, "insert on howdah_core.mailbox", "new.kind = 150") as hold:
        cancelled = asyncio.ensure_future(other.operate("cancel", sent.id))
        await hold.reached()
        program.may_end.set()

        def is_deferred() -> bool:
            unit = attempt.unit
            return unit is not None and unit.final is not None and unit.refusals > 0

        await until_true(is_deferred)

    assert await bounded(cancelled) == "accepted"
    assert await value(other, sent.id) == "ended"
    await until(db, "select count(*) = 0 from howdah_core.mailbox where id = $1", sent.id)


async def test_who_is_handed_the_key_while_it_is_cancelled_is_cancelled_once(
    dsn: str, db: Database, engines: tuple[Engine, Engine], program: Program
) -> None:
    one, two = engines
    await send(one, "Line/k/first")
    inboxed = await send(one, "Line/k/heedless")
    async with held(dsn, db, "insert on howdah_core.nudge") as hold:
        cancelling = asyncio.create_task(
            two.deliver(Mail(inboxed.id, Kind.SIGNAL, CANCEL, None, None))
        )
        await hold.reached()
        program.may_end.set()
        await until(db, "select status = 'running' from howdah_core.live where id = $1", inboxed.id)
        await hold.let_go()
        await bounded(cancelling)
    cancelled = "select exists (select from howdah_core.journal where id = $1 and cid = -1)"
    await until(db, cancelled, inboxed.id)
    await until(db, "select not exists (select from howdah_core.nudge)")
    await until(db, "select not exists (select from howdah_core.mailbox)")
    await bounded(one.deliver(word(inboxed.id, "hello")))
    assert await value(one, inboxed.id) == ["cancelled", "hello"]


async def test_who_attaches_while_the_target_ends_gets_the_outcome(
    dsn: str, db: Database, engines: tuple[Engine, Engine], program: Program
) -> None:
    sent = await send(engines[0], "Service/ends")
    await until_true(lambda: any(sent.id in engine.residents for engine in engines))
    home, other = home_of(engines, sent.id)
    home.is_draining = True
    async with held(dsn, db, "insert on howdah_core.outcome", f"new.id = '{sent.id}'") as hold:
        program.may_end.set()
        await hold.reached()
        client = asyncio.ensure_future(other.attach(sent.id))
        handler = await send(other, "Service/attaches", str(sent.id))
        await until(db, "select count(*) = 2 from howdah_core.sink")
    home.is_draining = False

    assert (await bounded(client)).value == b'"ended"'
    assert await value(other, handler.id) == "ended"
    await until(db, "select count(*) = 0 from howdah_core.sink")


@pytest.mark.parametrize("is_suspended", [False, True])
async def test_a_signal_that_is_read_twice_counts_once(
    db: Database,
    engines: tuple[Engine, Engine],
    monkeypatch: pytest.MonkeyPatch,
    is_suspended: bool,
) -> None:
    sent = await send(engines[0], "Service/words", 3)
    await idle(engines, sent.id)
    home, other = home_of(engines, sent.id)
    read = home.database.fetch
    may_answer, is_read = asyncio.Event(), asyncio.Event()

    async def fetch(statement: str, *args: Any) -> Any:
        rows = await read(statement, *args)
        if statement == READ_MAIL and rows and not is_read.is_set():
            # This answer is on its way until the test lets it come.
            is_read.set()
            await may_answer.wait()
        return rows

    monkeypatch.setattr(home.database, "fetch", fetch)
    await bounded(other.deliver(word(sent.id, "first")))
    await bounded(is_read.wait())
    if is_suspended:
        # It takes the mail with it when it comes back, here.
        other.is_draining = True
        resident(home, sent.id).suspend()
    else:
        await home.delivering.read_mail([sent.id])
    await until(
        db,
        "select count(*) = 1 from howdah_core.journal where id = $1 and kind = 150",
        sent.id,
    )
    await idle((home, home), sent.id)
    may_answer.set()
    for text in ("second", "third"):
        await bounded(home.deliver(word(sent.id, text)))
    other.is_draining = False

    assert await value(other, sent.id) == ["first", "second", "third"]


@pytest.mark.parametrize("by", ["client", "handler"])
async def test_a_locked_target_does_not_keep_the_process_busy(
    dsn: str, db: Database, program: Program, by: str
) -> None:
    calls = 0

    def count(_: str) -> None:
        nonlocal calls
        calls += 1

    async with running_engine(dsn, [program.service], count) as engine:
        sent = await send(engine, "Service/words", 1)
        await until_true(lambda: sent.id in engine.residents)
        async with db.transaction():
            await db.execute("select from howdah_core.live where id = $1 for update", sent.id)
            if by == "client":
                delivered: Awaitable[Any] = engine.deliver(word(sent.id, "hello"))
            else:
                teller = await send(engine, "Service/tells", str(sent.id))
                delivered = engine.attach(teller.id)
            delivered = asyncio.ensure_future(delivered)
            before = calls
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(delivered), 0.5)
            # Two looks for each call; other loops make a few.
            assert calls - before < 400
            # Meanwhile others are served.
            assert await value(engine, (await send(engine, "Service/words", 0)).id) == []
        await bounded(delivered)
        assert await value(engine, sent.id) == ["hello"]
    await assert_healthy(db)


async def test_requests_that_are_being_stored_when_their_process_stops_are_answered(
    dsn: str, db: Database, program: Program
) -> None:
    async with (
        running_engine(dsn, [program.service]) as engine,
        held(dsn, db, "insert on howdah_core.invocation") as hold,
    ):
        stored = asyncio.ensure_future(send(engine, "Service/words", 0))
        await hold.reached()
        waits = asyncio.ensure_future(send(engine, "Service/words", 0))
        delivered = asyncio.ensure_future(engine.deliver(word(UUID(int=7), "hello")))
        await until_true(lambda: engine.lane.lag_seconds)
        await engine.stop()

        for request in (stored, waits, delivered):
            with pytest.raises(StoreUnavailable):
                await bounded(request)


class LateReply:
    """The reply to the batch that answers a question: it comes when the test lets it."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._call = engine.lane._main.call
        self._may_come, self._is_there = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(engine.lane._main, "call", self._call_late)

    async def _call_late(self, statement: str, *arguments: Any) -> Any:
        rows = await self._call(statement, *arguments)
        if any(row[0] == b"P" for row in rows):
            self._is_there.set()
            await self._may_come.wait()
        return rows

    async def reached(self) -> None:
        """Wait until the batch is committed."""
        await bounded(self._is_there.wait())

    def come(self) -> None:
        self._may_come.set()


async def test_an_answer_to_an_attempt_that_has_ended_meanwhile_changes_nothing(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, may_end = Service("Asks"), asyncio.Event()

    @service.handler()
    async def go(ctx: Context) -> str:
        ctx.attach_invocation(str(UUID(int=7)))
        await may_end.wait()
        return "ended"

    async with running_engine(dsn, [service]) as engine:
        reply = LateReply(engine, monkeypatch)
        sent = await send(engine, "Asks/go")
        await reply.reached()
        may_end.set()
        await until_true(lambda: engine.residents[sent.id].is_leaving)
        reply.come()
        assert await value(engine, sent.id) == "ended"
    await assert_healthy(db)


async def test_an_answer_that_a_later_attempt_found_in_its_journal_counts_once(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, may_end = Service("Asks"), asyncio.Event()

    @service.handler()
    async def go(ctx: Context) -> str:
        try:
            await ctx.attach_invocation(str(UUID(int=7)))
        except TerminalError as error:
            await ctx.run("wait", may_end.wait)
            return error.message
        return "found"

    async with running_engine(dsn, [service]) as engine:
        reply = LateReply(engine, monkeypatch)
        sent = await send(engine, "Asks/go")
        await reply.reached()
        first = engine.residents[sent.id]
        # Its lease is taken and given back, and nobody tells this process.
        for verb in ("pause", "resume"):
            await db.execute("select result from howdah_core.operate($1, $2)", sent.id, verb)
        engine.claiming.poll.now.set()
        await until_true(lambda: engine.residents.get(sent.id) not in (None, first))
        reply.come()
        await engine.lane.settled()
        may_end.set()
        assert await value(engine, sent.id) == "not found"
    assert await db.fetchval("select count(*) from howdah_core.journal where kind = 118") == 1
    await assert_healthy(db)
