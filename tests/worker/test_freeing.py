"""What an attempt took in memory is free when it ends, without garbage collection."""

import gc
from collections.abc import Iterator
from datetime import timedelta

import pytest

from howdah import Context, ObjectContext, Service, VirtualObject
from howdah.worker.attempt import Attempt
from support.engines import call, result, running_engine, until_true

steps, counter = Service("Steps"), VirtualObject("Counter")


@steps.handler()
async def two(ctx: Context) -> int:
    first = await ctx.run("first", lambda: 1)
    await ctx.sleep(timedelta(milliseconds=1))
    second = await ctx.object_call(add, "key", first)
    return first + second


@steps.handler()
async def empty(ctx: Context) -> None:
    pass


@steps.handler()
async def nap(ctx: Context) -> None:
    await ctx.sleep(timedelta(milliseconds=100))


@counter.handler()
async def add(ctx: ObjectContext, number: int) -> int:
    total = number + (await ctx.get("total", type_hint=int) or 0)
    ctx.set("total", total)
    return total


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def attempts() -> list[Attempt]:
    return [one for one in gc.get_objects() if isinstance(one, Attempt)]


@pytest.mark.usefixtures("no_collection")
async def test_attempts_that_ended_leave_no_garbage(dsn: str) -> None:
    others = attempts()
    async with running_engine(
        dsn, [steps, counter], inactivity_timeout=timedelta(milliseconds=10)
    ) as engine:
        for number in range(3):
            assert await result(engine, "Steps/two") == 2 + number
        await call(engine, "Steps/nap")  # suspended on the way
        # The lane forgets a batch with the next one.
        await call(engine, "Steps/empty")
        await until_true(lambda: not engine.residents)

        assert len([one for one in attempts() if one not in others]) <= 1
