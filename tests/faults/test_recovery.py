"""When a process does not know what it holds, it asks the database before it does anything else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
import pytest

from howdah import Context, ObjectContext, Service, VirtualObject
from howdah.errors import StoreUnavailable
from howdah.machine.entries import Kind, signal_cid
from howdah.store.batch import APPEND_BATCH, COMMIT_BATCH
from howdah.store.registry import LOAD_REGISTRY
from howdah.store.units import Mail
from howdah.worker.claiming import CLAIM
from howdah.worker.recovery import NEXT_GENERATION, RECONCILE
from howdah.worker.sweeping import SWEEP
from support.engines import (
    assert_healthy,
    fence,
    result,
    running_engine,
    send,
    submission,
    until,
    until_true,
)

Database: TypeAlias = "asyncpg.Connection[Any]"


class Calls:
    """What an engine asks the database, and what is kept from it."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._lost: set[str] = set()
        self._looks: dict[str, int] = {}
        self.bugs: set[str] = set()

    def __call__(self, statement: str) -> None:
        self.statements.append(statement)
        if statement in self.bugs:
            self.bugs.discard(statement)
            raise RuntimeError("nobody foresaw this")
        if statement in self._lost:
            raise StoreUnavailable(doing="asking the database")
        if statement in self._looks:
            self._looks[statement] -= 1
            if not self._looks[statement]:
                del self._looks[statement]
                raise StoreUnavailable(doing="asking the database")

    def lose(self, statement: str, look: int) -> None:
        """Lose the next such call (1), or its reply (2): then it is carried out."""
        self._looks[statement] = look

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


class Program:
    """Handlers whose ends the test decides."""

    def __init__(self) -> None:
        self.began = 0
        self.may_end = asyncio.Event()
        self.service = service = Service("Doubtful")

        async def wait() -> str:
            self.began += 1
            await self.may_end.wait()
            return "waited"

        @service.handler()
        async def go(ctx: Context) -> str:
            return await ctx.run("wait", wait)

        @service.handler()
        async def words(ctx: Context) -> list[str]:
            return [await ctx.signal("word", type_hint=str) for _ in range(2)]


@pytest.mark.parametrize("lost", ["the call", "the reply"])
async def test_a_request_that_was_lost_or_its_reply_is_accepted_once(
    dsn: str, db: Database, lost: str
) -> None:
    program, calls = Program(), Calls()
    program.may_end.set()
    async with running_engine(dsn, [program.service], calls) as engine:
        calls.lose(COMMIT_BATCH, ["the call", "the reply"].index(lost) + 1)
        assert await result(engine, "Doubtful/go") == "waited"
        assert engine.free_slots() == engine.options.max_resident
    assert RECONCILE in calls.statements
    assert program.began == 1
    assert await db.fetchval("select count(*) from howdah.invocations") == 1
    await assert_healthy(db)


async def test_a_signal_of_which_the_reply_was_lost_is_not_sent_again(
    dsn: str, db: Database
) -> None:
    program, calls = Program(), Calls()
    async with running_engine(dsn, [program.service], calls) as engine:
        sent = await send(engine, "Doubtful/words")
        calls.lose(COMMIT_BATCH, 2)
        with pytest.raises(StoreUnavailable):
            await engine.deliver(word(sent.id, "first"))
        await until_true(lambda: not engine.recovery.is_running)
        await engine.deliver(word(sent.id, "second"))
        outcome = await asyncio.wait_for(engine.attach(sent.id), 20)
    assert outcome.value == b'["first","second"]'
    await assert_healthy(db)


WRITTEN = "select exists (select from howdah_core.journal where id = $1)"


def word(target: UUID, text: str) -> Mail:
    body = msgspec.json.encode(text)
    return Mail(target, Kind.SIGNAL, signal_cid("word"), body, None, "word")


async def test_what_a_claim_took_of_which_the_reply_was_lost_is_executed(
    dsn: str, db: Database
) -> None:
    program, calls = Program(), Calls()
    program.may_end.set()
    async with running_engine(dsn, [program.service], calls) as engine:
        async with engine.claiming.lock:
            # No claim is on its way: the next one takes this.
            id_ = await db.fetchval("select howdah.send('Doubtful', 'go')")
            calls.lose(CLAIM, 2)
        outcome = await asyncio.wait_for(engine.attach(id_), 20)
    assert outcome.value == b'"waited"'
    assert program.began == 1
    assert await db.fetchval("select attempts from howdah.invocations") == 2
    await assert_healthy(db)


