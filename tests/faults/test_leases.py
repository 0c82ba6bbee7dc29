import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import asyncpg
import pytest

from howdah import Context, Service
from howdah.worker.delivering import READ_MAIL
from support.batches import connected
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

SHORT: dict[str, Any] = {"lease": timedelta(seconds=2)}


class Gate:
    """A service whose step waits until it is let through, and counts how often it began."""

    def __init__(self) -> None:
        self.began = 0
        self.open = asyncio.Event()
        self.service = service = Service("Gate")

        @service.handler()
        async def hold(ctx: Context) -> str:
            async def step() -> str:
                self.began += 1
                await self.open.wait()
                return "through"

            return await ctx.run("hold", step)

        @service.handler()
        async def quick(ctx: Context) -> str:
            return "quick"


async def test_a_fenced_worker_cannot_write_and_starts_over(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    gate = Gate()
    async with running_engine(dsn, [gate.service], **SHORT) as engine:
        first_no = engine.worker_no
        await send(engine, "Gate/hold")
        await until(db, "select count(*) = 1 from howdah_core.live where worker is not null")
        beat = await db.fetchval("select beat from howdah_core.worker where no = $1", first_no)
        while not await db.fetchval("select howdah_core.fence($1, $2)", first_no, beat):
            beat = await db.fetchval("select beat from howdah_core.worker where no = $1", first_no)

        refused = await db.fetch(
            "select what from howdah_core.append_batch($1, 1, '{}', '{}', '{}', '{}', '{}', '{}',"
            " '{}', '{}', '{}', '{}')",
            first_no,
        )
        gate.open.set()
        await until(db, "select bool_and(status = 'completed') from howdah.invocations")

        assert [row[0] for row in refused] == [b"F"]
        assert engine.worker_no != first_no
        assert await result(engine, "Gate/quick") == "quick"
    await assert_healthy(db)


async def test_a_silent_worker_is_fenced_and_its_work_moves(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    gate, other = Gate(), Gate()
    other.open.set()
    async with running_engine(dsn, [gate.service], **SHORT) as silent:
        await send(silent, "Gate/hold")
        await until(db, "select count(*) = 1 from howdah_core.live where worker is not null")
        # The worker goes silent: it no longer beats, and nothing of it runs any more.
        heartbeat = silent.heartbeat
        assert heartbeat is not None
        await asyncio.to_thread(heartbeat.stop)
        await silent.loops.stop()
        async with running_engine(dsn, [other.service], **SHORT) as healthy:
            await until(db, "select status = 'completed' from howdah.invocations")
            assert healthy.worker_no != silent.worker_no
    assert (gate.began, other.began) == (1, 1)
    assert await db.fetchval("select attempts from howdah.invocations") == 2
    await assert_healthy(db)


async def test_two_processes_share_the_work(dsn: str, db: "asyncpg.Connection[Any]") -> None:
    gate = Gate()
    async with (
        running_engine(dsn, [gate.service], max_resident=5) as one,
        running_engine(dsn, [gate.service], max_resident=5) as two,
    ):
        for _ in range(10):
            await send(one, "Gate/hold")
        await until(db, "select count(*) = 10 from howdah_core.live where worker is not null")
        workers = await db.fetch("select worker, count(*) from howdah_core.live group by 1")
        gate.open.set()
        await until(db, "select count(*) = 0 from howdah_core.live")
        assert sorted(row[1] for row in workers) == [5, 5]
        assert {one.worker_no, two.worker_no} == {row[0] for row in workers}
    await assert_healthy(db)


async def test_an_ingress_without_handlers_gets_its_answers(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    gate = Gate()
    gate.open.set()
    async with (
        running_engine(dsn, [gate.service], roles=frozenset({"worker"})),
        running_engine(dsn, [], roles=frozenset({"ingress"})) as ingress,
    ):
        assert await result(ingress, "Gate/quick") == "quick"
        assert await result(ingress, "Gate/hold", idempotency_key="a") == "through"
        assert await result(ingress, "Gate/hold", idempotency_key="a") == "through"
    await assert_healthy(db)


async def test_cut_connections_lose_and_double_nothing(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    gate = Gate()
    gate.open.set()
    async with running_engine(dsn, [gate.service], **SHORT) as engine:
        answers = []

        async def client(number: int) -> None:
            while True:
                try:
                    accepted = await engine.accept(
                        submission(engine, "Gate/hold", idempotency_key=str(number))
                    )
                    assert accepted.outcome is not None
                    answers.append(await asyncio.wait_for(accepted.outcome, 20))
                    return
                except Exception as error:
                    if type(error).__name__ != "StoreUnavailable":
                        raise
                    await asyncio.sleep(0.01)

        async def cut() -> None:
            for _ in range(10):
                await db.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = 'howdah lane' and datname = current_database()"
                )
                await asyncio.sleep(0.05)

        await asyncio.gather(cut(), *(client(number) for number in range(60)))
        assert len(answers) == 60
        assert all(answer.outcome == "succeeded" for answer in answers)
    assert await db.fetchval("select count(*) from howdah.invocations") == 60
    await assert_healthy(db)


async def test_a_drain_gives_every_lease_back(dsn: str, db: "asyncpg.Connection[Any]") -> None:
    gate, other = Gate(), Gate()
    other.open.set()
    async with running_engine(dsn, [gate.service], drain_timeout=timedelta(0)) as engine:
        await send(engine, "Gate/hold")
        await until(db, "select count(*) = 1 from howdah_core.live where worker is not null")
        await engine.drain()
        assert await db.fetchval("select status from howdah.invocations") == "ready"
    async with running_engine(dsn, [other.service]):
        await until(db, "select status = 'completed' from howdah.invocations")
    await assert_healthy(db)


async def test_mail_that_is_read_before_its_commit_and_handled_after_it_counts_once(
    dsn: str, db: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, caller = Gate(), Service("Caller")

    @caller.handler()
    async def ask(ctx: Context) -> str:
        first = await ctx.service_call(quick_of(gate), arg=None)
        return first + await ctx.run("stay", stay.wait_for_it)

    stay = Stay()
    resident: dict[str, Any] = {"inactivity_timeout": timedelta(minutes=1)}
    async with (
        running_engine(dsn, [gate.service]),
        running_engine(dsn, [caller], **resident) as engine,
    ):
        read = engine.database.fetch
        late, is_late = asyncio.Event(), asyncio.Event()

        async def fetch(statement: str, *args: Any) -> Any:
            rows = await read(statement, *args)
            if statement == READ_MAIL and rows and not is_late.is_set():
                # This reply is on its way while another one is handled and committed.
                is_late.set()
                await late.wait()
            return rows

        monkeypatch.setattr(engine.database, "fetch", fetch)
        outcome = asyncio.create_task(result(engine, "Caller/ask"))
        await asyncio.wait_for(is_late.wait(), 20)
        rows = await db.fetch("select id from howdah_core.mailbox")
        await engine.delivering.read_mail([row["id"] for row in rows])
        await until(db, "select count(*) = 0 from howdah_core.mailbox")
        await asyncio.wait_for(stay.began.wait(), 20)
        late.set()
        stay.may_end.set()

        assert await outcome == "quickended"
    assert await db.fetchval("select count(*) from howdah_core.journal where kind = 105") == 1
    await assert_healthy(db)


class Stay:
    """A step that keeps its invocation resident until the test lets it end."""

    def __init__(self) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def wait_for_it(self) -> str:
        self.began.set()
        await self.may_end.wait()
        return "ended"


def quick_of(gate: Gate) -> Callable[[Any], Awaitable[str]]:
    """The function behind Gate/quick, to call it by reference."""
    return gate.service.handlers["quick"].fn


async def test_attempts_end_when_the_lease_cannot_be_renewed_though_nobody_answers(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    gate = Gate()
    async with running_engine(dsn, [gate.service], **SHORT) as engine:
        await send(engine, "Gate/hold")
        await until_true(lambda: gate.began == 1)
        assert engine.heartbeat is not None
        # While a batch is on its way nothing else is done about it.
        async with engine.lane.turn:
            await asyncio.to_thread(engine.heartbeat.stop)
            await until_true(lambda: not engine.residents)
    await assert_healthy(db)


async def test_attempts_of_a_fenced_worker_end_though_a_batch_is_on_its_way(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    gate = Gate()
    async with running_engine(dsn, [gate.service], **SHORT) as engine:
        await send(engine, "Gate/hold")
        await until_true(lambda: gate.began == 1)
        async with engine.lane.turn:
            await fence(db, engine.worker_no)
            await until_true(lambda: not engine.residents)
    await assert_healthy(db)


async def test_a_lease_counts_from_when_its_renewal_was_sent(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    async with running_engine(dsn, [Gate().service]) as engine:
        heartbeat = engine.heartbeat
        assert heartbeat is not None
        async with connected(dsn) as holder, holder.transaction():
            beat = await holder.fetchval("select beat from howdah_core.worker for update")
            # Within a transaction nobody sees connections that were made after the first look.
            waits = (
                "select exists (select from pg_stat_activity where wait_event_type = 'Lock'"
                " and application_name = 'howdah heartbeat' and datname = current_database())"
            )
            await until(db, waits)
            before, answered_at = heartbeat.renewed_at, monotonic()
        await until_true(lambda: heartbeat.renewed_at > before)
        assert heartbeat.renewed_at < answered_at
    assert await db.fetchval("select beat > $1 from howdah_core.worker", beat)
