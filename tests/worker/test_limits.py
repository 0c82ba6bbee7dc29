"""What is too large or too slow: refused or ended by name, and nothing else is harmed."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg

from howdah import BytesSerde, Context, ObjectContext, Service, VirtualObject
from support.engines import assert_healthy, call, running_engine, send, until

MIB = 1024 * 1024
RAW = BytesSerde()


class Program:
    """Handlers that carry much, or hang."""

    def __init__(self) -> None:
        self.service = Service("Big")
        self.store = VirtualObject("Store")
        self.release = asyncio.Event()

        @self.service.handler()
        async def step(ctx: Context, size: int) -> int:
            made = await ctx.run("make", lambda: b"x" * size, serde=RAW)
            return len(made)

        @self.service.handler()
        async def output(ctx: Context, size: int) -> str:
            return "x" * size

        @self.service.handler(abort_timeout=timedelta(0), inactivity_timeout=timedelta(0))
        async def hangs(ctx: Context) -> str:
            await self.release.wait()
            return "released"

        @self.store.handler()
        async def put(ctx: ObjectContext, size: int) -> int:
            ctx.set("blob", b"y" * size, serde=RAW)
            return size

        @self.store.handler()
        async def get(ctx: ObjectContext) -> int:
            return len(await ctx.get("blob", serde=RAW) or b"")

        @self.store.handler()
        async def touch(ctx: ObjectContext, name: str) -> list[Any]:
            before = await ctx.get(name, type_hint=int)
            ctx.set(name, (before or 0) + 1)
            ctx.set("fresh", 1)
            names = await ctx.state_keys()
            ctx.clear("name-00001")
            return [before, await ctx.get(name, type_hint=int), len(names), "fresh" in names]


async def test_values_of_10_mb_go_through_steps_state_and_results(dsn: str) -> None:
    program = Program()
    size = 10 * MIB
    async with running_engine(dsn, [program.service, program.store]) as engine:
        assert (await call(engine, "Big/step", size)).value == str(size).encode()
        assert len((await call(engine, "Big/output", size)).value) == size + 2
        await call(engine, "Store/k/put", size)
        assert (await call(engine, "Store/k/get")).value == str(size).encode()


async def test_a_value_above_the_limit_is_a_terminal_error_that_says_so(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    program = Program()
    async with running_engine(
        dsn, [program.service, program.store], value_bytes_max=4096
    ) as engine:
        for target in ("Big/step", "Big/output", "Store/k/put"):
            outcome = await call(engine, target, 5000)
            assert (outcome.outcome, outcome.code) in {("failed", 413)}
            assert "HOWDAH_VALUE_BYTES_MAX" in (outcome.message or "")
        assert (await call(engine, "Big/step", 4096)).outcome == "succeeded"
    await assert_healthy(db)


async def test_a_handler_that_hangs_outside_its_context_is_ended_and_tried_again(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service, program.store]) as engine:
        sent = await send(engine, "Big/hangs")
        await until(
            db,
            "select last_failure like '%reached no verb%' from howdah.invocations where id = $1",
            sent.id,
        )
        program.release.set()
        assert (await engine.attach(sent.id)).value == b'"released"'


async def test_a_key_with_very_much_state_is_not_loaded_whole(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    program = Program()
    async with running_engine(dsn, [program.service, program.store]) as engine:
        await db.execute(
            "insert into howdah_core.state (service, key, name, value)"
            " select s.no, 'k', 'name-' || lpad(n::text, 5, '0'), convert_to(n::text, 'UTF8')"
            " from howdah_core.service s, generate_series(1, 50000) n where s.name = 'Store'"
        )
        last = (await call(engine, "Store/k/touch", "name-50000")).value
        assert last == b"[50000,50001,50001,true]"
        first = (await call(engine, "Store/k/touch", "name-00001")).value
        assert first == b"[null,null,50001,true]"  # it is cleared again
        kinds = await db.fetch(
            "select distinct type from howdah.journal where type like 'get%' order by 1"
        )
    assert "get lazy state" in [row[0] for row in kinds]
    count = "select count(*) from howdah.state where key = 'k'"
    assert await db.fetchval(count) == 50000


async def test_the_sweep_goes_through_the_mailbox_in_bounded_steps(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    await db.execute(
        "insert into howdah_core.mailbox (id, kind, cid, at)"
        " select gen_random_uuid(), 150, -1, now() from generate_series(1, 5)"
    )
    rows = await db.fetch("select what, id from howdah_core.sweep(1, null, 2)")
    after = next(row["id"] for row in rows if row["what"] == b"L")
    assert after is not None
    # Mail of nobody is removed, two at a time.
    assert await db.fetchval("select count(*) from howdah_core.mailbox") == 3
    assert await db.fetchval("select id from howdah_core.mailbox order by id limit 1") > after
    rows = await db.fetch("select what, id from howdah_core.sweep(1, $1, 20)", after)
    assert [row["id"] for row in rows if row["what"] == b"L"] == [None]
    assert await db.fetchval("select count(*) from howdah_core.mailbox") == 0
