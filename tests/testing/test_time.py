import asyncio
from datetime import timedelta
from time import perf_counter

import pytest

from howdah import Context, RetryableError, RunOptions, Service
from howdah.errors import NotFound, OutOfBounds
from howdah.testing import EnvironmentFactory, Unfinished
from testing.shop import DAY, add, cart, greet, greeter, nap

SECOND = 1.0


@pytest.mark.parametrize("inactivity", [timedelta(0), timedelta(minutes=1)])
async def test_a_month_passes_in_a_moment(serve: EnvironmentFactory, inactivity: timedelta) -> None:
    month = Service("Month")

    @month.handler()
    async def wait(ctx: Context) -> float:
        began = await ctx.time()
        await ctx.sleep(30 * DAY)
        return await ctx.time() - began

    async with serve([month], inactivity_timeout=inactivity) as env:
        took = []
        for _ in range(3):
            sent = await env.send(wait)
            await env.until_idle()
            began = perf_counter()
            await env.skip(30 * DAY)
            took.append(perf_counter() - began)
            assert await env.status(sent) == "completed"
            assert await env.attach(sent) == pytest.approx(30 * 86400, abs=60)
        assert min(took) < SECOND, took
        await env.check()


async def test_all_that_comes_due_on_the_way_is_done(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env:
        sent = await env.send(nap, 10)
        began = await env.now()
        await env.skip(9 * DAY + DAY / 2)
        assert await env.status(sent) in ("running", "suspended")
        await env.skip(DAY)
        assert await env.attach(sent) == pytest.approx(10 * 86400, abs=60)
        assert await env.now() - began == pytest.approx(10.5 * DAY, abs=timedelta(minutes=1))
        await env.check()


async def test_delayed_sends_start_at_their_time(serve: EnvironmentFactory) -> None:
    async with serve([cart, greeter]) as env:
        await env.send(add, "second", key="joe", delay=2 * DAY)
        await env.send(add, "first", key="joe", delay=DAY)
        stateless = await env.send(greet, "Ada", delay=DAY)
        assert await env.status(stateless) == "scheduled"
        assert DAY - await env.skip_to_next() < timedelta(minutes=1)
        await env.skip(timedelta(seconds=1))
        assert (await env.state(cart, "joe"))["items"] == ["first"]
        assert await env.attach(stateless) == "Hello Ada"
        await env.skip(DAY)
        assert (await env.state(cart, "joe"))["items"] == ["first", "second"]
        with pytest.raises(Unfinished, match="Nothing waits for a time to come"):
            await env.skip_to_next()


async def test_retries_of_attempts_and_steps_are_made(serve: EnvironmentFactory) -> None:
    flaky, tries = Service("Flaky"), [0, 0]
    slowly = RunOptions[int](initial_retry_interval=DAY, max_retry_interval=DAY)

    @flaky.handler()
    async def work(ctx: Context) -> list[int]:
        async def step() -> int:
            tries[0] += 1
            if tries[0] < 4:
                raise RuntimeError("not yet")
            return tries[0]

        await ctx.run_typed("step", step, slowly)
        tries[1] += 1
        if tries[1] < 3:
            raise RetryableError("later", retry_after=DAY)
        return tries

    async with serve([flaky]) as env:
        sent = await env.send(work)
        await env.skip(10 * DAY)
        assert await env.attach(sent) == [4, 3]
        await env.check()


async def test_what_expired_is_removed(serve: EnvironmentFactory) -> None:
    brief = Service("Brief", journal_retention=DAY)

    @brief.handler()
    async def tell(ctx: Context) -> str:
        return "told"

    async with serve([brief, greeter]) as env:
        sent, other = await env.send(tell), await env.send(greet, "Ada")
        await env.send(greet, "Ada", idempotency_key="a")
        await env.skip(DAY * 2)
        with pytest.raises(NotFound):
            await env.status(sent)
        assert (await env.send(greet, "Ada", idempotency_key="a")).is_new
        assert await env.status(other) == "completed"
        await env.check()


async def test_the_clock_moves_at_once_if_asked(serve: EnvironmentFactory) -> None:
    busy, gate = Service("Busy"), asyncio.Event()

    @busy.handler()
    async def work(ctx: Context) -> bool:
        return await ctx.run("long", gate.wait)

    async with serve([busy, greeter], timeout=timedelta(seconds=2)) as env:
        working = await env.send(work)
        sent = await env.send(nap, 1)
        with pytest.raises(Unfinished, match="Busy/work"):
            await env.skip(DAY)
        await env.skip(DAY, settle=False)
        assert await env.attach(sent, timeout=timedelta(seconds=10)) >= 86400
        gate.set()
        assert await env.attach(working) is True
        with pytest.raises(OutOfBounds):
            await env.skip(-DAY)