async def test_leases_are_compared_when_no_claim_is_on_its_way(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the claim brings would be found without an attempt, and begun twice."""
    program, calls = Program(), Calls()
    program.may_end.set()
    async with running_engine(dsn, [program.service], calls) as engine:
        ask = engine.database.fetch
        has_claimed, may_answer = asyncio.Event(), asyncio.Event()

        async def fetch(statement: str, *args: Any) -> Any:
            rows = await ask(statement, *args)
            if statement == CLAIM and any(row["what"] == b"I" for row in rows):
                has_claimed.set()
                await may_answer.wait()
                calls.statements.append("the claim is answered")
            return rows

        monkeypatch.setattr(engine.database, "fetch", fetch)
        id_ = await db.fetchval("select howdah.send('Doubtful', 'go')")
        await asyncio.wait_for(has_claimed.wait(), 20)
        calls.statements.clear()
        engine.recovery.on_doubt()
        waiting = engine.claiming.lock
        await until_true(lambda: waiting._waiters or NEXT_GENERATION in calls.statements)
        may_answer.set()
        outcome = await asyncio.wait_for(engine.attach(id_), 20)
        await until_true(lambda: RECONCILE in calls.statements)
    assert outcome.value == b'"waited"'
    answered = calls.statements.index("the claim is answered")
    assert answered < calls.statements.index(NEXT_GENERATION)
    assert await db.fetchval("select attempts from howdah.invocations") == 1
    await assert_healthy(db)


async def test_an_attempt_that_holds_no_lease_ends_when_leases_are_compared(
    dsn: str, db: Database
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service]) as engine:
        sent = await send(engine, "Doubtful/go")
        await until(db, WRITTEN, sent.id)
        # Nobody tells this process, and it writes nothing by which it would learn it.
        await db.execute("select result from howdah_core.operate($1, 'pause')", sent.id)
        engine.recovery.on_doubt()
        await until_true(lambda: sent.id not in engine.residents)
        assert await engine.operate("resume", sent.id) == "done"
        program.may_end.set()
        outcome = await asyncio.wait_for(engine.attach(sent.id), 20)
    assert outcome.value == b'"waited"'
    assert program.began == 2
    await assert_healthy(db)


async def test_a_lease_of_which_an_earlier_attempt_is_resident_begins_a_new_one(
    dsn: str, db: Database
) -> None:
    """It was taken and given back, nobody told this process, and the reply to its claim was lost."""
    program, calls = Program(), Calls()
    async with running_engine(dsn, [program.service], calls) as engine:
        sent = await send(engine, "Doubtful/go")
        await until(db, WRITTEN, sent.id)
        first = engine.residents[sent.id]
        async with engine.claiming.lock:
            for verb in ("pause", "resume"):
                await db.execute("select result from howdah_core.operate($1, $2)", sent.id, verb)
            calls.lose(CLAIM, 2)
            engine.claiming.poll.now.set()
        await until_true(lambda: engine.residents.get(sent.id) not in (None, first))
        program.may_end.set()
        outcome = await asyncio.wait_for(engine.attach(sent.id), 20)
    assert outcome.value == b'"waited"'
    assert program.began == 2
    await assert_healthy(db)


async def test_who_starts_over_drops_everything_before_it_asks_what_it_holds(
    dsn: str, db: Database
) -> None:
    program, calls = Program(), Calls()
    async with running_engine(dsn, [program.service], calls) as engine:
        sent = await send(engine, "Doubtful/go")
        await until(db, WRITTEN, sent.id)
        with calls.losing(RECONCILE):
            engine.recovery.on_doubt()
            await until_true(lambda: RECONCILE in calls.statements)
            await fence(db, engine.worker_no)
            await until_true(lambda: not engine.residents)
            assert engine.recovery.is_running
        program.may_end.set()
        outcome = await asyncio.wait_for(engine.attach(sent.id), 20)
    assert outcome.value == b'"waited"'
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
