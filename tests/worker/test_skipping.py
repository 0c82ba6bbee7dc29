import asyncio
from datetime import timedelta
from importlib.resources import files
from typing import Any

import asyncpg
import pytest

from howdah import Context, RunOptions, Service
from howdah.worker.engine import Engine
from support.engines import assert_healthy, result, running_engine, send, until

DAYS = timedelta(days=30)
naps = Service("Naps")


@naps.handler()
async def nap(ctx: Context) -> float:
    began = await ctx.time()
    await ctx.sleep(DAYS)
    return await ctx.time() - began


@naps.handler()
async def stumble(ctx: Context) -> int:
    tries = 0

    async def step() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("not yet")
        return tries

    return await ctx.run_typed(
        "step", step, RunOptions(initial_retry_interval=DAYS, max_retry_interval=DAYS)
    )


@pytest.fixture
async def movable(dsn: str, db: "asyncpg.Connection[Any]") -> str:
    await db.execute((files("howdah.testing") / "clock.sql").read_text())
    return dsn


async def skip(engine: Engine, db: "asyncpg.Connection[Any]", by: timedelta = DAYS) -> None:
    await db.execute("select howdah_testing.skip($1)", by.total_seconds())
    await engine.on_clock_moved(by)


@pytest.mark.parametrize("inactivity", [timedelta(0), timedelta(minutes=1)])
async def test_a_skipped_sleep_ends_suspended_or_resident(
    movable: str, db: "asyncpg.Connection[Any]", inactivity: timedelta
) -> None:
    async with running_engine(movable, [naps], inactivity_timeout=inactivity) as engine:
        waiting = asyncio.create_task(result(engine, "Naps/nap"))
        await until(db, "select exists (select from howdah_core.journal where kind = 4)")
        if not inactivity:
            await until(db, "select status = 'suspended' from howdah_core.live")
        await skip(engine, db)
        assert await waiting == pytest.approx(DAYS.total_seconds(), abs=60)
    await assert_healthy(db)


async def test_a_skipped_pause_of_a_step_ends(movable: str, db: "asyncpg.Connection[Any]") -> None:
    async with running_engine(movable, [naps]) as engine:
        waiting = asyncio.create_task(result(engine, "Naps/stumble"))
        async with asyncio.timeout(20):
            while not engine.skipping.paused:
                await asyncio.sleep(0.01)
        await skip(engine, db, DAYS * 2)  # pauses have jitter
        assert await waiting == 2


async def test_delayed_sends_become_due_and_what_expired_goes(
    movable: str, db: "asyncpg.Connection[Any]"
) -> None:
    async with running_engine(movable, [naps]) as engine:
        await send(engine, "Naps/nap", delay=DAYS)
        await skip(engine, db)
        await until(db, "select status in ('running', 'suspended') from howdah_core.live")
        await until(db, "select exists (select from howdah_core.journal where kind = 4)")
        await skip(engine, db)
        await until(db, "select exists (select from howdah_core.outcome)")
        await skip(engine, db)
        assert not await db.fetchval("select exists (select from howdah_core.outcome)")
    await assert_healthy(db)


async def test_the_moved_clock_is_an_index_condition(
    movable: str, db: "asyncpg.Connection[Any]"
) -> None:
    await db.execute("set enable_seqscan = off")
    plan = await db.fetch(
        "explain select id from howdah_core.live where q = 1 and run_at <= howdah_core.now()"
    )
    assert any("Index Cond" in row[0] and "now()" in row[0] for row in plan), plan
